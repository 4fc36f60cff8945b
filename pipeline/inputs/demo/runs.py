"""Folders of the two demo runs that are compared."""

from __future__ import annotations

UNPRUNED_FLAGS = ("--r", "0")
UNPRUNED_RUN = "demo/k400-released-r-0"
PRUNED_RUN = "demo/k400-released-r-default"
