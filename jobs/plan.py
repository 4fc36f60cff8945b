#!/usr/bin/env python3
"""Plan a labeling run: machines, hours and money for a deadline, pruned and unpruned."""

from pipeline.exit_codes import leave, main_of

if __name__ == "__main__":
    leave(main_of("pipeline.planner.command"))
