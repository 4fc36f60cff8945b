"""What grows is decided by pairs of reference and proxy, never by scores of further units."""

import numpy as np

from pipeline.questions.answer import Look
from pipeline.questions.comparisons import Comparisons
from pipeline.questions.estimates import Estimates, Population, Sampled
from pipeline.questions.outcomes import Outcomes
from pipeline.questions.question import Question
from pipeline.questions.sample import Limits

UNITS = 50_000
ROUNDS = ((300, 300), (1_500, 6_000))


def sampled(found, scores):
    count = len(found)
    ids = np.array([f"{number:024x}" for number in range(count)], np.bytes_)
    names = np.array(["v"] * count, object)
    outcomes = Outcomes(ids, names, np.ones(count, bool), found, found, scores, np.full(count, 0.1))
    return Sampled(outcomes, np.zeros(count, np.int64), Limits("g", ("g",)))


def estimates():
    made = [Population(label, place, "", None, UNITS, 0.02) for place, label in enumerate("ab")]
    return Estimates(Question("share", ("a", "b")), 0.05, made, use_proxy=True)


def sides(within, *, spread):
    """The numbers of two inputs, and their differences, after two rounds. Scores of "a" without a
    reference are all the same, or spread with the same mean.
    """
    made = [estimates(), estimates()]
    compared = Comparisons("share", made, within=within, alpha=0.02)
    draws = [np.random.default_rng(number) for number in range(2)]
    labels = [(draw.random((6_000, 2)) < 0.3).astype(float) for draw in draws]
    for references, proxies in ROUNDS:
        for each, found in zip(made, labels, strict=True):
            scores = np.stack([found[:, 0], np.full(6_000, 0.5)], axis=1)
            scores[1_500:, 0] = found[1_500:, 1] if spread else 0.3
            each.add(
                sampled(found[:references], scores[:references]),
                sampled(found[:proxies], scores[:proxies]),
                None,
            )
        compared.look([Look(references, proxies, 0, each.now()) for each in made])
    return made[0], compared


def wanted_labels(wanted):
    return [each.reference.tolist() for each in wanted]


def test_scores_of_units_without_a_reference_do_not_decide_which_label_grows():
    same, spread = (sides(0.05, spread=each)[0] for each in (False, True))
    widths = [each.now()[0].half_width for each in (same, spread)]
    within = sum(widths) / 2
    assert widths[0] < within < widths[1]
    grown = wanted_labels(same.wanted(within))
    assert len(grown) > 0
    assert grown == wanted_labels(spread.wanted(within))


def test_nor_do_they_decide_which_difference_grows():
    def width(within, *, spread):
        return sides(within, spread=spread)[1].rounds[-1].differences[0].half_width

    within = (width(0.05, spread=False) + width(0.05, spread=True)) / 2
    assert width(within, spread=False) < within < width(within, spread=True)
    same, spread = (sides(within, spread=each)[1].wanted() for each in (False, True))
    assert all(len(each) > 0 for each in same)
    assert [wanted_labels(each) for each in same] == [wanted_labels(each) for each in spread]
