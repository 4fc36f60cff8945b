"""Checkpoints: where they come from, how their tensors are named, and loading them safely."""
