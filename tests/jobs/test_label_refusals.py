"""Bad use gets one clear line before any work, and exit code 2."""

import pyarrow.parquet as pq
import pytest

import sta
from pipeline.labeling import flags as label_flags
from pipeline.labeling import job as label_job
from pipeline.labeling.begin import begin
from pipeline.labeling.command import main
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.plan import plan_labeling
from pipeline.labeling.pruning_flags import PruningFlags
from tests.faults.archive import make_checkpoint
from tests.videos import write_video


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    write_video(folder / "a.mp4", frames=20)
    return folder


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Runs the command, which must refuse; gives what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            code = main("k400", [str(argument) for argument in arguments])
        except SystemExit as ended:  # of the parser
            code = ended.code
        assert code == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert not (tmp_path / "out" / "units").exists()
        return lines[0]

    return run


def test_a_file_of_flags_is_read_as_the_command_line_is(refused, archive, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(f"input: {archive}\noutput: out\ncheckpoint: nowhere.pth\nviews: 5x\n")
    assert refused("--config", file).startswith(f"error: --config {file}: views: views must be")
    file.write_text(f"input: {archive}\noutput: out\ncheckpoint: nowhere.pth\nviews: 5x3\n")
    assert "no checkpoint at nowhere.pth" in refused("--config", file)
    assert "no checkpoint at other.pth" in refused("--config", file, "--checkpoint", "other.pth")
    file.write_text("chekpoint: demo\n")
    said = refused("--config", file)
    assert said == f"error: --config {file}: there is no flag 'chekpoint'; did you mean checkpoint?"


def test_an_input_that_is_not_there(refused, random_checkpoint):
    said = refused("nowhere", "out", "--checkpoint", random_checkpoint)
    assert said == "error: there is no nowhere"


def test_an_input_without_videos(refused, random_checkpoint, tmp_path):
    (tmp_path / "in").mkdir()
    said = refused("in", "out", "--checkpoint", random_checkpoint)
    assert "no video in in: it is empty" in said
    (tmp_path / "in" / "a.txt").touch()
    said = refused("in", "out", "--checkpoint", random_checkpoint)
    assert (
        "it holds 1 .txt; to label the videos of a .txt list, name that file; --all-files" in said
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("val.csv", "label,youtube_id,time_start\na,-3B,5\n", "looks like Kinetics' official CSV"),
        ("val.txt", "a/b 163 1\nc/d 120 2\n", "an annotation list of frame folders"),
        ("notes", "Dear diary,\nnothing happened.\n", "its first line names no column uri"),
        ("x.csv", "uri,label\na.mp4,jump\nftp://host/b.mp4,run\n", "line 3: ftp:// addresses"),
        ("twice.txt", "a.mp4 0\nb.mp4 1\na.mp4 1\n", "lists 'a.mp4' twice, as its videos 1 and 3"),
        ("empty.csv", "uri,label\n", "no video in empty.csv: the list has no row"),
    ],
)
def test_a_list_that_cannot_be_read_whole(refused, random_checkpoint, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    assert said in refused(name, "out", "--checkpoint", random_checkpoint)
    assert not (tmp_path / "out").exists()


def test_an_unknown_architecture(refused, archive, random_checkpoint):
    said = refused(archive, "out", "--checkpoint", random_checkpoint, "--arch", "resnet50")
    assert "unknown architecture 'resnet50'; available are videoswin_base, " in said


def test_an_r_that_is_too_large(refused, archive, random_checkpoint):
    said = refused(archive, "out", "--checkpoint", random_checkpoint, "--r", 25)
    assert "stage 1 would drop 25 of 49 tokens per group" in said
    assert "the largest r for this model is 24" in said


def test_an_r_below_zero(refused, archive, random_checkpoint):
    assert "r must be" in refused(archive, "out", "--checkpoint", random_checkpoint, "--r", -1)


def test_a_checkpoint_of_another_shape(refused, archive, random_checkpoint):
    said = refused(archive, "out", "--checkpoint", random_checkpoint, "--arch", "vit_base")
    assert "holds the shapes of vit_demo, not of vit_base" in said


def test_a_checkpoint_of_another_digest(refused, archive, random_checkpoint):
    other = "0" * 64
    said = refused(archive, "out", "--checkpoint", random_checkpoint, "--checkpoint-sha256", other)
    assert f"not {other}: the weights were replaced" in said
    said = refused(archive, "out", "--checkpoint", random_checkpoint, "--checkpoint-sha256", "abc")
    assert "a SHA-256 has 64 hexadecimal digits" in said


def test_a_checkpoint_that_is_not_there(refused, archive):
    said = refused(archive, "out", "--checkpoint", "weights.pth")
    assert "no checkpoint at weights.pth" in said


def test_a_missing_checkpoint_or_output(refused, archive):
    assert "--checkpoint is missing" in refused(archive, "out")
    assert "OUTPUT is missing" in refused(archive)


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--views", "5", "views must be CLIPSxCROPS"),
        ("--views", "0x3", "views must be CLIPSxCROPS"),
        ("--decoders", "0", "--decoders: takes N or MIN:MAX"),
        ("--limit", "0", "--limit must be 1 or more"),
        ("--batch-size", "0", "--batch-size must be 1 or more"),
        ("--labelers", "0", "--labelers must be 1 or more"),
        ("--clip-every", "often", "a time must be a number above 0 with ms, s, m or h"),
        ("--fetch-timeout", "0s", "a time must be a number above 0 with ms, s, m or h"),
        ("--decode-timeout", "0s", "a time must be a number above 0 with ms, s, m or h"),
        ("--max-failed", "many", "--max-failed: a share is written 5% or 0.05"),
    ],
)
def test_numbers_that_make_no_sense(refused, archive, random_checkpoint, flag, value, said):
    assert said in refused(archive, "out", "--checkpoint", random_checkpoint, flag, value)


def test_dense_labeling_with_a_decoder_that_cannot_seek(refused, archive, random_checkpoint):
    flags = ("--clip-every", "2s", "--decoder", "decord")
    said = refused(archive, "out", "--checkpoint", random_checkpoint, *flags)
    assert "--clip-every needs --decoder pyav" in said


def test_an_output_of_another_configuration(refused, archive, random_checkpoint, tmp_path):
    settings = {"task": "k400", "source": str(archive), "output": str(tmp_path / "out")}
    options = LabelOptions(checkpoint=str(random_checkpoint), pruning=PruningFlags(r=8), **settings)
    begin(plan_labeling(options), options)
    said = refused(archive, "out", "--checkpoint", random_checkpoint, "--r", 12)
    assert "belongs to another configuration: pruning.r: 8 in the run, 12 now. Choose" in said


def test_a_relative_output_in_the_folder_that_ray_deletes(
    refused, archive, random_checkpoint, tmp_path, monkeypatch
):
    unpacked = tmp_path / "working_dir_files" / "_ray_pkg_1"
    unpacked.mkdir(parents=True)
    monkeypatch.chdir(unpacked)
    said = refused(archive, "out", "--checkpoint", random_checkpoint)
    assert "OUTPUT out is relative to the folder that Ray unpacked" in said


def test_an_output_that_cannot_be_written(refused, archive, random_checkpoint, tmp_path):
    (tmp_path / "file").touch()
    said = refused(archive, "file/out", "--checkpoint", random_checkpoint)
    assert "cannot write to" in said


def test_a_bucket_that_cannot_be_read(refused, random_checkpoint, s3):
    said = refused("s3://absent/videos", "out", "--checkpoint", random_checkpoint)
    assert said == "error: cannot list s3://absent/videos: there is no such bucket"


def test_a_storage_that_does_not_answer(refused, random_checkpoint, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = refused("s3://any/videos", "out", "--checkpoint", random_checkpoint)
    assert "cannot list s3://any/videos: " in said
    assert "127.0.0.1:9" in said


def test_credentials_that_are_not_there(refused, random_checkpoint, s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    said = refused("s3://any/videos", "out", "--checkpoint", random_checkpoint)
    assert "no credentials found" in said


def test_an_output_whose_folders_belong_to_someone_else(
    refused, archive, random_checkpoint, tmp_path
):
    theirs = write_video(_folder(tmp_path / "project" / "videos") / "a.mp4", frames=20)
    _folder(tmp_path / "project" / "manifest" / "old")
    said = refused(tmp_path / "project/videos", "project", "--checkpoint", random_checkpoint)
    assert "holds videos, manifest but no run.json" in said
    assert theirs.exists()


def test_a_manifest_cut_off_by_a_kill_is_written_anew(archive, random_checkpoint, tmp_path):
    (_folder(tmp_path / "out" / "manifest") / "part-00000.parquet").write_bytes(b"cut off")
    checkpoint = str(random_checkpoint)
    options = LabelOptions(
        task="k400", source=str(archive), output=str(tmp_path / "out"), checkpoint=checkpoint
    )
    assert begin(plan_labeling(options), options).listing.videos == 1


def test_ids_and_names_of_classes_become_names_in_the_manifest(archive, tmp_path, capsys):
    checkpoint = make_checkpoint(tmp_path)
    classes = sta.load_model(str(checkpoint)).labels
    labels = ["2", classes[3].upper(), "yak", ""]
    lines = [f"{archive}/a.mp4,{number},{label},7" for number, label in enumerate(labels)]
    (tmp_path / "list.csv").write_text("\n".join(["uri,video_id,label,start", *lines]))
    options = LabelOptions(
        task="k400",
        source=str(tmp_path / "list.csv"),
        output=str(tmp_path / "out"),
        checkpoint=str(checkpoint),
    )
    plan = plan_labeling(options)
    begin(plan, options)
    rows = pq.read_table(plan.run.manifest.uri).sort_by("video_id")["ground_truth"].to_pylist()
    assert rows == [classes[2], classes[3], "yak", None]
    said = "1 of 3 labels are not among the model's classes, such as 'yak'"
    printed = capsys.readouterr().err
    assert said in printed
    assert f"columns of {options.source} that are not read: start" in printed


def test_an_empty_name(refused, archive, random_checkpoint):
    for names in (("", "out"), (archive, "")):
        assert "the path or address is empty" in refused(*names, "--checkpoint", random_checkpoint)


def _folder(path):
    path.mkdir(parents=True)
    return path


def test_demo_runs_of_other_settings_do_not_share_a_folder():
    settings = [[], ["--r", "0"], ["--views", "1x1"], ["--limit", "5"], ["--decoder", "decord"]]
    settings += [["--checkpoint", "a.pth"], ["--checkpoint", "b.pth"], ["--score", "random"]]
    settings += [["--clip-every", "2s"], ["--grouping", "paper"], ["--shadow-share", "1%"]]
    places = {
        label_job._demo_output(task, label_flags.parser(task).parse_args(flags))
        for task in ("k400", "ssv2")
        for flags in settings
    }
    assert len(places) == 2 * len(settings)
    assert all("/" not in place for place in places)
