#!/usr/bin/env python3
"""Print the paper's tables of FLOPs beside what this code counts."""

import argparse
import sys

from pipeline.reproduce import TABLE_2, TABLE_3, compare, render


def main() -> int:
    """Prints both tables; 1 if any cell is beyond its tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["tables"], help="tables: FLOPs of Tables 2 and 3")
    parser.parse_args()
    held = True
    for table in (TABLE_2, TABLE_3):
        cells = list(compare(table))
        print(render(table, cells), end="\n\n")
        held = held and all(cell.holds for cell in cells)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
