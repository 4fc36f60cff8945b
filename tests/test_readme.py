"""The README and the pages of the rooms: snippets run, jobs accept the commands, files, flags,
classes and counts that they name are those of the code.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sta
from pipeline.execution import autosize as calibration
from pipeline.execution import block_size as sizing
from pipeline.execution import failure_limit, graph
from pipeline.inputs.demo.scenes import LABELS, draw_scene
from pipeline.inputs.video import Video
from pipeline.lab.early_exit.flags import parser as calibration_parser
from pipeline.lab.evaluation import command as evaluation
from pipeline.lab.evaluation.variants import all_variants
from pipeline.labeling import job as label_job
from pipeline.labeling.flags import parser
from pipeline.run import lease, slices
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.transport import retry
from tests.jobs.parsers import COMMANDS, PARTS, flags, job_parser
from tests.pipeline.token_runs import VIT, make_run
from tests.videos import write_video
from workers.decoding import DecodeLimits
from workers.failures import ErrorType
from workers.sampling import DENSE_VIEWS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [re.match(r"[\w-]+", each)[0] for each in PROJECT["optional-dependencies"]["benchmark"]]
# Models that the evaluation holds at once.
HELD = sum(len(variant.sweep()) for variant in all_variants("vit_base"))
README = (ROOT / "README.md").read_text()
ROOMS = ("jobs", "pipeline", "sta", "tests", "workers")
# Every page that is written for people, the runbook in infra/ aside, which has a test of its own.
PAGES = [
    ROOT / "README.md",
    ROOT / ".github/CONTRIBUTING.md",
    *sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.md")),
]
PAGE_NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SECTION = README.partition("## Read the output\n")[2].partition("\n## ")[0]
SNIPPETS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.mp4").write_text("no video")
    good = write_video(folder / "good.mp4", frames=40)
    videos = [Video("VIDEO_ID", str(good)), Video("broken", str(folder / "text.mp4"))]
    return make_run(folder / "OUTPUT", videos, VIT)


def test_there_are_snippets_for_duckdb_pandas_polars_and_kept_tokens():
    assert [snippet.split()[1] for snippet in SNIPPETS] == [
        "duckdb",
        "pandas",
        "polars",
        "pipeline",
    ]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split()[1])
def test_snippets_that_read_a_run_work(run, snippet, monkeypatch):
    monkeypatch.chdir(Path(run.root.uri).parent)
    names = {}
    exec(snippet, names)
    if "maps" in names:
        assert [stage.shape[:2] for stage in names["maps"].stages] == [(6, 8)] * 3


def test_duckdb_statements_return_what_the_readme_says(run):
    import duckdb

    details = (ROOT / "jobs" / "DETAILS.md").read_text()
    queries = re.findall(r'duckdb\.sql\("""(.*?)"""', SNIPPETS[0] + details, re.DOTALL)
    labels, failures, sums, changed = (
        duckdb.sql(query.replace("OUTPUT", run.root.uri)).fetchall() for query in queries
    )
    assert [(label, videos) for label, videos, _ in labels] == [("a", 1)]
    ((reason, videos, example),) = failures
    assert (reason, videos) == ("not_video", 1)
    assert example
    assert len(sums[0]) == 3
    assert changed == []


def _words(text: str) -> str:
    """One line, so that a sentence that is wrapped elsewhere is the same."""
    return " ".join(text.split())


TEXT = _words(README)
TEXTS = [page.read_text() for page in PAGES]
ALL_TEXT = " ".join(map(_words, TEXTS))
_INLINE = re.findall(r"`(python jobs/[^`]+)`", ALL_TEXT)
_BLOCKS = [block for text in TEXTS for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]
_OF_LINES = re.findall(r"python jobs/.*?(?=$|&&)", "".join(_BLOCKS), re.MULTILINE)
JOB_COMMANDS = sorted({*_INLINE, *_OF_LINES})
# Flags of other programs that the pages name.
_FOREIGN = {"--check", "--working-dir", "--generate", "--rounds", "--end", "--videos", "--seconds"}
_FOREIGN |= {"--extra-index-url", "--reference", "--proxy", "--draws", "--differences"}


_USERS_FILES = {"prices.yaml", "run.yaml", "demo.safetensors", "head.safetensors"}
_CODE = "\n".join(
    path.read_text() for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))
)
_ALERTS = re.findall(r"alert: (\w+)", (ROOT / "infra" / "monitoring" / "alerts.yml").read_text())


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 240


@pytest.mark.parametrize("text", JOB_COMMANDS)
def test_each_job_accepts_the_commands_of_the_pages(text):
    _, path, *words = shlex.split(text, comments=True)
    job = Path(path).stem
    command = (job, words[0]) if job in PARTS else (job,)
    # A part of a job has a parser of its own.
    job_parser(command).parse_args(words[len(command) - 1 :])


def test_each_flag_of_the_pages_exists():
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", ALL_TEXT))
    known = set().union(*map(flags, COMMANDS))
    assert named - known - _FOREIGN == set()


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_each_file_module_and_link_of_a_page_is_there(page):
    text = page.read_text()
    for link in re.findall(r"\]\(((?!https?:)[^)#]+)\)", text):
        assert (page.parent / link).exists(), link
    for name in re.findall(r"python -m (tests\.[\w.]+)", text):
        assert importlib.util.find_spec(name), name
    within = [folder for folder in page.parents if folder.is_relative_to(ROOT)]
    for path in re.findall(r"(?<![\w*./])[\w/]+\.(?:py|sh|yaml|safetensors|toml)\b", text):
        if path not in _USERS_FILES:
            below = [*page.parent.rglob(path), *(ROOT / "jobs").glob(path)]
            assert below or any((folder / path).is_file() for folder in within), path


@pytest.mark.parametrize("page", PAGES, ids=PAGE_NAMES)
def test_each_name_of_a_page_is_in_the_code(page):
    for name in re.findall(r"`([a-z]+_\w+)`", page.read_text()):
        assert re.search(rf"\b{name}\b", _CODE), name
    for name in re.findall(r"`([A-Z]\w*[a-z]\w*)`", page.read_text()):
        found = re.search(rf"^(class|type) {name}\b|^{name} = ", _CODE, re.MULTILINE)
        assert found or name in _ALERTS, name


def test_error_types_are_those_of_the_code():
    listed = re.search(r"`error_type` from a closed list \(([^)]*)\)", TEXT)[1]
    # A finished run has no row that waits for its end.
    lasting = [each for each in ErrorType if each is not ErrorType.deferred]
    assert re.findall(r"`(\w+)`", listed) == lasting
    retried = re.search(r"labels again the rows that failed as (.*?), and no other row", TEXT)[1]
    assert set(re.findall(r"`(\w+)`", retried)) == {each for each in ErrorType if each.retryable}


def test_exit_codes_are_those_of_the_jobs_help():
    assert re.findall(r"^\| (\d) \|", README, re.MULTILINE) == ["0", "1", "2"]
    assert re.findall(r"\b(\d),", parser("k400").epilog.partition("Exit codes:")[2]) == list("012")


def test_files_of_a_run_are_all_named():
    run = RunDirectory(Location("/run"))
    page = (ROOT / "pipeline" / "run" / "README.md").read_text()
    tree = page.partition("```\n")[2].partition("```")[0]
    parts = [
        getattr(run, name) for name, it in vars(RunDirectory).items() if isinstance(it, property)
    ]
    names = {part.name for part in parts}
    names |= {lease._FOLDER, calibration._place(run).name}
    for name in names:
        assert re.search(rf"(?<![\w]){re.escape(name)}\b", tree), name
    tree = SECTION.partition("```\n")[2].partition("```")[0]
    listed = {line.split()[0].partition("/")[0] for line in tree.splitlines()[1:]}
    assert {name.rstrip(";") for name in listed} <= names | {"report.html"}


NUMBERS = {
    f"generates {label_job._DEMO_VIDEOS} videos of 8 to 10 seconds": True,
    f"after {failure_limit._ENOUGH} videos at the least": True,
    "Retries for two minutes per object (`--fetch-timeout`)": DecodeLimits().fetch_seconds == 120,
    "The limit of a minute grows with bytes and frames, up to an hour": (
        DecodeLimits().seconds,
        DecodeLimits().most_seconds,
    )
    == (60, 3600),
    f"after {lease.LeaseTimes().dead_s:g} seconds without a heartbeat": True,
    "1/2000 of the run, or one call of a labeler": graph._COMMITS == 2000,
    "cut into eight slices": slices._SLICES == 8,
    "(fewer below 512 videos": slices._SLICES * slices._UNITS_PER_SLICE == 512,
    "units of 16 clips": DENSE_VIEWS == (16, 1),
    "holds 32 videos of 5 clips (160 clips)": sizing._MAX_CLIPS == 160 == 32 * 5,
    "(2,000 videos; `--sample`)": calibration_parser().get_default("sample") == 2000,
    "with 95 % confidence (`--confidence`)": calibration_parser().get_default("confidence") == 0.95,
    "it uses 200 test videos of the demo archive": evaluation._DEMO_VIDEOS == 200,
    "dropped at random (three seeds)": evaluation._parser().get_default("seeds") == 3,
    f"does not fit {HELD} times": True,
    "may take `STA_DOWNLOAD_SECONDS` (3600)": retry.CHECKPOINTS.seconds == 3600,
    "Python 3.11 or newer": PROJECT["requires-python"] == ">=3.11",
    "what the benchmarks compare with (transformers)": EXTRAS == ["transformers"],
}


@pytest.mark.parametrize("text", NUMBERS)
def test_counts_are_those_of_the_code(text):
    assert text in ALL_TEXT
    assert NUMBERS[text]


def test_lengths_of_the_demo_videos():
    scenes = [draw_scene(seed=0, split="test", index=index) for index in range(48)]
    lengths = [scene.frames / scene.fps for scene in scenes]
    assert 8 <= min(lengths) <= max(lengths) <= 10


PAPERS_VITS = ("vit_small", "vit_base", "vit_large", "vit_huge", "vit_demo")


def test_what_the_default_pruning_saves():
    saved = {}
    for name in sta.ARCHITECTURES:
        pruning = sta.default_pruning(name)
        saved[name] = 1 - sta.estimate_flops(name, pruning=pruning) / sta.estimate_flops(name)
    assert "about half of the FLOPs of a ViT at 224 pixels (r = 64)" in TEXT
    assert "two fifths of VideoSwin's (r = 256)" in TEXT
    for name, share in saved.items():
        assert share == pytest.approx(0.4 if "swin" in name else 0.5, abs=0.07), name
        if sta.architecture_config(name).backbone == "videoswin" or name in PAPERS_VITS:
            r = 22 if name == "vit_demo" else 256 if "swin" in name else 64
            assert sta.default_pruning(name).r == r


def test_flops_of_the_demo_model():
    details = (ROOT / "jobs" / "DETAILS.md").read_text()
    rows = re.findall(r"^\| (none|STA, r = (\d+).*?) \| ([\d.]+)", details, re.MULTILINE)
    assert [r for _, r, _ in rows] == ["", "16", "22"]
    for _, r, told in rows:
        pruning = sta.Pruning(r=int(r or 0))
        flops = sta.estimate_flops("vit_demo", pruning=pruning, num_classes=len(LABELS))
        assert f"{flops / 1e9:.3f}" == told


def test_the_screen_of_the_demo_shows_its_flops_and_views():
    pruned, unpruned = (
        sta.estimate_flops("vit_demo", pruning=sta.Pruning(r=r), num_classes=len(LABELS))
        for r in (22, 0)
    )
    share = f"{100 * pruned / unpruned:.1f} % of the unpruned model's {unpruned / 1e9:.2f} G"
    views = label_job._DEMO_VIDEOS * 15
    assert (
        f"{pruned / 1e6:.0f} M per view, {share}; {pruned * views / 1e9:.0f} G in {views} views"
        in TEXT
    )
    assert f"{unpruned * 15 / 1e9:.1f} and {pruned * 15 / 1e9:.1f} GFLOPs per video" in TEXT


# What `sta` may need to load and run a model, its own packages' packages aside.
_UNWANTED = ("ray", "av", "cv2", "pyarrow", "pandas", "boto3", "matplotlib", "huggingface_hub")


def test_sta_imports_only_the_packages_that_are_named():
    assert "`sta` needs torch, numpy and safetensors; fvcore where FLOPs are counted" in ALL_TEXT
    code = f"""
import sys
for name in {_UNWANTED}:
    sys.modules[name] = None  # importing it is an ImportError
import sta, torch
model = sta.load_model("demo", pruning=sta.Pruning(r=22))
model(torch.zeros(1, 3, 16, 112, 112))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_lines_that_prune_a_model_of_transformers_work(monkeypatch):
    from tests.sta.hf.small_models import clips, transformers, vjepa2

    section = README.partition("## Prune a model of transformers\n")[2]
    (lines,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert "sta.remove(model)" in lines
    # The model that the lines name, with few and random weights.
    automatic = transformers.AutoModelForVideoClassification
    monkeypatch.setattr(automatic, "from_pretrained", lambda source: vjepa2())
    names = {}
    exec(lines, names)
    model = names["model"]
    assert model.sta.flops / model.sta.unpruned_flops == pytest.approx(0.5, abs=0.1)
    model(clips())
    assert [mask.shape for mask in model.sta.kept] == [(2, 4, 16)] * 3
    sta.remove(model)
    assert not hasattr(model, "sta")


def test_the_extra_hf_brings_transformers_alone():
    (wanted,) = PROJECT["optional-dependencies"]["hf"]
    pinned = re.search(r"^transformers==([\d.]+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert wanted == f"transformers>={pinned[1].rpartition('.')[0]}"
