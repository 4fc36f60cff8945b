"""Tells where labeling everything takes hardly more than the question did."""

from __future__ import annotations

import posixpath

from pipeline.formatting import digits
from pipeline.job_commands import arguments, job_command, short_path
from pipeline.storage.location import Location

# Part of the FLOPs of labeling everything from which a sample saves too little to be worth it.
_NEAR = 0.8


def everything_note(flops: int, flops_of_all: int, *, is_complete: bool) -> str | None:
    """Says that labeling everything takes hardly more, or less; None where that is not so.

    Args:
        flops: multiply-accumulates of the question.
        flops_of_all: those of labeling everything by the reference; 0 where people label.
        is_complete: whether the reference has labeled everything, so that nothing is left to do.
    """
    if is_complete or not flops or not flops_of_all or flops < _NEAR * flops_of_all:
        return None
    more = "hardly more" if flops_of_all > flops else "no more"
    return (
        f"labeling everything takes {more} ({digits(flops_of_all / flops)} times as many FLOPs) "
        "and is exact; with the labeling flags of the question:"
    )


def everything_command(source: str, output: str, *, task: str, r: int | None) -> str:
    """The command that labels everything and goes on from the question's reference.

    Args:
        source: the input.
        output: of the question.
        task: labeling job whose protocol is taken.
        r: of the reference; None for the default of the model.
    """
    place = short_path(Location.of(posixpath.join(output, "reference")).uri)
    flags = [] if r is None else ["--r", str(r)]
    return job_command(f"label_{task}", *arguments(source, place, flags=flags))
