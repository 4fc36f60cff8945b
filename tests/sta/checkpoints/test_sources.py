"""Checkpoints load from wherever they lie, and no message tells a secret."""

import hashlib
import json
import socket
import sys
import threading

import pytest
import torch

import sta
from sta.checkpoints import reach, sources
from sta.checkpoints.read import read_weights
from sta.checkpoints.remote import without_secrets
from sta.checkpoints.sources import locate
from tests.sta import formats

SECRET = "not-to-be-printed-anywhere"
LABELS = [f"class {index}" for index in range(20)]


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
    ("status", "said"), [(403, r"the server answered 403"), (404, r"no such object")]
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


def test_object_storage_without_credentials_is_one_line(s3, server, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "botocore.session", None)
        with pytest.raises(sta.CheckpointError, match="is not installed: pip install boto3"):
            read_weights("s3://models/a")
    with pytest.raises(sta.CheckpointError, match="no credentials found; set AWS_ACCESS_KEY_ID"):
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


@pytest.fixture
def no_hub(hub, monkeypatch):
    """The hub at an address where nothing listens."""
    from huggingface_hub import constants

    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(reach, "PAUSE", 0)
    return hub


def test_a_hub_that_cannot_be_reached_is_one_line_that_says_what_was_tried(
    no_hub, tmp_path, caplog, capfd
):
    with pytest.raises(sta.CheckpointError, match="cannot load owner/name") as caught:
        sta.load_model("owner/name")
    said = str(caught.value)
    assert "\n" not in said
    assert "http://127.0.0.1:9 cannot be reached (Connection refused)" in said
    assert f"not in the cache {tmp_path / 'hub'}" in said
    assert all(name in said for name in ("HF_HOME", "HF_ENDPOINT", "HTTPS_PROXY", "directory"))
    assert caplog.messages == []
    assert capfd.readouterr().err == ""


def test_a_job_that_has_begun_leaves_the_hub_to_its_clients_patience(no_hub, monkeypatch):
    paused = []
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", paused.append)
    with pytest.raises(sta.CheckpointError, match="127.0.0.1:9 cannot be reached"):
        sta.load_model("owner/name", patient=True)
    assert len(paused) > 1


@pytest.fixture
def hang(monkeypatch):
    """A network that drops packets: names are resolved when the test ends, and not before."""
    ended = threading.Event()

    def resolve(*_, **__):
        ended.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(reach, "SECONDS", 0.2)
    yield
    ended.set()


@pytest.mark.parametrize(
    "source", ["owner/name", "https://example.com/model.pth", "s3://bucket/model.pth"]
)
def test_a_network_that_drops_everything_is_said_as_soon_as_one_that_refuses(
    hang, tmp_path, monkeypatch, source
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("STA_CACHE", str(tmp_path))
    with pytest.raises(sta.CheckpointError, match="cannot be reached") as caught:
        sta.load_model(source)
    assert "\n" not in str(caught.value)


def test_without_the_hub_its_cache_is_used_and_that_is_said(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    model = sta.create_model("vit_demo", num_classes=20)
    folder = formats.save_hugging_face(tmp_path / "hf", model, LABELS)
    for path in folder.iterdir():
        hub.objects[f"/owner/name/resolve/main/{path.name}"] = path.read_bytes()
    sta.load_model("owner/name")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(reach, "PAUSE", 0)
    loaded = sta.load_model("owner/name")
    assert formats.same_weights(loaded, model)
    assert list(loaded.labels) == LABELS
    assert loaded.notes == (
        "owner/name: http://127.0.0.1:9 cannot be reached (Connection refused); loads the copy in "
        "the hub's cache",
    )
    assert formats.same_weights(sta.load_model("owner/name", patient=True), model)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in sta.load_model("owner/name").notes[0]
    # Without its configuration it would be another model.
    next((tmp_path / "hub").glob("**/snapshots/*/config.json")).unlink()
    with pytest.raises(sta.CheckpointError, match="it is not in the cache"):
        sta.load_model("owner/name")


def test_a_repository_of_the_hub_states_its_license(hub, tmp_path):
    model = sta.create_model("vit_demo", num_classes=20)
    folder = formats.save_hugging_face(tmp_path / "hf", model, LABELS)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    for name in ("owner/name", "MCG-NJU/videomae-tiny"):
        for path in folder.iterdir():
            hub.objects[f"/{name}/resolve/main/{path.name}"] = path.read_bytes()
    del hub.objects["/MCG-NJU/videomae-tiny/resolve/main/README.md"]
    assert read_weights("owner/name").license == "apache-2.0 (stated in README.md)"
    assert read_weights("MCG-NJU/videomae-tiny").license.startswith("CC-BY-NC-4.0 (stated by the")


@pytest.mark.slow
def test_a_small_model_of_the_hubs_mcg_nju_has_the_heads_that_it_was_trained_with(hub, tmp_path):
    model = sta.create_model("vit_small", num_classes=2, image_size=32, frames=4)
    folder = formats.save_hugging_face(tmp_path / "hf", model, ["a", "b"])
    config = json.loads((folder / "config.json").read_text())
    content = config | {"num_attention_heads": 16, "image_size": 32, "num_frames": 4}
    (folder / "config.json").write_text(json.dumps(content))
    for name in ("owner/small", "MCG-NJU/videomae-small-finetuned-kinetics"):
        for path in folder.iterdir():
            hub.objects[f"/{name}/resolve/main/{path.name}"] = path.read_bytes()
    published = sta.load_model("MCG-NJU/videomae-small-finetuned-kinetics")
    assert published.config.num_heads == 6
    assert "was trained with 6" in published.notes[0]
    assert sta.load_model("owner/small").config.num_heads == 16


def test_an_address_that_cannot_be_reached_is_said_at_once_unless_the_job_has_begun(
    server, monkeypatch
):
    address = "http://127.0.0.1:9/a?sig=" + SECRET
    monkeypatch.setattr(reach, "PAUSE", 0)
    asked = []
    monkeypatch.setattr(sources, "fetch", lambda found: asked.append(found.shown))
    with pytest.raises(sta.CheckpointError, match="127.0.0.1:9 cannot be reached") as caught:
        locate(address)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert asked == []
    locate(address, patient=True)
    assert asked == ["http://127.0.0.1:9/a"]


def test_a_proxy_is_what_must_be_reached_where_one_is_set(server, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", server.address)
    assert reach.unreachable("http://example.invalid/a") == ""
    monkeypatch.setenv("http_proxy", "127.0.0.1:9")
    monkeypatch.setattr(reach, "PAUSE", 0)
    assert reach.unreachable("http://example.invalid/a") == "Connection refused"


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
