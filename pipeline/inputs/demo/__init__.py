"""The demo archive: generated videos with ground truth, which jobs label when no INPUT is named.

Its labels are right or wrong for real, so what pruning costs shows in the accuracy. It is no sample
of natural video.
"""
