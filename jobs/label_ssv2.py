#!/usr/bin/env python3
"""Label videos by the Something-Something V2 protocol (2 clips x 3 crops)."""

from pipeline.exit_codes import leave
from pipeline.labeling.command import main

if __name__ == "__main__":
    leave(main("ssv2"))
