"""Settings of a labeler: what no labeler can run with is refused when it is said."""

import pytest

from workers.inference.labeler_config import LabelerConfig


def test_a_precision_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="must be float32 or bfloat16; got 'float16'"):
        LabelerConfig("demo", precision="float16")


def test_whether_to_compile_is_yes_no_or_none():
    with pytest.raises(ValueError, match="compile must be True, False or None; got 'max'"):
        LabelerConfig("demo", compile="max")


@pytest.mark.parametrize("field", ["batch_size", "threads"])
def test_counts_below_one_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} must be 1 or more; got 0"):
        LabelerConfig("demo", **{field: 0})
