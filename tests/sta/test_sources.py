"""Checkpoints load from wherever they lie, and no message tells a secret."""

import hashlib
import json
import sys

import pytest
import torch

import sta
from sta.checkpoints import read_weights
from sta.remote import without_secrets
from sta.sources import locate
from tests.sta import formats
from tests.sta.loopback import serving

SECRET = "not-to-be-printed-anywhere"
LABELS = [f"class {index}" for index in range(20)]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server, and a cache of its own."""
    monkeypatch.setenv("STA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "ours.safetensors"
    torch.manual_seed(0)
    model = sta.create_model("vit_demo", num_classes=20)
    sta.save_checkpoint(model, path, labels=LABELS, origin="a test")
    return path


def test_a_model_loads_from_a_presigned_address_whose_secrets_are_told_nowhere(server, checkpoint):
    server.objects["/w/model.pth"] = checkpoint.read_bytes()
    address = f"{server.address}/w/model.pth?X-Amz-Signature={SECRET}"
    model = sta.load_model(address)
    assert list(model.labels) == LABELS
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert model.fingerprint == f"sha256:{digest}"
    located = locate(address)
    assert located.origin == f"{server.address}/w/model.pth"
    assert SECRET not in repr(located)


@pytest.mark.parametrize(
    ("status", "said"), [(403, r"access refused \(403\)"), (404, r"no such object \(404\)")]
)
def test_what_cannot_be_had_is_said_at_once_and_without_secrets(server, status, said):
    server.statuses = [status] * 3
    with pytest.raises(sta.CheckpointError, match=said) as caught:
        sta.load_model(f"{server.address}/a?sig={SECRET}#{SECRET}")
    assert len(server.statuses) == 2
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://example.com/a?sig=" + SECRET, "not encrypted; use https://"),
        (f"https://user:{SECRET}@example.com/a", "given with a user or password"),
        (f"https://[bad/a?{SECRET}", "no valid address"),
        (f"ftp://example.com/a?{SECRET}", "use https:// or s3://bucket/key"),
        ("s3://bucket", "names no object: write s3://bucket/key"),
        ("s3://bucket/folder/", "names no object: write s3://bucket/key"),
    ],
)
def test_addresses_that_cannot_be_used_are_refused_without_secrets(address, said):
    with pytest.raises(sta.CheckpointError, match=said) as caught:
        sta.load_model(address)
    assert SECRET not in str(caught.value)


def test_redirects_are_followed_but_not_out_of_encryption(server):
    server.objects["/b"] = b"x"
    server.redirects = {"/a": "/b", "/out": f"http://example.com/?{SECRET}"}
    assert locate(f"{server.address}/a").files[0].path.read_bytes() == b"x"
    with pytest.raises(sta.CheckpointError, match="redirects to an address that is not enc") as e:
        locate(f"{server.address}/out")
    assert SECRET not in str(e.value)


def test_a_web_address_is_shown_without_user_query_and_fragment():
    assert without_secrets("HTTPS://u:p@h.org:1/a/b?q=1#f") == "https://h.org:1/a/b"
    assert without_secrets("plain/path?x") == "plain/path?x"


def test_a_model_loads_from_object_storage(s3, server, checkpoint):
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="a/m.safetensors", Body=checkpoint.read_bytes())
    weights = read_weights("s3://models/a/m.safetensors")
    assert list(weights.labels) == LABELS
    assert weights.shown == "s3://models/a/m.safetensors"
    for absent in ("s3://models/b", "s3://no-such-bucket/b"):
        with pytest.raises(sta.CheckpointError, match=rf"cannot download {absent}: no such object"):
            read_weights(absent)


def test_object_storage_without_boto3_or_credentials_is_one_line(s3, server, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "boto3", None)
        with pytest.raises(sta.CheckpointError, match="needs boto3, which is not installed"):
            read_weights("s3://models/a")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(sta.CheckpointError, match="no usable credentials"):
        read_weights("s3://models/a")


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """The server in the hub's place."""
    from huggingface_hub import constants

    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return server


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin.index.json"])
def test_a_hub_id_loads_at_its_revision_with_its_labels(hub, tmp_path, file):
    model = sta.create_model("vit_demo", num_classes=20)
    folder = formats.save_hugging_face(tmp_path / "hf", model, LABELS, file=file)
    for path in folder.iterdir():
        hub.objects[f"/owner/name/resolve/v1/{path.name}"] = path.read_bytes()
    loaded = sta.load_model("owner/name@v1")
    assert formats.same_weights(loaded, model)
    assert list(loaded.labels) == LABELS
    assert locate("owner/name@v1").origin == "owner/name@v1"


def test_a_hub_repository_without_weights_is_refused(hub):
    hub.objects["/owner/name/resolve/main/config.json"] = b"{}"
    with pytest.raises(sta.CheckpointError, match="owner/name is a hub repository without model"):
        sta.load_model("owner/name")


def test_a_hub_that_cannot_be_reached_is_one_line(hub, monkeypatch):
    from huggingface_hub import constants

    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    with pytest.raises(sta.CheckpointError, match="the hub cannot be reached") as caught:
        sta.load_model("owner/name")
    assert "\n" not in str(caught.value)


def test_an_index_that_names_files_elsewhere_or_absent_ones_is_refused(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    for content, said in {
        json.dumps({"weight_map": {"a": "../other.safetensors"}}): "no file beside it",
        json.dumps({"weight_map": {"a": "absent.safetensors"}}): "lacks absent.safetensors",
        json.dumps({"weight_map": {}}): "names no files",
        json.dumps([]): "is no index of shards",
        "{": "is no index of shards",
    }.items():
        index.write_text(content)
        with pytest.raises(sta.CheckpointError, match=said):
            sta.load_model(tmp_path)
