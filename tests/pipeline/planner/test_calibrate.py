"""Views that early exit takes: those of its file and those of the sample."""

import numpy as np
import pytest

from pipeline.early_exit import EarlyExitFile, OperatingPoint
from pipeline.planner.calibrate import expected_views, views_are_alike


def fitted(**changes):
    """An early-exit file of 1,500 videos with 3 of 15 views, 2 of them one way or the other."""
    return EarlyExitFile(
        **(
            {"model": "m", "labels": "l", "pruning": {}, "protocol": {"clips": 5, "crops": 3}}
            | {"precision": "float32", "decoder": "pyav", "decode": "fast"}
            | {"agreement": 0.99, "confidence": 0.95}
            | {"threshold": 0.5, "videos": 1500, "source": "s"}
            | {"curve": (OperatingPoint(0.5, 1.0, 0.99, 3.0, 2.0),)}
            | changes
        )
    )


def test_views_are_those_of_the_files_many_videos_unless_the_sample_is_of_another_kind():
    alike = np.full(100, 3.4)
    assert expected_views(fitted(), alike) == pytest.approx((100 * 3.4 + 1500 * 3.0) / 1600)
    assert views_are_alike(fitted(), alike)
    other = np.full(100, 6.0)
    assert expected_views(fitted(), other) == 6.0
    assert not views_are_alike(fitted(), other)
