"""Prices: read from a small file, refused with what is allowed."""

import pytest

from pipeline.errors import UsageError
from pipeline.prices import Prices


def test_a_file_of_two_lines_is_enough(tmp_path):
    (tmp_path / "prices.yaml").write_text("gpu_hour: 3.6\ncore_hour: 0.036\n")
    prices = Prices.read(tmp_path / "prices.yaml")
    assert (prices.gpu_hour, prices.core_hour) == (3.6, 0.036)
    assert (prices.read_gb, prices.get_1000, prices.currency) == (0.0, 0.0, "USD")
    assert Prices.from_json(prices.as_json()) == prices


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu_hour: 1\n", "gpu_hour and core_hour"),
        ("gpu_hour: 1\ncore_hour: 1\ngpu_minute: 1\n", "gpu_minute"),
        ("gpu_hour: -1\ncore_hour: 1\n", "0 or more"),
        ("gpu_hour: cheap\ncore_hour: 1\n", "must be a number"),
        ("gpu_hour: .nan\ncore_hour: 1\n", "0 or more"),
        ("gpu_hour: [\n", "prices.yaml"),
        ("3\n", "name: number"),
    ],
)
def test_what_is_no_price_list_is_refused_by_what_is_allowed(tmp_path, text, words):
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        Prices.read(tmp_path / "prices.yaml")
