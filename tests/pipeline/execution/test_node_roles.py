"""With STA_NODE_ROLES, decoders and what writes the output ask for nodes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.execution.node_roles import VARIABLE, on_nodes_of
from tests.heads import ray_head
from tests.videos import write_video

ROOT = Path(__file__).parents[3]

# Prints the roles that every actor and task asked for, by name. Ray hears of tasks some time later.
LISTED = """
import json
import time
import ray
from ray.util.state import list_actors, list_tasks

ray.init(log_to_driver=False)
for _ in range(60):
    asked = [(a.class_name, a.required_resources) for a in list_actors(limit=1000, detail=True)]
    for task in list_tasks(limit=9000, detail=True, raise_on_missing_output=False):
        if task.type == "NORMAL_TASK":
            asked.append((task.name, task.required_resources))
    if any("Write" in name for name, _ in asked):
        break
    time.sleep(1)
roles = ("decode", "label")
print(json.dumps([(name, [r for r in roles if r in (kinds or {})]) for name, kinds in asked]))
"""


def test_without_the_variable_nodes_are_not_chosen(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert on_nodes_of("decode") == {}
    monkeypatch.setenv(VARIABLE, "1")
    assert on_nodes_of("label") == {"resources": {"label": 0.001}}


@pytest.mark.slow
def test_decoders_ask_for_their_nodes_and_labelers_and_writers_for_theirs(
    random_checkpoint, tmp_path
):
    (tmp_path / "videos").mkdir()
    for number in range(4):
        write_video(tmp_path / "videos" / f"{number}.mp4", frames=20)
    job = [sys.executable, ROOT / "jobs" / "label_k400.py", tmp_path / "videos"]
    job += [tmp_path / "out", "--checkpoint", random_checkpoint]
    flags = ("--num-cpus=4", f"--resources={json.dumps({'decode': 1000, 'label': 1000})}")
    with ray_head(tmp_path / "head.log", *flags, environment={VARIABLE: "1"}) as head:
        done, listed = (
            subprocess.run(
                list(map(str, command)),
                env=head.environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            for command in (job, [sys.executable, "-c", LISTED])
        )
    assert done.returncode == 0, done.stderr
    assert listed.returncode == 0, listed.stderr
    asked = json.loads(listed.stdout.splitlines()[-1])
    for word, role in (("Decode", "decode"), ("Label", "label"), ("Write", "label")):
        found = [roles for name, roles in asked if word in name]
        assert found, (word, asked)
        assert all(roles == [role] for roles in found), (word, asked)
