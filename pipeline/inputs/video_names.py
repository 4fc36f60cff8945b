"""Names of video files, and of files and folders that are left out."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

# Names of the containers and raw streams in `workers.decoding.container.FORMATS`.
_VIDEO_EXTENSIONS = """
    .mp4 .m4v .mov .qt .3gp .3g2 .3gpp .3gp2 .f4v .ismv .lrv .insv .360 .mj2 .mp4v .mqv .psp
    .mkv .mk3d .webm .avi .divx .xvid .wmv .asf .wm .dvr-ms .wtv .flv .kux .ogv .ogm .rm .rmvb .nut
    .mpg .mpeg .mpe .mpv .m1v .m2v .m2p .mod .tod .vob .vro .evo .ts .m2t .m2ts .mts .trp .tp
    .mxf .gxf .lxf .dv .dif .nsv .nuv .pva .ty .ty+ .ivr .cine .roq .dav .ifv .mxg
    .264 .h264 .h26l .avc .265 .h265 .hevc .266 .h266 .vvc .h261 .h263 .ivf .obu .evc .apv .vc1 .rcv
    .vc2 .avs .avs2 .avs3 .cavs .dnxhd .dnxhr .y4m .mjpeg .mjpg
"""
VIDEO_EXTENSIONS = frozenset(_VIDEO_EXTENSIONS.split())
"""Extensions of the formats in `workers.decoding.container.FORMATS`: MP4 and QuickTime, also of
action cameras; Matroska, AVI, Windows Media, Flash, Ogg, RealMedia; MPEG program and transport
streams of DVDs, camcorders and television; broadcast, tape and surveillance formats; streams
without a container.
"""

LISTED_EXTENSIONS = VIDEO_EXTENSIONS | {".tar", ".tgz", ".gz"}
"""Extensions of what a list may name: videos, and archives of videos (.tar.gz)."""

# Extensions that other files use too: source code (.ts, .mts), music modules and Go modules
# (.mod), scripts (.avs, .evc, .rm), tables (.dif, .tp).
AMBIGUOUS_EXTENSIONS = frozenset({".ts", ".mts", ".mod", ".avs", ".evc", ".rm", ".dif", ".tp"})

# Folders of operating systems and storage devices, with copies, previews and deleted files. Names
# are compared without case.
_SYSTEM_FOLDERS = {
    name.casefold(): name
    for name in (
        "__MACOSX", "@eaDir", "#recycle", "#snapshot", "@Recycle", "$RECYCLE.BIN", "RECYCLER",
        "System Volume Information", "lost+found",
    )
}  # fmt: skip
HIDDEN_FOLDERS = "hidden folders"
HIDDEN = "hidden"
APPLE_DOUBLE = "macOS companions (._*)"
EMPTY = "empty"
NO_EXTENSION = "without extension"


def extension_of(name: str) -> str:
    """The extension of a file's name, in lower case with its dot; "" if it has none."""
    return posixpath.splitext(name)[1].lower()


def left_out_folder(name: str) -> str | None:
    """Why a folder is left out, as a key of `Listing.skipped`; None if it is searched."""
    known = _SYSTEM_FOLDERS.get(name.casefold())
    if known is not None:
        return f"{known} folders"
    return HIDDEN_FOLDERS if name.startswith(".") else None


def left_out_file(name: str) -> str | None:
    """Why a file is left out by name, as a key of `Listing.skipped`; None if it may be a video."""
    if name.startswith("._"):
        return APPLE_DOUBLE
    return HIDDEN if name.startswith(".") else None


def left_out_path(parts: Sequence[str]) -> tuple[int, str] | None:
    """The first folder of a path that is left out: its index in `parts`, and why; else None.

    Args:
        parts: names of the folders above a file, from the top.
    """
    for place, name in enumerate(parts):
        reason = left_out_folder(name)
        if reason is not None:
            return place, reason
    return None
