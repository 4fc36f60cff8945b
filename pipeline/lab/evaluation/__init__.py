"""Evaluation: accuracy of every pruning variant on videos with ground truth."""
