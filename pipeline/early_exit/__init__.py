"""Early exit: the threshold is fitted, stored, and adapted to a budget."""

from pipeline.early_exit.file import EarlyExitFile, OperatingPoint

__all__ = ["EarlyExitFile", "OperatingPoint"]
