"""A question and its settings to an answer, its page and its JSON."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable
from typing import Any

from pipeline.errors import UsageError
from pipeline.formatting import json_text
from pipeline.labeling.options import LabelOptions
from pipeline.labeling.pruning_flags import PruningFlags
from pipeline.messages import best_effort
from pipeline.questions.answer import Answer
from pipeline.questions.flags import AskFlags
from pipeline.questions.inquiry import Asked, answer_question
from pipeline.questions.question import Question
from pipeline.questions.select import SelectionAnswer, select
from pipeline.run.run_directory import RunDirectory
from pipeline.storage.location import Location

ANSWER, PAGE = "answer.json", "answer.html"

# --within of a share or a count is in percentage points.
_POINT = 0.01

_WITHOUT_PROXY = ("rate", "mean")

# From an input and an output to the labeling whose labels count.
Labeling = Callable[[str, str], LabelOptions]


def ask(
    source: str, question: str, *, output: str, checkpoint: str, **settings: Any
) -> Answer | SelectionAnswer:
    """Answers a question about an archive from a sample of it, as jobs/ask.py does.

    Args:
        source: INPUT of the labeling jobs.
        question: such as "share of LABEL"; see `pipeline.questions.question`.
        output: directory or s3://bucket/prefix of the runs and the answer.
        checkpoint: of the model.
        settings: fields of `AskFlags` and of `LabelOptions`, such as within=0.5, views=(5, 3).

    Returns:
        The answer, also if --max-reference ended the question before the interval was narrow
        enough; see `Answer.is_met`.

    Raises:
        UsageError, ValueError, TypeError: the question or a setting is wrong.
        RunError: labeling could not finish; ask again to go on.
    """
    names = {field.name for field in dataclasses.fields(AskFlags)}
    flags = AskFlags(**{name: value for name, value in settings.items() if name in names})
    rest = {name: value for name, value in settings.items() if name not in names}

    def labeling(source: str, output: str) -> LabelOptions:
        more = {"pruning": PruningFlags(r=0)} | rest
        return LabelOptions(flags.task, source, output, checkpoint, **more)

    return answer_to(question, source, output, flags, labeling)


def answer_to(
    text: str, source: str, output: str, flags: AskFlags, labeling: Labeling
) -> Answer | SelectionAnswer:
    """The answer, which is also written to OUTPUT.

    Args:
        text: the question.
        source: the input.
        output: where runs and answer go.
        flags: how precisely it is asked.
        labeling: from an input and an output to the options of the reference.

    Raises:
        UsageError: the question does not fit the flags, the model or the input.
        RunError: labeling could not finish.
    """
    question = Question.parse(text)
    if RunDirectory(Location.of(output)).exists():
        raise UsageError(
            f"{output} is the OUTPUT of a labeling job; name another folder for the answer"
        )
    if question.kind == "videos":
        return _selected(question, source, output, flags, labeling)
    if flags.recall is not None:
        raise UsageError("--recall belongs to 'videos with LABEL'; leave it out")
    if question.kind == "count" and (flags.against is not None or flags.between):
        raise UsageError(
            "counts of inputs or groups of different sizes have no difference; ask for the share"
        )
    if question.kind in _WITHOUT_PROXY and flags.proxy_run is not None:
        raise UsageError(f"a {question.kind} has no use for a proxy; leave --proxy-run out")
    # The run is one of the input; the other one has a proxy of its own.
    sides = [(source, output, flags.proxy_run)]
    if flags.against is not None:
        sides.append((flags.against, posixpath.join(output, "against"), None))
    asked, *against = [_asked(question, flags, labeling, *side) for side in sides]
    found = answer_question(
        asked, confidence=flags.confidence, against=against[0] if against else None
    )
    place = Location.of(output)
    place.child(ANSWER).write_bytes(json_text(found.to_json(), allow_nan=True).encode())

    def draw() -> None:
        from pipeline.questions.page import page  # loads what only the page needs

        place.child(PAGE).write_bytes(page(found).encode())

    best_effort("The page", draw, again="The answer is complete; ask again to draw it.")
    return found


def _selected(
    question: Question, source: str, output: str, flags: AskFlags, labeling: Labeling
) -> SelectionAnswer:
    refused = {
        "--within": flags.within is not None,
        "--by": flags.by is not None,
        "--between": flags.between is not None,
        "--against": flags.against is not None,
        "--truth": flags.truth is not None,
        "--no-proxy": not flags.proxy,
    }
    if named := [name for name, given in refused.items() if given]:
        raise UsageError(f"{named[0]} does not go with 'videos with LABEL'; leave it out")
    if flags.recall is None:
        raise UsageError("'videos with LABEL' needs --recall, such as 0.95")
    reference = dataclasses.replace(
        labeling(source, posixpath.join(output, "reference")), gallery=0
    )
    proxy = None if flags.proxy_run else _proxy(reference, flags, question, output)
    found = select(
        question,
        reference,
        proxy,
        recall=flags.recall,
        confidence=flags.confidence,
        most=flags.max_reference,
        output=output,
        proxy_run=flags.proxy_run,
    )
    # A set has no page: one that lies there is of another question.
    Location.of(output).child(PAGE).delete()
    content = json_text(found.to_json(), allow_nan=True)
    Location.of(output).child(ANSWER).write_bytes(content.encode())
    return found


def _asked(
    question: Question,
    flags: AskFlags,
    labeling: Labeling,
    source: str,
    output: str,
    proxy_run: str | None,
) -> Asked:
    reference = labeling(source, posixpath.join(output, "reference"))
    reference = dataclasses.replace(reference, gallery=0)
    return Asked(
        question=question,
        reference=reference,
        proxy=None if proxy_run else _proxy(reference, flags, question, output),
        within=_within(flags, question),
        alpha=1 - flags.confidence,
        output=output,
        by=flags.by,
        between=flags.between,
        most=flags.max_reference,
        truth=flags.truth,
        proxy_run=proxy_run,
    )


def _proxy(
    reference: LabelOptions, flags: AskFlags, question: Question, output: str
) -> LabelOptions | None:
    """The proxy's options; None where a question has no use for one."""
    if not flags.proxy or question.kind in _WITHOUT_PROXY:
        return None
    pruning = dataclasses.asdict(reference.pruning) | {"r": flags.proxy_r}
    return dataclasses.replace(
        reference,
        output=posixpath.join(output, "proxy"),
        pruning=PruningFlags(**pruning),
        views=reference.views if reference.every_s is not None else flags.proxy_views,
    )


def _within(flags: AskFlags, question: Question) -> float:
    """The half width that is asked for, on the scale of the estimates.

    Raises:
        UsageError: a rate or a mean has none.
    """
    if question.kind in ("share", "count"):
        return _POINT * (1.0 if flags.within is None else flags.within)
    if flags.within is None:
        raise UsageError(
            f"a {question.kind} needs --within: the largest half width of its interval, in its own "
            "unit"
        )
    return flags.within
