"""Flags of decoders, labelers and machines: what no run can have is refused when it is said."""

import pytest

from pipeline.errors import UsageError
from pipeline.labeling.flags import parser
from pipeline.labeling.machine_flags import MachineFlags


def test_both_limits_of_time_can_be_set_by_flags() -> None:
    read = parser("k400").parse_args(["--fetch-timeout", "10m", "--decode-timeout", "2h"])
    assert (read.fetch_s, read.decode_s) == (600, 7200)


@pytest.mark.parametrize("name", ["labelers", "drivers", "max_cpus", "max_gpus", "batch_size"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be 1 or more; got 0"):
        MachineFlags(**{name: 0})


def test_a_decoder_that_goes_without_the_sandbox_is_refused_where_the_sandbox_is_required() -> None:
    with pytest.raises(UsageError, match="--require-sandbox refuses --decoder nvdec"):
        MachineFlags(decoder="nvdec", require_sandbox=True)


def test_auto_chooses_no_precision_yet() -> None:
    assert MachineFlags().chosen_precision is None
    assert MachineFlags(precision="bfloat16").chosen_precision == "bfloat16"
