#!/usr/bin/env python3
"""Prove that a finished run is whole: every unit once, all tables in agreement."""

import sys

from pipeline.command_line import JobParser
from pipeline.errors import UsageError
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from pipeline.verify.verify import report, verify


def main() -> int:
    """0: the run is whole; 1: it is not; 2: there is no run."""
    parser = JobParser(description=__doc__)
    parser.add_argument("output", metavar="OUTPUT", help="directory or s3://bucket/prefix of a run")
    arguments = parser.parse_args()
    try:
        checks = verify(RunDirectory(Location.of(arguments.output)))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report(checks))
    return int(any(check.problem for check in checks))


if __name__ == "__main__":
    sys.exit(main())
