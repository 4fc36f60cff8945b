"""Which files are videos where names do not decide: their first bytes, read ahead and in order."""

from collections import Counter

import pytest

from pipeline.inputs.listing import Listing
from pipeline.inputs.video_names import AMBIGUOUS_EXTENSIONS


@pytest.mark.parametrize("extension", sorted(AMBIGUOUS_EXTENSIONS))
def test_a_name_that_source_code_has_too_is_told_by_its_first_bytes(tmp_path, extension):
    (tmp_path / f"a{extension}").write_bytes(b"\x80" * 500)
    (tmp_path / f"zeros{extension}").write_bytes(bytes(500))
    (tmp_path / f"b{extension.upper()}").write_text("export const answer = 42;\n" * 50)
    listing = Listing(str(tmp_path))
    videos = [video.video_id for video in listing.videos()]
    assert videos == [f"a{extension}", f"zeros{extension}"]
    assert listing.skipped == {f"{extension} (text)": 1}


HEADS = {
    "a": (b"\0\0\0\x18ftypmp42" + bytes(50), None),
    "b.dat": (b"\0\0\x01\xba" + bytes(50), None),
    "c.bin": (b"\x81\x92\x93" * 20, None),
    "d.jpg": (b"\xff\xd8\xff\xe0", "JPEG picture"),
    "e.srt": (b"1\n00:00:01,000 --> 00:00:02,000\nHello", "text"),
    "f.json": (b"{}", "text"),
    "g.zip": (b"PK\x03\x04", "ZIP archive"),
    "h.mp3": (b"ID3", "MP3 sound file"),
    "i.mp4": (b"<html>gone</html>", None),
    "j.npy": (b"\x93NUMPY", "NumPy array"),
}


def test_all_files_are_told_by_their_first_bytes_and_videos_by_name_stay(tmp_path):
    for name, (head, _) in HEADS.items():
        (tmp_path / name).write_bytes(head)
    listing = Listing(str(tmp_path), all_files=True)
    videos = [video.video_id for video in listing.videos()]
    assert videos == [name for name, (_, kind) in HEADS.items() if kind is None]
    assert listing.skipped == Counter(kind for _, kind in HEADS.values() if kind)


def test_thousands_of_files_are_read_ahead_and_come_in_order(tmp_path):
    for number in range(1000):
        (tmp_path / f"{number:04d}").write_bytes(b"text" if number % 3 else b"\x80")
    listing = Listing(str(tmp_path), all_files=True)
    assert [int(v.video_id) for v in listing.videos()] == list(range(0, 1000, 3))
    assert listing.skipped == {"text": 666}


def test_all_objects_are_told_by_their_first_bytes(s3):
    s3.create_bucket(Bucket="heads")
    for name, (head, _) in HEADS.items():
        s3.put_object(Bucket="heads", Key=name, Body=head)
    listing = Listing("s3://heads", all_files=True)
    videos = [video.video_id for video in listing.videos()]
    assert videos == [name for name, (_, kind) in HEADS.items() if kind is None]
    assert listing.skipped == Counter(kind for _, kind in HEADS.values() if kind)
