#!/usr/bin/env python3
"""Find how many views of a video are enough, and write the policy that keeps a promise."""

from pipeline.command_line import leave
from pipeline.lab.early_exit.command import main

if __name__ == "__main__":
    leave(main())
