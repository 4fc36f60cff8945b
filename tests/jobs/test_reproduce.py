"""The job that prints the paper's FLOPs beside ours."""

import subprocess
import sys
from pathlib import Path

from pipeline.reproduce import TABLE_2, TABLE_3, compare

JOB = Path(__file__).parents[2] / "jobs" / "reproduce.py"

# GFLOPs of the exact window attention, which must not be more.
REDUCED = {
    ("videoswin_base", 256): 155,
    ("videoswin_base", 320): 126,
    ("videoswin_base_ssv2", 320): 141,
}


def test_all_32_cells_are_the_papers_within_the_tolerance_of_their_table():
    cells = [cell for table in (TABLE_2, TABLE_3) for cell in compare(table)]
    assert len(cells) == 32
    assert [(c.architecture, c.r, c.difference) for c in cells if not c.holds] == []


def test_the_exact_window_attention_costs_less():
    exact = {(cell.architecture, cell.r): cell.exact for cell in compare(TABLE_3)}
    assert all(exact[cell] <= most for cell, most in REDUCED.items())


def test_the_job_prints_both_tables_and_names_both_conventions():
    done = subprocess.run([sys.executable, str(JOB), "tables"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("Table 2", "Table 3", "(macs)", "(fvcore)", "16 of 16 cells within 0.8"):
        assert words in done.stdout
