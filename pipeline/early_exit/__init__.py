"""How many views a video needs: policies that are fitted, stored, and kept to."""

from pipeline.early_exit.policy_file import Point, PolicyFile

__all__ = ["Point", "PolicyFile"]
