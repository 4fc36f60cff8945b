"""What tests of the workers share."""

from collections.abc import Iterator

import pytest

from tests import scripted_storage


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[scripted_storage.Storage]:
    """A storage that can be told to misbehave, found by the environment's settings."""
    with scripted_storage.running() as state:
        for name, value in state.settings().items():
            monkeypatch.setenv(name, value)
        yield state
