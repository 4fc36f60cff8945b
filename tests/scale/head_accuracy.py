"""What heads on stored embeddings are worth, pruned and unpruned, on the demo archive.

    python jobs/make_demo_archive.py ARCHIVE --videos 2400
    python jobs/label_k400.py ARCHIVE PRUNED --checkpoint demo --views 2x1 --embeddings
    python jobs/label_k400.py ARCHIVE UNPRUNED --checkpoint demo --views 2x1 --embeddings --r 0
    python -m tests.scale.head_accuracy PRUNED UNPRUNED --train 100 300 --test 1000

Heads are trained for attributes of the scenes: the kind of the moving object, its motion, both (the
classes that the demo model was trained on), and one that no label of its training tells: whether
a circling object runs clockwise. Labeled videos are those with the smallest digests of their ids;
the unseen ones follow. The fully trained model's accuracy is that of its own labels, for the
attributes that they tell.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

import numpy as np

from pipeline.embeddings.features import feature_spec
from pipeline.embeddings.read import embedding_record, read_embeddings
from pipeline.heads.labeled_features import features_of
from pipeline.heads.left_out import LeftOut
from pipeline.heads.samples import LabeledFeatures, Targets
from pipeline.heads.train import train_head
from pipeline.inputs.demo.scenes import KINDS, LABELS, Scene, draw_scene
from pipeline.inputs.manifest import unit_id
from pipeline.run.run_directory import RunDirectory
from pipeline.statistics import mean_difference, share
from pipeline.storage.location import Location
from pipeline.storage.parquet_files import read_parquet

_NAME = re.compile(r"(?P<split>[a-z]+)-(?P<seed>\d+)-(?P<index>\d+)\.\w+$")


def _kind(scene: Scene) -> str:
    return next(kind for kind in KINDS if _label(scene).startswith(kind))


def _label(scene: Scene) -> str:
    return LABELS[scene.label_id]


def _motion(scene: Scene) -> str:
    return _label(scene).removeprefix(_kind(scene)).strip()


def _turn(scene: Scene) -> str | None:
    if not scene.path_radius:
        return None
    return "clockwise" if scene.speed > 0 else "counterclockwise"


ATTRIBUTES: dict[str, Callable[[Scene], str | None]] = {
    "kind": _kind,
    "motion": _motion,
    "kind and motion": _label,
    "turn of circles": _turn,
}
# What a label of the model tells of each attribute.
_OWN: dict[str, Callable[[str], str]] = {
    "kind": lambda label: label.partition(" ")[0],
    "motion": lambda label: label.partition(" ")[2],
    "kind and motion": lambda label: label,
}


def scene_of(video_id: str) -> Scene:
    """The scene of a video of the demo archive."""
    match = _NAME.search(video_id)
    if match is None:
        raise ValueError(f"{video_id} is no video of the demo archive")
    return draw_scene(seed=int(match["seed"]), split=match["split"], index=int(match["index"]))


def _rows(run: RunDirectory) -> dict[str, str]:
    """The model's own label of each labeled video."""
    rows = [
        row
        for file in run.videos.files(".parquet")
        for row in read_parquet(file, ["video_id", "status", "label"]).to_pylist()
    ]
    return {row["video_id"]: row["label"] for row in rows if row["status"] == "ok"}


def _targets(names: list[str]) -> Targets:
    classes = tuple(sorted(set(names)))
    return Targets(classes, np.array([[n == c for c in classes] for n in names]), "softmax")


def _correct(
    run: RunDirectory, train: list[str], test: list[str], truth: dict[str, str]
) -> np.ndarray:
    """(test,) whether a head that learned from `train` is right."""
    names = sorted({*train, *test})
    features = features_of(read_embeddings(run.root, videos=names), names, LeftOut())
    place = {name: number for number, name in enumerate(features.video_ids)}
    learned: LabeledFeatures = features.at(np.array([place[name] for name in train]))
    spec = feature_spec(embedding_record(run))
    made = train_head(learned, _targets([truth[name] for name in train]), spec)
    unseen = features.at(np.array([place[name] for name in test]))
    scores = unseen.averaged(made.head.probabilities(unseen.views))
    labels = np.array(made.head.labels)[scores.argmax(axis=1)]
    return np.array([label == truth[name] for label, name in zip(labels, test, strict=True)])


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pruned")
    parser.add_argument("unpruned")
    parser.add_argument("--train", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--test", type=int, default=1000)
    options = parser.parse_args()
    runs = [RunDirectory(Location.of(each)) for each in (options.pruned, options.unpruned)]
    own = [_rows(run) for run in runs]
    names = sorted(own[0].keys() & own[1].keys(), key=unit_id)
    columns = ["attribute", "labeled", "unseen", "the model itself", "head, pruned"]
    columns += ["head, unpruned", "pruned less unpruned"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for attribute, of in ATTRIBUTES.items():
        truth = {name: told for name in names if (told := of(scene_of(name))) is not None}
        known = [name for name in names if name in truth]
        for count in options.train:
            train, test = known[:count], known[max(options.train) :][: options.test]
            if len(test) < 50:
                continue
            right = [_correct(run, train, test, truth) for run in runs]
            itself = (
                ""
                if attribute not in _OWN
                else share(
                    sum(_OWN[attribute](own[0][name]) == truth[name] for name in test), len(test)
                ).percent()
            )
            numbers = [each.astype(np.float64) for each in right]
            difference = mean_difference(numbers[0] - numbers[1]).points()
            cells = [share(int(each.sum()), len(test)).percent() for each in right]
            print(
                f"| {attribute} | {count} | {len(test):,} | {itself} | {' | '.join(cells)} | "
                f"{difference} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
