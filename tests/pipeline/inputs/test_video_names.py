"""Names of videos: what the decoder opens is seen in a directory."""

from pathlib import Path

import pytest
from av.format import ContainerFormat

from pipeline.inputs.listing import Listing
from pipeline.inputs.video_names import AMBIGUOUS_EXTENSIONS, VIDEO_EXTENSIONS
from tests.corpus import CORPUS, expected, files, needs_corpus
from workers.decoding.container import FORMATS

# What else these names are given to: sound, pictures, subtitles, lists of segments; programs,
# geometry, archives of games.
NO_VIDEO = {
    *("m4a", "m4b", "isma", "mka", "wma", "ra", "ogg", "oga", "opus", "spx"),
    *("avif", "heic", "heif", "mpo", "mks", "ism", "swf", "drc", "cpk", "flm"),
}

# What cameras, recorders and archives call their videos.
SEEN = (
    *(".264", ".h264", ".h265", ".hevc", ".avc", ".dav", ".divx", ".dv", ".f4v", ".insv", ".lrv"),
    *(".360", ".m1v", ".m2v", ".m2t", ".m2p", ".mod", ".tod", ".vro", ".ivf", ".rm", ".rmvb"),
    *(".ogm", ".qt", ".mk3d", ".trp", ".tp", ".dvr-ms", ".wtv", ".mp4", ".mkv", ".avi", ".ts"),
    *(".webm", ".y4m", ".mjpeg"),
)


def _names(container, mode):
    try:
        return ContainerFormat(container, mode).extensions
    except ValueError:
        return set()


@pytest.mark.parametrize("container", FORMATS.split(","))
def test_every_name_of_a_container_that_is_opened_is_a_videos(container):
    names = _names(container, "r") | _names(container, "w")
    assert {f".{name}" for name in names - NO_VIDEO} <= VIDEO_EXTENSIONS


def test_what_cameras_and_recorders_write_is_seen(tmp_path):
    for extension in SEEN:
        (tmp_path / f"a{extension.upper()}").write_bytes(b"\x80" * 400)
    listing = Listing(str(tmp_path))
    assert len(list(listing.videos())) == len(SEEN)
    assert not listing.skipped


def test_names_that_may_be_others_are_names_of_videos():
    assert AMBIGUOUS_EXTENSIONS < VIDEO_EXTENSIONS


@needs_corpus
@pytest.mark.parametrize("folder", ["hostile", "real"])
def test_every_video_of_the_corpus_is_found_by_its_first_bytes_too(tmp_path, folder):
    """Under a name that says nothing, all files are found from which frames come."""
    wanted = [name for name in files(folder) if expected(name) in ("ok", "degraded")]
    for number, name in enumerate(wanted):
        Path(tmp_path / f"{number:04d}").symlink_to(CORPUS / name)
    listing = Listing(str(tmp_path), all_files=True, follow_links=True)
    assert len(list(listing.videos())) == len(wanted), listing.skipped
