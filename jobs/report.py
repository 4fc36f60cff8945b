#!/usr/bin/env python3
"""Write report.html and report.json of a run anew, from its tables."""

import sys

import pyarrow as pa

from pipeline.command_line import JobParser
from pipeline.errors import UsageError
from pipeline.reports.run import GALLERY, write_run_report
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location


def main() -> int:
    """0: written; 1: the tables cannot be read or the report not be written; 2: there is no run
    that is finished.
    """
    parser = JobParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="directory or s3://bucket/prefix of a run")
    parser.add_argument(
        "--gallery",
        type=int,
        default=GALLERY,
        metavar="N",
        help="show what the model looked at in N videos (default: %(default)s); 0 for none",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="directory or s3://bucket/prefix to write to (default: RUN)"
    )
    arguments = parser.parse_args()
    try:
        run = RunDirectory(Location.of(arguments.run))
        out = Location.of(arguments.out) if arguments.out else run.root
        if run.exists() and not run.success.exists():
            # Its tables may be of an earlier attempt, and units/ be that of this one.
            raise UsageError(
                f"the run in {run.root.uri} is not finished; finish it by its labeling command"
            )
        write_run_report(run, gallery=arguments.gallery, out=out)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, pa.ArrowException) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    for name in ("report.html", "report.json"):
        print(out.child(name).uri)
    return 0


if __name__ == "__main__":
    sys.exit(main())
