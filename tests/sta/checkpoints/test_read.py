"""Files of weights: truncated ones are refused, and their fingerprint is that of sha256sum."""

import hashlib

import pytest
import torch

import sta
from tests.sta.formats import save_hugging_face

LABELS = [f"class {index}" for index in range(20)]


@pytest.mark.parametrize("kind", ["pickle", "safetensors"])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, model, kind):
    path = tmp_path / "cut"
    if kind == "pickle":
        torch.save(model.state_dict(), path)
    else:
        sta.save_checkpoint(model, path, labels=LABELS, origin="a test")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="whole") as caught:
        sta.load_model(path)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_that_of_sha256sum_over_one_file_or_the_digests_of_all(tmp_path, model):
    whole = save_hugging_face(tmp_path / "whole", model, LABELS)
    shards = save_hugging_face(
        tmp_path / "shards", model, LABELS, file="model.safetensors.index.json"
    )
    one = hashlib.sha256((whole / "model.safetensors").read_bytes()).hexdigest()
    assert sta.load_model(whole).fingerprint == f"sha256:{one}"
    each = [hashlib.sha256(p.read_bytes()).hexdigest() for p in shards.glob("*.safetensors")]
    joined = "".join(f"{digest}\n" for digest in sorted(each))
    all_of_them = hashlib.sha256(joined.encode()).hexdigest()
    assert sta.load_model(shards).fingerprint == f"sha256:{all_of_them}"
