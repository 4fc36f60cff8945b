"""From measured figures to a sentence: which stage limits a run, and what to change."""

import dataclasses
import re

import pytest

from pipeline.execution.bottleneck import bottleneck, fit_decoders
from pipeline.execution.stage_stats import Stage, Stages
from tests.rooms import GPU

CPU = dataclasses.replace(GPU, labeler_threads=1, batch_size=8, full_batch=8, views_per_call=120)


def stages(*, decoders, decode_s, labelers, label_s, units=1000, wall_s=100.0, cpu=1.0, **label):
    """Stages that did `units` within `wall_s`, at so many busy seconds of one actor for each."""
    window = {"units": units, "began": 0.0, "ended": wall_s}
    decode = Stage(actors=decoders, busy_s=units * decode_s, cpu_s=units * decode_s * cpu, **window)
    slots = {"views": 15 * units, "slots": 15 * units} | label
    return Stages(
        decode,
        Stage(actors=labelers, busy_s=units * label_s, cpu_s=units * label_s, **window | slots),
    )


def test_decoding_that_lags_behind_names_the_decoders_that_would_do():
    said = bottleneck(stages(decoders=4, decode_s=0.39, labelers=1, label_s=0.07), GPU)
    assert said == (
        "decoding (decoders 98 % busy, labelers 70 %); 1.4 times as many decoders "
        "would keep the labelers busy: --decoders 7."
    )


def test_more_decoders_than_there_are_cores_say_what_is_missing():
    said = bottleneck(stages(decoders=6, decode_s=0.58, labelers=1, label_s=0.041), GPU)
    assert (
        "2.4 times as many decoders would keep the labelers busy: 17, which need 17 cores" in said
    )
    assert said.endswith("has 8. Add machines without GPUs; until then use --decoders 8.")


def test_a_pool_that_already_has_all_cores_is_not_told_to_take_as_many():
    said = bottleneck(stages(decoders=8, decode_s=0.78, labelers=1, label_s=0.041), GPU)
    assert said.endswith("the cluster has 8. Add machines without GPUs.")


def test_decoders_that_wait_for_storage_need_fewer_cores():
    waiting = stages(decoders=8, decode_s=0.78, labelers=1, label_s=0.065, cpu=0.3)
    assert bottleneck(waiting, GPU).endswith("--decoders 14.")


def test_memory_that_is_short_of_decoders_is_named():
    little = dataclasses.replace(GPU, most_decoders=4)
    said = bottleneck(stages(decoders=4, decode_s=0.39, labelers=1, label_s=0.07), little)
    assert "busy: 7, but the memory is enough for 4 only" in said


def test_labeling_that_lags_behind_frees_decoders():
    said = bottleneck(stages(decoders=8, decode_s=0.2, labelers=1, label_s=0.098), GPU)
    assert said == (
        "labeling (decoders 25 % busy, labelers 98 %); more GPUs or a larger --r make it "
        "faster, and 3 decoders instead of 8 would do: --decoders 3 frees 5 cores."
    )


def test_a_pool_that_cannot_shrink_is_left_alone():
    said = bottleneck(stages(decoders=1, decode_s=0.05, labelers=1, label_s=0.098), GPU)
    assert said.endswith("make it faster.")


def test_stages_that_keep_up_with_each_other_are_in_balance():
    said = bottleneck(stages(decoders=4, decode_s=0.38, labelers=1, label_s=0.095), GPU)
    assert said.startswith("none: decoding and labeling are in balance")


def test_drivers_that_hold_both_stages_up_are_told_to_grow():
    waiting = stages(decoders=8, decode_s=0.004, labelers=1, label_s=0.0005, units=100_000)
    few = dataclasses.replace(GPU, drivers=2, driver_per_s=600.0)
    assert bottleneck(waiting, few) == (
        "the drivers (decoders 50 % busy, labelers 50 %): one passes at most about 600 a second "
        "through Ray, and the run did 1,000 with 2: --drivers 4."
    )
    assert bottleneck(waiting, GPU).startswith("neither stage")


def test_stages_that_both_wait_are_not_told_to_grow():
    said = bottleneck(stages(decoders=4, decode_s=0.1, labelers=1, label_s=0.03), GPU)
    assert said.startswith("neither stage")
    assert "--decoders" not in said


def test_on_cpus_that_are_full_the_cores_are_the_limit_and_their_shares_are_told():
    said = bottleneck(stages(decoders=2, decode_s=0.1, labelers=8, label_s=0.68), CPU)
    assert said.startswith("the cores: labeling uses 85 % of 8 cores, decoding 12 %. More actors")
    assert "other programs" not in said


def test_cores_that_other_programs_take_are_told():
    taken = stages(decoders=2, decode_s=0.1, labelers=8, label_s=0.78)
    taken = dataclasses.replace(taken, label=dataclasses.replace(taken.label, cpu_s=400.0))
    said = bottleneck(taken, CPU)
    assert said.startswith("the cores: labeling uses 50 % of 8 cores, decoding 12 %, other")


def test_idle_cores_beside_a_labeler_that_is_busy_ask_for_another():
    said = bottleneck(stages(decoders=1, decode_s=0.02, labelers=2, label_s=0.19), CPU)
    assert said.endswith("cores are idle: --labelers 3.")


def test_batches_that_are_padded_or_small_are_told():
    padded = stages(decoders=4, decode_s=0.38, labelers=1, label_s=0.095, views=15000, slots=32000)
    few = dataclasses.replace(GPU, views_per_call=15)
    said = bottleneck(padded, few)
    assert said.endswith("53 % of the labelers' batches of 32 views is padding: --batch-size 15.")
    small = dataclasses.replace(GPU, batch_size=4)
    balanced = stages(decoders=4, decode_s=0.38, labelers=1, label_s=0.095)
    assert bottleneck(balanced, small).endswith("Batches of 4 views are small: --batch-size 32.")


@pytest.mark.parametrize("full", [1, 2, 8, 32])
@pytest.mark.parametrize("views", [1, 2, 3, 9, 15, 33, 120])
def test_advice_on_the_batch_is_not_taken_back_once_it_is_followed(views, full):
    def said_of(size):
        slots = -(-views // size) * size
        measured = stages(
            **{"decoders": 4, "decode_s": 0.38, "labelers": 1, "label_s": 0.095},
            **{"views": 1000 * views, "slots": 1000 * slots},
        )
        asked = dataclasses.replace(GPU, batch_size=size, full_batch=full, views_per_call=views)
        return bottleneck(measured, asked)

    for size in range(1, 65):
        said = said_of(size)
        assert "of 1 views" not in said
        if advice := re.search(r"--batch-size (\d+)", said):
            assert "--batch-size" not in said_of(int(advice[1]))


def test_what_early_exit_wasted_is_told_without_a_number_that_nobody_knows():
    wasted = stages(decoders=4, decode_s=0.38, labelers=1, label_s=0.095, views=15000, slots=20000)
    said = bottleneck(wasted, dataclasses.replace(GPU, views_per_call=None))
    assert "25 % of the labelers' batches of 32 views is padding, or views that early exit" in said


def test_padding_that_failed_units_left_asks_for_no_other_batch():
    gaps = stages(decoders=4, decode_s=0.38, labelers=1, label_s=0.095, views=1500, slots=3200)
    assert "batch" not in bottleneck(gaps, GPU)


@pytest.mark.parametrize(
    "unmeasured",
    [
        Stages(),
        Stages(decode=Stage(actors=1, units=3, busy_s=1.0, began=0.0, ended=1.0)),
        Stages(label=Stage(actors=1, units=3, busy_s=1.0, began=0.0, ended=1.0)),
    ],
)
def test_where_a_stage_did_nothing_nothing_is_said_and_nothing_fitted(unmeasured):
    assert bottleneck(unmeasured, GPU) is None
    assert fit_decoders(unmeasured, GPU) is None


def test_a_short_run_is_not_judged():
    short = stages(decoders=4, decode_s=0.1, labelers=1, label_s=0.1, units=20, wall_s=3.0)
    assert bottleneck(short, GPU).startswith("too short to tell: the workers ran for 3 s")


def test_failures_alone_are_no_measure():
    failed = stages(decoders=4, decode_s=0.39, labelers=1, label_s=0.001, views=0, slots=0)
    assert bottleneck(failed, GPU) is None
    assert fit_decoders(failed, GPU) is None


def test_the_fit_says_its_arithmetic():
    fit = fit_decoders(stages(decoders=4, decode_s=0.5, labelers=2, label_s=0.4), GPU)
    assert fit.decoders == 3
    assert fit.why == "2 labelers x 2.5 videos/s / 2 of a decoder x 1.15 = 3 decoders"


def test_the_fit_stays_within_the_cores():
    fit = fit_decoders(stages(decoders=4, decode_s=0.5, labelers=2, label_s=0.05), GPU)
    assert fit.decoders == 8
    assert fit.why.endswith("= 23 decoders; the cluster can hold 8")


def test_a_fit_is_never_none_at_all():
    fit = fit_decoders(stages(decoders=4, decode_s=0.001, labelers=1, label_s=4.0), GPU)
    assert fit.decoders == 1


def test_decoders_of_further_clips_are_not_counted_by_the_flag():
    both = dataclasses.replace(GPU, decoders_each=1.5)
    lagging = stages(decoders=6, decode_s=0.58, labelers=1, label_s=0.07)
    assert fit_decoders(lagging, dataclasses.replace(both, cores=32)).decoders == 7
    assert fit_decoders(lagging, dataclasses.replace(GPU, cores=32)).decoders == 10
    assert fit_decoders(lagging, both).decoders == 5, "8 cores hold 5 and their further decoders"
