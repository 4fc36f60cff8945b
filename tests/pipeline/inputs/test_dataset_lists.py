"""Lists of Kinetics, Something-Something and ActivityNet, matched with files below --video-root."""

import csv
import json
import tarfile

import pandas as pd
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.input_check import checked_input
from pipeline.inputs.left_out import BAD_ROWS, WITHOUT_FILE
from pipeline.inputs.list_options import ListOptions
from pipeline.inputs.listing import Listing

CLASSES = ["abseiling", "air drumming", "passing American football (in game)"]
# As published: negative-looking ids, ids with _ and -, labels with blanks and brackets.
CLIPS = [
    ("abseiling", "-3B32lodo2M", 59, 69),
    ("air drumming", "_0kYoDNAs0E", 0, 10),
    ("passing American football (in game)", "a-b_c-D_e-F", 1203, 1213),
]
NAMES = {
    "{id}_{start:06d}_{end:06d}{ext}",
    "{split}/{id}_{start:06d}_{end:06d}{ext}",
    "{label}/{id}_{start:06d}_{end:06d}{ext}",
    "{label_}/{id}_{start:06d}_{end:06d}{ext}",
    "{split}/{label_}/{id}_{start:06d}_{end:06d}{ext}",
    "videos_{split}/{label}/{id}_{start}_{end}{ext}",
    "{id}{ext}",
    "{split}/{label}/{id}{ext}",
}


def kinetics(path, clips=CLIPS, *, split="validate", more=(), pandas=False):
    """Kinetics' CSV as published, or as pandas writes it again after a merge."""
    names = ["label", "youtube_id", "time_start", "time_end", "split", *more]
    rows = [[*clip, split, *("0" for _ in more)] for clip in clips]
    if pandas:
        frame = pd.DataFrame(rows, columns=names)
        frame["time_start"] = frame["time_start"].astype(float)
        frame.to_csv(path, index=False)
        return
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def found(path, root, **options):
    listing = Listing(str(path), lists=ListOptions(video_root=str(root), **options))
    return list(listing.videos()), listing


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("extension", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("more", [(), ("is_cc",)])
def test_kinetics_finds_its_files_by_whatever_name_they_were_downloaded(
    tmp_path, name, extension, more
):
    root = tmp_path / "videos"
    files = [
        touch(root / name.format(id=id, start=start, end=end, label=label, ext=extension,
                                 label_=label.replace(" ", "_"), split="validate"))
        for label, id, start, end in CLIPS
    ]  # fmt: skip
    touch(root / "validate" / "other_000001_000011.mp4")
    for pandas in (False, True):
        kinetics(tmp_path / "k400.csv", more=more, pandas=pandas)
        videos, listing = found(tmp_path / "k400.csv", root)
        assert [video.uri for video in videos] == list(map(str, files))
        assert [video.video_id for video in videos] == [
            f"{id}_{start:06d}_{end:06d}" for _, id, start, end in CLIPS
        ]
        assert [video.ground_truth for video in videos] == [label for label, *_ in CLIPS]
        assert {video.size_bytes for video in videos} == {1}
        assert not listing.skipped
        assert list(listing.unread) == list(more)
        checked = checked_input(listing, CLASSES)
        assert (checked.labels.given, checked.labels.known) == (3, 3)


def test_the_root_may_hold_folders_of_frames_or_archives(tmp_path):
    kinetics(tmp_path / "k400.csv")
    for number in (1, 2, 3):
        touch(tmp_path / "frames" / "-3B32lodo2M_000059_000069" / f"img_{number:05d}.jpg")
    videos, listing = found(tmp_path / "k400.csv", tmp_path / "frames", fps=25.0)
    assert [(video.ground_truth, video.part is None) for video in videos] == [("abseiling", False)]
    assert listing.skipped == {WITHOUT_FILE: 2}
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "shard-000.tar", "w") as tar:
        tar.add(tmp_path / "k400.csv", "_0kYoDNAs0E_000000_000010.mp4")
    videos, _ = found(tmp_path / "k400.csv", tmp_path / "tars")
    assert [(video.ground_truth, video.uri) for video in videos] == [
        ("air drumming", str(tmp_path / "tars" / "shard-000.tar"))
    ]
    assert videos[0].part is not None


def test_rows_without_a_file_are_counted_and_named_and_none_at_all_is_refused(tmp_path):
    clips = [("abseiling", f"id{number:09d}", number, number + 10) for number in range(2000)]
    kinetics(tmp_path / "k400.csv", clips)
    for _, name, start, end in clips[::2]:
        touch(tmp_path / "videos" / f"{name}_{start:06d}_{end:06d}.mp4")
    videos, listing = found(tmp_path / "k400.csv", tmp_path / "videos")
    assert len(videos) == 1000
    assert listing.skipped == {WITHOUT_FILE: 1000}
    assert listing.rows == 2000
    assert listing.named().startswith(
        "left out: 1,000 of 2,000 rows without a file below --video-root (id000000001_000001_000011"
    )
    touch(tmp_path / "others" / "x.mp4")
    with pytest.raises(UsageError, match="no row of .*k400.csv has a file") as refused:
        found(tmp_path / "k400.csv", tmp_path / "others")
    said = str(refused.value)
    assert "id000000000_000000_000010 or id000000000_0_10 or id000000000 with" in said
    assert "holds 1 videos, such as x.mp4" in said


def test_of_several_files_that_with_the_label_or_split_is_taken_and_else_none(tmp_path):
    root = tmp_path / "videos"
    kinetics(tmp_path / "k400.csv", CLIPS[:1])
    wanted = touch(root / "validate" / "abseiling" / "-3B32lodo2M_000059_000069.mp4")
    touch(root / "train" / "abseiling" / "-3B32lodo2M_000059_000069.mp4")
    touch(root / "validate" / "-3B32lodo2M.mp4")
    assert [video.uri for video in found(tmp_path / "k400.csv", root)[0]] == [str(wanted)]
    touch(root / "validate" / "abseiling" / "-3B32lodo2M_000059_000069.webm")
    with pytest.raises(UsageError, match="line 2: 2 files below .* may be its video: .*webm"):
        found(tmp_path / "k400.csv", root)
    better = touch(root / "replacement_for_corrupted_k400" / "-3B32lodo2M_000059_000069.mp4")
    assert [video.uri for video in found(tmp_path / "k400.csv", root)[0]] == [str(better)]
    better.unlink()
    touch(root / "a_000001_000002.mp4")
    kinetics(tmp_path / "k400.csv", [CLIPS[0], ("abseiling", "a", 1, 2)])
    videos, listing = found(tmp_path / "k400.csv", root, skip_bad_lines=True)
    assert len(videos) == 1
    assert listing.skipped == {BAD_ROWS: 1}


def test_a_test_list_without_labels_has_none(tmp_path):
    (tmp_path / "test.csv").write_text("youtube_id,time_start,time_end,split\nabc,1,11,test\n")
    touch(tmp_path / "videos" / "abc_000001_000011.mp4")
    ((video,), _) = found(tmp_path / "test.csv", tmp_path / "videos")
    assert (video.video_id, video.ground_truth) == ("abc_000001_000011", None)


def test_files_may_lie_in_object_storage(tmp_path, s3):
    s3.create_bucket(Bucket="kinetics")
    for label, id, start, end in CLIPS[:2]:
        s3.put_object(
            Bucket="kinetics", Key=f"val/{label}/{id}_{start:06d}_{end:06d}.mp4", Body=b"x"
        )
    kinetics(tmp_path / "k400.csv")
    videos, listing = found(tmp_path / "k400.csv", "s3://kinetics/val")
    assert [video.uri for video in videos] == [
        "s3://kinetics/val/abseiling/-3B32lodo2M_000059_000069.mp4",
        "s3://kinetics/val/air drumming/_0kYoDNAs0E_000000_000010.mp4",
    ]
    assert all(video.etag and video.size_bytes == 1 for video in videos)
    assert listing.skipped == {WITHOUT_FILE: 1}


def test_the_root_is_listed_once_for_a_check_and_the_listing_after_it(tmp_path, monkeypatch):
    touch(tmp_path / "videos" / "-3B32lodo2M_000059_000069.mp4")
    kinetics(tmp_path / "k400.csv")
    _, listing = found(tmp_path / "k400.csv", tmp_path / "videos")
    checked = checked_input(listing, CLASSES)
    (tmp_path / "videos" / "-3B32lodo2M_000059_000069.mp4").unlink()
    assert len(list(checked.listing.again().videos())) == 1


SSV2_CLASSES = ["Holding something next to something", "Pushing something so that it falls"]
SSV2 = [
    {"id": "74225", "label": "holding potato next to vicks vaporub bottle",
     "template": "Holding [something] next to [something]",
     "placeholders": ["potato", "vicks vaporub bottle"]},
    {"id": "116154", "label": "pushing onion so it falls",
     "template": "Pushing [something] so that it falls", "placeholders": ["onion"]},
]  # fmt: skip


@pytest.mark.parametrize("extension", [".webm", ".mp4"])
@pytest.mark.parametrize("indent", [None, 4])
def test_something_something_has_ids_and_templates(tmp_path, extension, indent):
    (tmp_path / "validation.json").write_text(json.dumps(SSV2, indent=indent))
    files = [touch(tmp_path / "videos" / f"{row['id']}{extension}") for row in SSV2]
    videos, listing = found(tmp_path / "validation.json", tmp_path / "videos")
    assert [(video.video_id, video.uri) for video in videos] == [
        (row["id"], str(file)) for row, file in zip(SSV2, files, strict=True)
    ]
    assert [video.ground_truth for video in videos] == SSV2_CLASSES
    labels = checked_input(listing, SSV2_CLASSES).labels
    assert (labels.given, labels.known) == (2, 2)


def test_of_something_somethings_test_list_the_answers_are_a_list_of_their_own(tmp_path):
    """test.json has ids alone, and the answers are `id;class name` without a header."""
    (tmp_path / "test.json").write_text(json.dumps([{"id": row["id"]} for row in SSV2]))
    answers = "\n".join(f"{r['id']};{name}" for r, name in zip(SSV2, SSV2_CLASSES, strict=True))
    (tmp_path / "test-answers.csv").write_text(answers)
    for row in SSV2:
        touch(tmp_path / "videos" / f"{row['id']}.webm")
    videos, _ = found(tmp_path / "test.json", tmp_path / "videos")
    assert [(video.video_id, video.ground_truth) for video in videos] == [
        (row["id"], None) for row in SSV2
    ]
    videos, listing = found(tmp_path / "test-answers.csv", tmp_path / "videos")
    assert [video.ground_truth for video in videos] == SSV2_CLASSES
    assert checked_input(listing, SSV2_CLASSES).labels.known == 2


def test_activitynet_names_its_videos_and_their_classes(tmp_path):
    database = {
        "---9CpRcKoU": {"subset": "training", "duration": 14.07, "url": "https://host/1",
                        "annotations": [{"segment": [0.01, 12.6], "label": "Drinking beer"}]},
        "two": {"subset": "training", "annotations": [{"segment": [0, 1], "label": "a"},
                                                      {"segment": [1, 2], "label": "b"}]},
        "test": {"subset": "testing", "annotations": []},
    }  # fmt: skip
    text = json.dumps({"version": "VERSION 1.3", "taxonomy": [], "database": database})
    (tmp_path / "activity_net.json").write_text(text)
    for name in ("v_---9CpRcKoU.mp4", "two.mkv", "sub/v_test.mp4"):
        touch(tmp_path / "videos" / name)
    videos, _ = found(tmp_path / "activity_net.json", tmp_path / "videos")
    assert [(video.video_id, video.ground_truth) for video in videos] == [
        ("---9CpRcKoU", "Drinking beer"), ("two", None), ("test", None)
    ]  # fmt: skip
    database["bad"] = {"annotations": [{"segment": [0, 1]}]}
    (tmp_path / "activity_net.json").write_text(json.dumps({"database": database}))
    with pytest.raises(UsageError, match="video 4: its annotations are not"):
        found(tmp_path / "activity_net.json", tmp_path / "videos")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_any_list_with_an_id_and_no_path_finds_files_by_it(tmp_path, kind):
    """With --id-column also under another name."""
    frame = pd.DataFrame({"clip": ["a", "b", "c"], "label": ["x", "y", "z"]})
    path = tmp_path / f"list.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    for name in ("a.mp4", "sub/c.avi"):
        touch(tmp_path / "videos" / name)
    videos, listing = found(path, tmp_path / "videos", id_column="clip")
    assert [(video.video_id, video.ground_truth) for video in videos] == [("a", "x"), ("c", "z")]
    assert listing.skipped == {WITHOUT_FILE: 1}


@pytest.mark.parametrize("name", ["k400.csv", "ssv2.json", "activity_net.json"])
def test_without_a_root_the_refusal_names_the_flag(tmp_path, name):
    content = {
        "k400.csv": "label,youtube_id,time_start,time_end,split\na,b,1,11,train\n",
        "ssv2.json": json.dumps(SSV2),
        "activity_net.json": '{"database": {}}',
    }[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match="this looks like .*--video-root DIR names the folder"):
        list(Listing(str(tmp_path / name)).videos())


def test_a_root_that_is_not_there_is_refused_before_the_list_is_read(tmp_path):
    kinetics(tmp_path / "k400.csv")
    listing = Listing(str(tmp_path / "k400.csv"), lists=ListOptions(video_root=f"{tmp_path}/none"))
    with pytest.raises(UsageError, match="--video-root: there is no directory .*/none"):
        checked_input(listing, CLASSES)
    with pytest.raises(UsageError, match="^there is no .*/none"):
        found(tmp_path / "k400.csv", tmp_path / "none", skip_bad_lines=True)


@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl", "parquet"])
def test_relative_paths_of_every_list_start_at_its_folder_or_at_the_root(tmp_path, kind):
    path = tmp_path / "lists" / f"list.{kind}"
    path.parent.mkdir()
    frame = pd.DataFrame({"uri": ["sub/a.mp4", "/elsewhere/b.mp4", "s3://bucket/c.mp4"]})
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "txt":
        path.write_text("\n".join(frame["uri"]))
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    others = ["/elsewhere/b.mp4", "s3://bucket/c.mp4"]
    for root, first in ((None, f"{path.parent}/sub/a.mp4"), ("/data", "/data/sub/a.mp4"),
                        ("s3://b/p", "s3://b/p/sub/a.mp4")):  # fmt: skip
        listing = Listing(str(path), lists=ListOptions(video_root=root))
        assert [video.uri for video in listing.videos()] == [first, *others]


def test_where_no_video_of_a_list_is_the_folder_of_its_paths_is_said(tmp_path, capfd):
    (tmp_path / "list.csv").write_text("uri\na.mp4\nb.mp4\n")
    checked_input(Listing(str(tmp_path / "list.csv")), ["x"])
    said = capfd.readouterr().err
    assert f"such as {tmp_path}/a.mp4. Relative paths of a list start at {tmp_path}; --vid" in said
    touch(tmp_path / "b.mp4")
    checked_input(Listing(str(tmp_path / "list.csv")), ["x"])
    assert capfd.readouterr().err == ""
