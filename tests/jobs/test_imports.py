"""What a job imports before its work: --help and a mistake in the flags wait for no library."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "pyarrow", "cv2", "matplotlib", "sklearn")

# Runs a job as `python jobs/x.py` does, and then prints which of the heavy libraries are loaded.
CODE = f"""
import runpy, sys
job, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_path(job, run_name="__main__")
except SystemExit as ended:
    print(ended.code, [name for name in {HEAVY} if name in sys.modules])
"""

JOBS = [
    *("label_k400", "label_ssv2", "report", "verify", "convert_checkpoint", "cost_report"),
    *("show_tokens", "make_demo_archive", "train_demo", "reproduce", "benchmark", "train_head"),
]


def loaded(job, *words):
    command = [sys.executable, "-c", CODE, str(ROOT / "jobs" / f"{job}.py"), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("job", JOBS)
def test_the_help_text_loads_no_heavy_library(job):
    assert loaded(job, "--help") == "0 []"


def test_a_mistake_in_the_flags_loads_no_heavy_library():
    assert loaded("label_k400", "videos", "out", "--retry") == "2 []"
    assert loaded("label_k400", "videos", "out", "--views", "5") == "2 []"
