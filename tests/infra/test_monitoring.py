"""Monitoring: the dashboard and the alerts ask for metrics that runs export, and an alert fires."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.execution.metrics import COUNTERS, GAUGES, HISTOGRAMS, PREFIX

FOLDER = Path(__file__).parents[2] / "infra" / "monitoring"
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def exported():
    kinds = ((COUNTERS, "_total"), (GAUGES, ""), (HISTOGRAMS, "_bucket"))
    return {f"ray_{PREFIX}{name}{suffix}" for names, suffix in kinds for name in names}


@pytest.mark.parametrize("query", [*QUERIES, *(rule["expr"] for rule in RULES)])
def test_only_metrics_that_runs_export_are_asked_for(query):
    asked = set(re.findall(rf"ray_{PREFIX}\w+", query))
    assert asked
    assert asked <= exported()


def test_no_metric_is_exported_that_nobody_looks_at():
    asked = set(re.findall(rf"ray_{PREFIX}\w+", " ".join(QUERIES)))
    assert asked == exported()


def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own():
    taken = set()
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert x + w <= 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


@needs_promtool
@pytest.mark.parametrize(
    "check",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=lambda check: check[-1],
)
def test_prometheus_takes_the_files_and_the_alerts_fire_when_they_should(check):
    *words, file = check
    done = subprocess.run(
        ["promtool", *words, str(FOLDER / file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
