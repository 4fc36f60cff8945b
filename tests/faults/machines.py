"""Machines that Ray's autoscaler can bring on one host: the kind that Ray keeps for tests."""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class Machines(FakeMultiNodeProvider):
    """Ray's own, whose machines may be told of their memory: each then says what this host has."""

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> Any:
        known = {name: amount for name, amount in resources.items() if name != "memory"}
        return super().create_node_with_resources_and_labels(
            node_config, tags, count, known, labels
        )
