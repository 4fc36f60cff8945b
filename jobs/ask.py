#!/usr/bin/env python3
"""Ask an archive: shares, counts, rates and means with an error bar, from a sample."""

from pipeline.exit_codes import leave, main_of

if __name__ == "__main__":
    leave(main_of("pipeline.questions.command"))
