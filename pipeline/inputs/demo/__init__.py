"""The demo archive: generated videos with ground truth, which jobs label when no INPUT is named.

The ground truth is known, so accuracy shows what pruning costs. The archive is not a sample of
natural video.
"""
