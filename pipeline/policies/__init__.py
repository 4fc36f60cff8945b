"""How many views a video needs: policies that are fitted, stored, and kept to."""

from pipeline.policies.policy_file import Point, PolicyFile

__all__ = ["Point", "PolicyFile"]
