"""Sizes that a graph chooses for a run."""

import math

import pytest

from pipeline.execution.block_size import padding
from pipeline.execution.graph import GraphConfig
from pipeline.execution.pools import plan_pools
from workers.decoding import DecodeLimits
from workers.inference.early_exit import EarlyExit
from workers.inference.labeler import LabelerConfig
from workers.sampling import protocol


def config(*, units, views=(1, 1), batch_size=None, **changed):
    return GraphConfig(
        protocol=protocol("videomae-k400", size=224, views=views),
        decoder="pyav",
        limits=DecodeLimits(),
        labeler=LabelerConfig(checkpoint="none", batch_size=batch_size),
        pools=plan_pools(cpus=4, gpus=0),
        units=units,
        **changed,
    )


@pytest.mark.parametrize("views", [(1, 1), (2, 1), (5, 3)])
@pytest.mark.parametrize("units", [1, 2, 10, 40, 1000])
def test_a_run_pays_for_little_padding_however_few_views_it_has(units, views):
    made = config(units=units, views=views)
    call = made.grain.label_rows * made.protocol.views
    assert made.batch_size <= min(8, call)
    assert padding(call, made.batch_size) <= 1 / 8


def test_two_views_are_labeled_without_padding():
    assert config(units=2).batch_size == 1


def test_with_early_exit_a_batch_is_no_larger_than_a_call():
    exits = EarlyExit(math.inf)
    assert config(units=2, early_exit=exits).batch_size <= 2
    assert config(units=10_000, views=(5, 3), early_exit=exits).batch_size == 8


def test_a_large_run_has_the_full_batch_and_one_that_was_asked_for_stays():
    assert config(units=10_000, views=(5, 3)).batch_size == 8
    assert config(units=2, batch_size=8).batch_size == 8
