"""The model that comes with the repository is the demo archive's."""

import sta
from pipeline.inputs.demo.scenes import LABELS


def test_the_shipped_model_names_the_classes_of_the_archive_in_their_order():
    model = sta.load_model("demo", pruning=sta.default_pruning("vit_demo"))
    assert model.architecture == "vit_demo"
    assert model.labels == LABELS
    assert len(model.stages) == 3


def test_the_shipped_file_is_a_few_megabytes():
    assert sta.DEMO_CHECKPOINT.stat().st_size < 6_500_000
