"""Intervals of shares, means and differences from samples, valid at every look.

Pure functions of numbers: nothing here reads or labels.
"""
