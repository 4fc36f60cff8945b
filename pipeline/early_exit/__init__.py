"""How many views a video needs: policies that are fitted, stored, and kept to."""

from pipeline.early_exit.early_exit_file import EarlyExitFile, Point

__all__ = ["EarlyExitFile", "Point"]
