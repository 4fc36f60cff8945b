"""The job that prints the paper's numbers beside ours."""

import dataclasses
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.text import Annotation

from jobs import reproduce
from pipeline.lab.published import TABLES, compared, figure_of, text
from pipeline.lab.reproduce import TABLE_2, TABLE_3, compare
from tests.videos import write_video

JOB = Path(__file__).parents[2] / "jobs" / "reproduce.py"

# GFLOPs of sparse window attention, which must not be more.
REDUCED = {
    ("videoswin_base", 256): 155,
    ("videoswin_base", 320): 126,
    ("videoswin_base_ssv2", 320): 141,
}


def test_all_32_cells_are_the_papers_within_the_tolerance_of_their_table():
    cells = [cell for table in (TABLE_2, TABLE_3) for cell in compare(table)]
    assert len(cells) == 32
    assert [(c.architecture, c.r, c.difference) for c in cells if not c.holds] == []


def test_the_sparse_window_attention_costs_less():
    sparse = {(cell.architecture, cell.r): cell.sparse for cell in compare(TABLE_3)}
    assert all(sparse[cell] <= most for cell, most in REDUCED.items())


def test_the_job_prints_both_tables_and_names_both_conventions():
    done = subprocess.run([sys.executable, str(JOB), "tables"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("Table 2", "Table 3", "(macs)", "(fvcore)", "16 of 16 cells within 0.8"):
        assert words in done.stdout


@pytest.mark.parametrize(("part", "says"), [("trajectory", "Table 1"), ("gradnorm", "Figure 3")])
def test_the_measures_are_taken_on_the_model_and_the_videos_that_are_named(
    part, says, random_checkpoint, tmp_path, capsys
):
    video = write_video(tmp_path / "a.mp4", frames=30)
    assert reproduce.main([part, str(video), "--checkpoint", str(random_checkpoint)]) == 0
    said = capsys.readouterr().out
    for words in (says, str(random_checkpoint), "1 video of", str(video)):
        assert words in said


def test_without_input_the_demo_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduce, "_DEMO_VIDEOS", 2)
    assert reproduce.main(["trajectory"]) == 0
    assert "vit_demo (demo), r = 22; the middle view of 2 videos of demo/" in (
        capsys.readouterr().out
    )


def test_the_papers_other_tables_are_printed_with_what_is_counted_here(tmp_path, capsys):
    assert reproduce.main(["compare", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "MViTv2-L 2,828 x 5 x 3 42,420 86.1 %" in lines
    assert "ToMe-ViT-L 281 x 10 x 1 2,810 84.5 % 281.0 +0.0" in lines
    assert "STA^64-ViT-L 308 x 5 x 3 4,620 85.0 % 308.7 +0.7" in lines
    assert lines[-1] == f"Report: {tmp_path / 'compare.html'}"
    assert "PASS: 5 of 5 counts of table 4 are within 0.8 GFLOPs per view of the paper's." in lines
    added = lines.index("Not in the paper, GFLOPs as counted here:")
    assert lines.index("STA^64-ViT-H 611 x 5 x 3 9,165 86.1 % 611.5 +0.5") + 1 == added
    page = (tmp_path / "compare.html").read_text()
    assert "STA^" not in page
    assert "mathdefault" not in page
    assert "$" not in page
    assert "STA⁶⁴-ViT-H" in page
    assert "Table 4: Kinetics-400" in page
    assert "Table 5: Something-Something V2" in page


def test_every_own_row_of_tables_4_and_5_is_counted_as_published():
    systems = [each for table in TABLES for each in compared(table)]
    own = [each for each in systems if each.difference is not None]
    assert len(own) == 9
    assert [each for each in own if not each.holds] == []


def test_a_count_that_is_not_the_papers_is_named_as_a_failure():
    table = TABLES[1]
    systems = list(compared(table))
    wrong = dataclasses.replace(systems[3], counted=systems[3].published + 1.0)
    said = text(table, [*systems[:3], wrong, *systems[4:]])
    assert said.endswith(
        "FAIL: 3 of 4 counts of table 5 are within 0.8 GFLOPs per view of the paper's, "
        "but not VideoSwin-B."
    )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.number))
def test_no_name_in_a_plot_covers_another_name_or_a_point(table):
    figure = figure_of(list(compared(table)))
    figure.draw_without_rendering()
    names = [each for each in figure.findobj(Annotation) if each.get_text()]
    boxes = [name.get_window_extent() for name in names]
    assert len(boxes) == len(table.rows)
    assert [(one, other) for one, other in combinations(boxes, 2) if one.overlaps(other)] == []
    points = [figure.axes[0].transData.transform(name.xy) for name in names]
    assert not any(box.contains(*point) for box in boxes for point in points)


def test_additions_are_listed_unpruned_and_at_half_of_their_flops_and_not_as_measured():
    for table in TABLES:
        added = [each for each in compared(table) if each.published is None]
        assert len(added) == 2 * len(table.additions) > 0
        for whole, half in zip(added[::2], added[1::2], strict=True):
            assert half.system.startswith("STA^")
            assert half.system.endswith(whole.system)
            assert half.counted / whole.counted == pytest.approx(0.5, abs=0.01)
            assert whole.cells()[3] == half.cells()[3] == "not measured"


def test_a_wrong_command_is_refused_in_one_line(tmp_path, capsys):
    for arguments, words in (
        ([str(tmp_path)], "--checkpoint is missing"),
        ([str(tmp_path), "--checkpoint", "demo"], "no video to measure in"),
        ([str(tmp_path), "--checkpoint", "demo", "--videos", "0"], "--videos must be 1 or more"),
    ):
        assert reproduce.main(["gradnorm", *arguments]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert words in said
        assert said.count("\n") == 1
