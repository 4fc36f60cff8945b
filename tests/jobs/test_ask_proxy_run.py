"""Earlier runs as the proxy of a question, on real files: a pruned run, and one that was relabeled
from stored embeddings with a head.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import sta
from pipeline.embeddings.features import feature_spec
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.heads import LinearHead, head_bytes
from tests.videos import write_video

pytestmark = pytest.mark.slow

JOBS = Path(__file__).parents[2] / "jobs"
PRICES = JOBS.parent / "infra" / "prices.yaml"


def job(name, *arguments):
    command = [sys.executable, str(JOBS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, random_checkpoint):
    """Thirty videos, of which a pruned run labeled all but the last two."""
    made = tmp_path_factory.mktemp("night")
    (made / "in").mkdir()
    for number in range(28):
        write_video(made / "in" / f"{number}.mp4", frames=20 + number)
    settings = ("--checkpoint", random_checkpoint, "--views", "1x1", "--embeddings")
    ended = job("label_k400.py", made / "in", made / "night", *settings)
    assert ended.returncode == 0, ended.stderr
    for number in (28, 29):
        write_video(made / "in" / f"{number}.mp4", frames=20 + number)
    return made


@pytest.fixture(scope="module")
def relabeled(folder, random_checkpoint):
    """The run's embeddings with a head of a class of the model's and another one."""
    model = sta.load_model(random_checkpoint)
    record = RunDirectory(Location.of(str(folder / "night"))).load()
    head = LinearHead(
        weight=model.head.weight.detach().numpy()[[1, 3]].copy(),
        bias=model.head.bias.detach().numpy()[[1, 3]].copy(),
        labels=("b", "stands"),
        features=feature_spec(record),
    )
    (folder / "head.safetensors").write_bytes(head_bytes(head))
    ended = job(
        *("relabel.py", folder / "night", folder / "new", "--head", folder / "head.safetensors")
    )
    assert ended.returncode == 0, ended.stderr
    return folder / "new"


def ask(folder, checkpoint, question, output, *more):
    settings = ("--checkpoint", checkpoint, "--views", "2x1", *more)
    return job("ask.py", folder / "in", question, folder / output, *settings)


def ask_by_night(folder, checkpoint):
    given = ("--max-reference", 20, "--within", 5, "--prices", PRICES)
    more = ("--proxy-run", folder / "night", *given)
    ended = ask(folder, checkpoint, "share of a, b", "out", *more)
    assert ended.returncode == 1, ended.stderr  # too few references
    return ended.stdout


@pytest.fixture(scope="module")
def asked(folder, random_checkpoint):
    """What a question prints of which the pruned run is the proxy."""
    return ask_by_night(folder, random_checkpoint)


def test_a_pruned_run_is_the_proxy_and_the_answer_states_what_it_took(
    folder, asked, random_checkpoint
):
    said = " ".join(asked.split())
    assert f"Proxy: the run {folder}/night of 20" in said
    assert "of 30 videos 2 are not in it; their score is 0" in said
    assert not (folder / "out" / "proxy").exists()
    answer = (folder / "out" / "answer.json").read_text()
    (source,) = json.loads(answer)["sources"]
    assert source["proxy_run"]["agreement"]["count"] > 10
    report = json.loads((folder / "out" / "reference" / "report.json").read_text())
    assert source["cost"]["runs"]["work"] == report["cost"]["work"]
    assert source["cost"]["runs"]["cluster"] == report["cost"]["cluster"]
    assert source["cost"]["all"]["units"] == 30
    assert "USD for the work" in said
    assert ask_by_night(folder, random_checkpoint) == asked
    assert (folder / "out" / "answer.json").read_text() == answer


def test_what_a_head_makes_of_stored_embeddings_is_the_proxy(folder, relabeled, random_checkpoint):
    given = ("--proxy-run", relabeled)
    ended = ask(folder, random_checkpoint, "share of b", "head", *given)
    assert ended.returncode == 0, ended.stderr
    said = " ".join(ended.stdout.split())
    assert f"a head over the embeddings of {folder}/night" in said
    assert "(exact: all were labeled)" in said
    refused = ask(folder, random_checkpoint, "share of a", "head-a", *given)
    assert refused.returncode == 2
    assert "'a' is no class of the model, which has 2, such as b" in refused.stderr
    assert not (folder / "head-a").exists()


def test_the_run_of_a_sample_is_refused_as_a_proxy(folder, asked, random_checkpoint):
    given = ("--proxy-run", folder / "out" / "reference")
    ended = ask(folder, random_checkpoint, "share of b", "other", *given)
    assert ended.returncode == 2
    assert "holds a sample alone" in ended.stderr
