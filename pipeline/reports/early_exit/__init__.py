"""Pages on early exit: the calibration of a threshold, and the outcome of a budget."""
