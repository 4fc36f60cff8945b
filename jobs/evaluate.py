#!/usr/bin/env python3
"""Measure what each switch of STA costs in accuracy, on videos whose labels are known."""

from pipeline.exit_codes import leave, main_of

if __name__ == "__main__":
    leave(main_of("pipeline.lab.evaluation.command"))
