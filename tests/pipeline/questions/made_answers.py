"""Answers that are made, for what the screen and the page say of them."""

from pipeline.questions.answer import Answer, Compared, Estimated, Look, Source
from pipeline.questions.question import Question


def number(label="a", value=0.25, *, group="", seen=40, units=50, half=0.1):
    """A number; exact where all its units were labeled."""
    half = 0 if seen == units else half
    return Estimated(label, group, value, value - half, value + half, units, seen)


def source(*estimates, name="in", units=50, seen=40, flops=400, flops_of_all=5000, proxy=""):
    """An input with one round."""
    look = Look(seen, 0, flops, estimates)
    reference = "vit_b, unpruned, 5x3 views"
    return Source(name, units, "videos", (look,), 0, flops_of_all, reference, proxy, "out")


def answer(question, *sources, differences=(), **more):
    """An answer, aimed at 0.2 on the scale of its numbers."""
    compared = (Compared(80, 800, tuple(differences)),) if differences else ()
    return Answer(Question.parse(question), 0.95, 0.2, sources, compared, **more)
