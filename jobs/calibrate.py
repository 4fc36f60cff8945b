#!/usr/bin/env python3
"""Fit an early-exit threshold that keeps a guaranteed share of labels, and write its file."""

from pipeline.exit_codes import leave, main_of

if __name__ == "__main__":
    leave(main_of("pipeline.lab.early_exit.command"))
