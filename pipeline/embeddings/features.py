"""What made a run's features, and heads that fit them."""

from __future__ import annotations

from pipeline.errors import UsageError
from pipeline.run.run_record import RunRecord
from pipeline.storage.location import Location
from sta.errors import CheckpointError
from sta.heads import FeatureSpec, LinearHead, parse_head


def feature_spec(record: RunRecord) -> FeatureSpec:
    """What made the features of a run that stores them, or that a head labeled."""
    model, identity = record.model, record.identity
    return FeatureSpec(
        backbone=model.backbone,
        architecture=model.architecture,
        channels=model.channels,
        shape=identity.shape,
        pruning=identity.pruning,
        precision=identity.precision,
    )


def read_head(place: Location) -> LinearHead:
    """The head in a file of jobs/train_head.py.

    Raises:
        UsageError: there is no such file, or it is no head.
    """
    try:
        return parse_head(place.read_bytes(), place.uri)
    except FileNotFoundError as error:
        raise UsageError(f"there is no head {place.uri}; jobs/train_head.py writes one") from error
    except CheckpointError as error:
        raise UsageError(str(error)) from error
