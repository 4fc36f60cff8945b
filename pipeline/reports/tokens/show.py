"""Writes the kept tokens of one view: a sheet, an animation and a page."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.formatting import file_stem
from pipeline.reports.tokens.decoding import ViewDecoder, view_tokens
from pipeline.reports.tokens.images import write_animation, write_sheet
from pipeline.reports.tokens.lookup import RunFacts, ViewRows, find
from pipeline.reports.tokens.page import token_page
from pipeline.reports.tokens.predictions import (
    UnprunedPrediction,
    ViewPrediction,
    from_model,
    from_run,
    from_shadow,
    pruned_prediction,
    unpruned_run,
)
from pipeline.reports.tokens.view import ViewTokens
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location
from sta.text import displayed
from workers.decoding import DecodedUnit


@dataclass(frozen=True)
class ShowOptions:
    """What to show.

    Attributes:
        output: directory or s3://bucket/prefix of a finished run.
        video_id: the video.
        clip: number of the clip, None for the first.
        crop: number of the crop, None for the middle one.
        unpruned_run: a run of the same model without pruning to compare labels with.
        use_model: whether the model without pruning may be run on the video where no label of it
            was written down.
        folder: where the files go.
    """

    output: str
    video_id: str
    clip: int | None = None
    crop: int | None = None
    unpruned_run: str | None = None
    use_model: bool = True
    folder: Path = Path("tokens")


@dataclass(frozen=True)
class Shown:
    """A view and its files.

    Attributes:
        view: the view.
        prediction: the run's.
        unpruned: the unpruned model's prediction; None where the run itself is unpruned.
        sheet: PNG, stages by temporal positions.
        animation: WebP, the frames with each stage beside them.
        page: HTML.
    """

    view: ViewTokens
    prediction: ViewPrediction
    unpruned: UnprunedPrediction | None
    sheet: Path
    animation: Path
    page: Path


def show(options: ShowOptions) -> Shown:
    """Finds the view in the tables, decodes its frames again and writes the three files.

    Raises:
        UsageError: there is no such run or view, the video cannot be read or changed since it was
            labeled, or the files cannot be written.
    """
    facts = RunFacts.of(RunDirectory(Location.of(options.output)))
    found = find(facts, options.video_id, clip=options.clip, crop=options.crop)
    other = None if options.unpruned_run is None else unpruned_run(facts, options.unpruned_run)
    with closing(ViewDecoder(facts)) as decoder:
        decoded = decoder.decode(found)
    shown = view_tokens(found, decoded)
    prediction = pruned_prediction(found)
    unpruned = _unpruned(found, decoded, other, options) if facts.pruning.r else None
    stem = f"{file_stem(options.video_id)}-clip-{shown.clip}-crop-{shown.crop}"
    made = Shown(
        view=shown,
        prediction=prediction,
        unpruned=unpruned,
        sheet=options.folder / f"{stem}.png",
        animation=options.folder / f"{stem}.webp",
        page=options.folder / f"{stem}.html",
    )
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        write_sheet(shown, made.sheet)
        write_animation(shown, made.animation)
        made.page.write_text(token_page(found, shown, prediction, unpruned), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to {options.folder}: {error}") from error
    return made


def summary(shown: Shown) -> str:
    """The view, its kept tokens, labels and files, as text."""
    view = shown.view
    lines = [f"{displayed(view.video_id)}, clip {view.clip}, crop {view.crop}"]
    for number, stage in enumerate(view.stages, start=1):
        lines.append(
            f"stage {number}:   {stage.kept.sum():,} of {stage.kept.size:,} tokens kept "
            f"({stage.kept.mean():.1%}), {stage.name}"
        )
    if not view.stages:
        lines.append("This run was not pruned: no token was dropped.")
    lines.append(f"label:     {displayed(str(shown.prediction.label))}")
    if shown.unpruned is not None:
        prediction = shown.unpruned.prediction
        label = prediction.label if prediction else "not known"
        lines.append(f"unpruned:  {displayed(str(label))}")
        lines.append(f"           {shown.unpruned.source}")
    lines += [str(file) for file in (shown.page, shown.sheet, shown.animation)]
    return "\n".join(lines)


def _unpruned(
    found: ViewRows, decoded: DecodedUnit, other: RunFacts | None, options: ShowOptions
) -> UnprunedPrediction:
    """The unpruned prediction from the cheapest source that has it."""
    shadow = from_shadow(found)
    if shadow is not None:
        return shadow
    if other is not None:
        return from_run(found, other)
    if options.use_model:
        return from_model(found, decoded)
    return UnprunedPrediction(
        None, "The video is not in the run's shadow sample, and --no-model was given."
    )
