"""Checking a run loads no torch."""

import subprocess
import sys


def test_checking_a_run_loads_no_torch():
    code = "import sys, pipeline.verify.verify; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
