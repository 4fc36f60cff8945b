"""Checkpoints of strangers: each is refused by name and reason, for little memory."""

import re

import pytest

import sta
from sta.checkpoints import downloads
from sta.checkpoints.digests import fingerprint
from sta.checkpoints.downloads import cache_folder, fetch
from sta.checkpoints.remote import remote
from tests.attacks.malicious_checkpoints import (
    LABELS,
    MIB,
    SLACK,
    attacks,
    loaded,
    whole_files,
)
from tests.sta import formats


@pytest.mark.slow
def test_every_attack_is_refused_by_name_and_reason_for_little_memory(tmp_path):
    made = attacks(tmp_path)
    wrong = []
    results = loaded(source for source, _, _ in made.values())
    for (name, (source, said, size)), found in zip(made.items(), results, strict=True):
        message = found.get("message", "")
        refused = (
            found.get("error") == "CheckpointError"
            and source.name in message
            and re.search(said, message)
            and message.isprintable()
        )
        if not refused or found["grown"] > 3 * size + SLACK:
            wrong.append((name, size, found))
    assert wrong == []


def test_what_loads_takes_no_more_than_the_file_and_the_model(tmp_path):
    sizes = whole_files(tmp_path)
    for found, size in zip(loaded(sizes), sizes.values(), strict=True):
        assert "error" not in found, found
        assert found["grown"] <= 2 * size + 2 * found["bytes"] + SLACK, found


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(downloads, "MAX_DOWNLOAD_BYTES", MIB)


def test_a_download_that_says_to_be_too_large_is_refused_before_its_first_byte(server, small_limit):
    server.objects["/a"] = bytes(MIB)
    assert fetch(remote(f"{server.address}/a")).stat().st_size == MIB
    server.objects["/b"] = bytes(MIB + 1)
    with pytest.raises(sta.CheckpointError, match=r"/b has 1,048,577 bytes.* name a local copy"):
        fetch(remote(f"{server.address}/b"))
    assert len([path for path in cache_folder().iterdir() if path.suffix != ".lock"]) == 1


def test_an_object_of_object_storage_that_is_too_large_is_refused(server, s3, small_limit):
    s3.create_bucket(Bucket="too-large")
    s3.put_object(Bucket="too-large", Key="a", Body=bytes(MIB + 1))
    with pytest.raises(sta.CheckpointError, match=r"s3://too-large/a has 1,048,577 bytes"):
        fetch(remote("s3://too-large/a"))


def test_a_file_of_the_hub_that_is_too_large_is_refused(server, small_limit, tmp_path, monkeypatch):
    from huggingface_hub import constants

    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    server.objects["/owner/name/resolve/main/model.safetensors"] = bytes(MIB + 1)
    with pytest.raises(
        sta.CheckpointError, match=r"owner/name/model.safetensors has 1,048,577 bytes"
    ):
        sta.load_model("owner/name")


@pytest.mark.parametrize("kind", ["file", "directory", "address"])
def test_weights_of_another_digest_are_refused_before_they_are_parsed(
    kind, server, tmp_path, monkeypatch
):
    demo = sta.load_model("demo")
    folder = formats.save_hugging_face(tmp_path / "hf", demo, LABELS)
    weights = folder / "model.safetensors"
    digest = fingerprint([weights]).removeprefix("sha256:")
    server.objects["/w"] = weights.read_bytes()
    source = {"file": weights, "directory": folder, "address": f"{server.address}/w"}[kind]
    assert sta.load_model(source, sha256=digest).fingerprint == f"sha256:{digest}"
    assert sta.load_model(source, sha256=f"sha256:{digest.upper()}").labels

    weights.write_bytes(b"PK\x03\x04 anything")
    server.objects["/w"] = weights.read_bytes()
    monkeypatch.setattr("sta.checkpoints.read.load_pickle", None)  # is not called
    with pytest.raises(sta.CheckpointError, match=f"has the SHA-256 .* not {digest}: the weights"):
        sta.load_model(source, sha256=digest)


def test_a_redirect_to_the_machines_own_network_is_not_followed(server):
    for path, target in {
        "/m": "https://169.254.169.254/latest",
        "/n": "https://10.0.0.1/x",
    }.items():
        server.redirects[path] = target
        with pytest.raises(sta.CheckpointError, match="redirects to a private, loopback or link"):
            fetch(remote(f"{server.address}{path}"))
