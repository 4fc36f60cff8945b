"""Kill a job over each kind of input in object storage, and run the same command again.

    python -m tests.faults.inputs --videos 24

Puts the same videos into a bucket of the tests' S3 server as files, as a list, as tars, as gzipped
tars and as Parquet. The driver is killed when some rows are written. Each run must then be whole
by jobs/verify.py, and its rows those of an undisturbed run over the files, to the bit.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.inputs.demo.archive import ArchiveSettings, make_archive
from tests.input_forms import FORMS, view_rows
from tests.object_storage import ObjectStorage, object_storage
from tests.processes import wait_while_running

_JOBS = Path(__file__).parents[2] / "jobs"
_BUCKET = "archive"


def main() -> int:
    """Runs every kind once; 0 if every video came exactly once in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--kinds", nargs="+", choices=tuple(FORMS), default=tuple(FORMS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, object_storage(Path(folder)) as server:
        os.environ.update(server.environment)
        server.client().create_bucket(Bucket=_BUCKET)
        work = Path(folder) / "work"
        archive = work / "archive"
        make_archive(archive, ArchiveSettings(videos=arguments.videos))
        local = FORMS["files"](archive, work / "undisturbed-input")
        _run(_label(str(local), work / "undisturbed"))
        expected = view_rows(work / "undisturbed")
        good = True
        for kind in arguments.kinds:
            source = _put(server, FORMS[kind](archive, work / kind), work / kind)
            output = work / f"output-{kind}"
            _killed(_label(source, output), output)
            _run(_label(source, output))
            _run([sys.executable, str(_JOBS / "verify.py"), str(output)])
            same = view_rows(output) == expected
            good = good and same
            outcome = "every video exactly once, the same to the bit" if same else "DIFFERS"
            print(f"{kind:<8} {source}: {outcome}", flush=True)
    return 0 if good else 1


def _put(server: ObjectStorage, source: Path, folder: Path) -> str:
    """Copies a folder into the bucket; the address of the INPUT."""
    client = server.client()
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        key = f"{folder.name}/{file.relative_to(folder)}"
        client.upload_file(str(file), _BUCKET, key)
    below = source.relative_to(folder).as_posix()
    return f"s3://{_BUCKET}/{folder.name}{'' if below == '.' else f'/{below}'}"


def _label(source: str, output: Path) -> list[str]:
    command = [sys.executable, str(_JOBS / "label_k400.py"), source, str(output)]
    return [*command, "--checkpoint", "demo", "--views", "2x1"]


def _killed(command: list[str], output: Path) -> None:
    """Kills the job when the first rows are written."""
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_while_running(driver, lambda: any((output / "units").glob("*.parquet")))
    driver.send_signal(signal.SIGKILL)
    driver.wait()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
