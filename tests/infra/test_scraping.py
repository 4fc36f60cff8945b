"""A real Prometheus scrapes a real job on a cluster of its own, and an alert fires."""

import contextlib
import csv
import json
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.heads import METRICS_LIST, free_port, ray_head, running
from tests.infra.test_monitoring import FOLDER, QUERIES
from tests.processes import eventually
from tests.videos import write_video

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="Prometheus is not installed (Debian: prometheus)",
    ),
]


@pytest.fixture
def cluster(tmp_path):
    """A Ray head on loopback: its environment for a job, and the file that lists its metrics."""
    with ray_head(tmp_path / "ray.log", "--num-cpus=4") as head:
        yield head.environment, head.folder / METRICS_LIST


@pytest.fixture
def prometheus(cluster, tmp_path):
    """Prometheus with the repository's files, but for its patience: it asks every second."""
    _, listed = cluster
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["file_sd_configs"][0]["files"] = [str(listed)]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={address}",
    ]

    def ask(path, **parameters):
        url = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def answers():
        with contextlib.suppress(OSError):
            return ask("alerts") is not None

    with running(command, tmp_path / "prometheus.log"):
        assert eventually(answers, seconds=60), (tmp_path / "prometheus.log").read_text()
        yield ask


@pytest.fixture
def archive(tmp_path):
    """A third of it is not there, and some of it cannot be done before Prometheus has looked."""
    files = [write_video(tmp_path / f"{number}.mp4", frames=40) for number in range(2)]
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video_id", "uri"])
        for number in range(400):
            there = files[number % 2] if number % 3 else tmp_path / "nowhere.mp4"
            rows.writerow([f"v{number}", there])
    return path


def test_a_running_job_is_scraped_and_the_alert_on_failures_fires(
    cluster, prometheus, archive, random_checkpoint, tmp_path
):
    environment, _ = cluster
    command = [
        *(sys.executable, ROOT / "jobs" / "label_k400.py", archive, tmp_path / "nightly"),
        *("--checkpoint", random_checkpoint, "--shadow-share", "0.5", "--min-agreement", "0.5"),
    ]
    log = tmp_path / "job.log"

    def firing():
        alerts = prometheus("alerts")["alerts"]
        return {
            alert["labels"]["alertname"]
            for alert in alerts
            if alert["state"] == "firing" and alert["labels"]["run"] == "nightly"
        }

    def shown(query):
        query = query.replace("$run", "nightly").replace("$__rate_interval", "30s")
        return bool(prometheus("query", query=query)["result"])

    with ExitStack() as stack:
        job = stack.enter_context(running(command, log, env=environment, cwd=ROOT))
        assert eventually(lambda: "TooManyFailures" in firing(), seconds=240), log.read_text()
        assert job.poll() is None, log.read_text()
        # Those of drift are set when a run ends, by its report.
        queries = [query for query in QUERIES if "_drift_" not in query]
        assert eventually(lambda: all(map(shown, queries)), seconds=120), [
            query for query in queries if not shown(query)
        ]


def test_drift_is_scraped_before_the_job_ends_and_its_alert_fires_after(
    cluster, prometheus, archive, random_checkpoint, tmp_path
):
    environment, _ = cluster

    def label(output, *more):
        command = [
            *(sys.executable, ROOT / "jobs" / "label_k400.py", archive, tmp_path / output),
            *("--checkpoint", random_checkpoint, "--views", "1x1", "--limit", "90"),
            *("--gallery", "0", *more),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    label("reference")
    for file in (tmp_path / "reference" / "videos").iterdir():
        rows = pq.read_table(file)
        place = rows.schema.get_field_index("label")
        names = json.loads((tmp_path / "reference/run.json").read_text())["model"]["labels"]
        other = [names[-1] if label else None for label in rows["label"].to_pylist()]
        pq.write_table(rows.set_column(place, rows.schema.field(place), pa.array(other)), file)
    said = label("nightly", "--compare-to", tmp_path / "reference")
    assert "of the labels moved" in " ".join(said.split())

    def firing():
        alerts = prometheus("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    assert eventually(lambda: "LabelDrift" in firing(), seconds=30)
