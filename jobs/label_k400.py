#!/usr/bin/env python3
"""Label videos by the Kinetics-400 protocol (5 clips x 3 crops)."""

from pipeline.exit_codes import leave
from pipeline.labeling.command import main

if __name__ == "__main__":
    leave(main("k400"))
