"""Decodes the frames of a labeled view again, as the model received them."""

from __future__ import annotations

from pipeline.errors import UsageError
from pipeline.reports.tokens.lookup import RunFacts, ViewRows
from pipeline.reports.tokens.view import Pixels, ViewTokens, stage_maps
from workers.decoding import DecodedUnit, SandboxedDecoder
from workers.failures import ErrorType, UnitFailure


class ViewDecoder:
    """Decodes units of one run again, until it is closed.

    Args:
        facts: of the run.
    """

    def __init__(self, facts: RunFacts) -> None:
        identity = facts.record.identity
        self._decoder = SandboxedDecoder(
            facts.protocol, decoder=identity.decoder, mode=identity.decode
        )

    def close(self) -> None:
        """Ends the decoder's child."""
        self._decoder.close()

    def decode(self, found: ViewRows) -> DecodedUnit:
        """The frames of a view's unit.

        Raises:
            UsageError: they cannot be read, or the video changed since it was labeled; in one line.
        """
        decoded = self._decoder.decode(found.to_decode)
        video = found.video["video_id"]
        if isinstance(decoded, UnitFailure):
            if decoded.error_type is ErrorType.changed:
                raise UsageError(_changed(video, found, "the object has another ETag"))
            raise UsageError(
                f"{video} ({found.unit['uri']}) can no longer be read: {decoded.error_type}, "
                f"{' '.join(decoded.message.split())}"
            )
        for what, now in _signs(found, decoded).items():
            if now != found.unit[what]:
                words = what.replace("_", " ")
                raise UsageError(
                    _changed(video, found, f"its {words} is {now} and was {found.unit[what]}")
                )
        return decoded


def view_tokens(found: ViewRows, decoded: DecodedUnit) -> ViewTokens:
    """The view within the frames of its unit.

    Raises:
        UsageError: the run's kept maps are not those of its model.
    """
    facts, row = found.facts, found.view
    frames = view_frames(found, decoded)
    try:
        stages = stage_maps(
            facts.record.model.architecture,
            facts.pruning,
            frames=len(frames),
            size=facts.protocol.size,
            kept=found.kept,
        )
    except ValueError as error:
        raise UsageError(f"{facts.run.root.uri}: {error}") from error
    return ViewTokens(
        video_id=found.video["video_id"],
        clip=row["clip"],
        crop=row["crop"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        frames=frames,
        stages=stages,
    )


def view_frames(found: ViewRows, decoded: DecodedUnit) -> Pixels:
    """uint8 (T, size, size, 3) RGB: the frames of the view, cropped."""
    protocol = found.facts.protocol
    size = protocol.size
    top, left = protocol.crop_origins(*decoded.frames.shape[1:3])[found.view["crop"]]
    indices = decoded.clip_frames[clip_place(found, decoded)]
    return decoded.frames[indices, top : top + size, left : left + size].copy()


def clip_place(found: ViewRows, decoded: DecodedUnit) -> int:
    """Which row of the unit's `clip_frames` the view is of."""
    return int(found.view["clip"] - decoded.first_clip)


def _signs(found: ViewRows, decoded: DecodedUnit) -> dict[str, int]:
    """Properties of a file that show a change since labeling; objects have ETags for this."""
    if found.unit["etag"] is not None:
        return {}
    signs = {"frame_count": decoded.frame_count}
    if found.unit["start_s"] is None:
        signs["bytes_read"] = decoded.bytes_read
    return signs


def _changed(video: str, found: ViewRows, how: str) -> str:
    return f"{video} ({found.unit['uri']}) changed since it was labeled: {how}"
