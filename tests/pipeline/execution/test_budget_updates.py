"""Ray Data's budgets are computed now and then, and at once in a graph that begins."""

import time

import pytest
from ray.data._internal.execution.resource_manager import ResourceManager

from pipeline.execution import budget_updates
from pipeline.execution.budget_updates import SECONDS, update_budgets_now_and_then


@pytest.fixture
def updates(monkeypatch):
    """The managers whose budgets were computed, in order."""
    found = []
    monkeypatch.setattr(budget_updates, "_update", found.append)
    monkeypatch.setattr(ResourceManager, "update_usages", ResourceManager.update_usages)
    update_budgets_now_and_then()
    update_budgets_now_and_then()
    return found


def test_budgets_are_computed_at_once_and_again_when_they_are_old(updates):
    manager = ResourceManager.__new__(ResourceManager)
    for _ in range(100):
        manager.update_usages()
    assert len(updates) >= 1
    before = len(updates)
    time.sleep(SECONDS)
    manager.update_usages()
    assert len(updates) == before + 1


def test_each_graph_has_its_own_time(updates):
    one, other = (ResourceManager.__new__(ResourceManager) for _ in range(2))
    one.update_usages()
    other.update_usages()
    assert updates == [one, other]
