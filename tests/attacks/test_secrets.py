"""Keys, signatures and passwords reach no table, page or message, whichever way they came."""

import dataclasses
import json
import time

import pytest

from pipeline.errors import UsageError
from pipeline.inputs.left_out import SECRET_NAMES
from pipeline.inputs.listing import Listing
from pipeline.messages import say
from pipeline.storage.location import Location
from sta.checkpoints.remote import without_secrets
from sta.text import displayed, holds_secret, redacted
from workers.failures import ErrorType, UnitFailure

SECRETS = [
    "https://b.s3.amazonaws.com/v.mp4?X-Amz-Algorithm=AWS4&X-Amz-Signature=hunter2",
    "https://b.s3.amazonaws.com/v.mp4?X-Amz-Credential=hunter2%2F2026&X-Amz-Security-Token=hunter2",
    "https://b.s3.amazonaws.com/v.mp4?AWSAccessKeyId=hunter2&Expires=1&Signature=hunter2%3D",
    "https://storage.googleapis.com/b/v.mp4?GoogleAccessId=hunter2&X-Goog-Signature=hunter2",
    "https://a.blob.core.windows.net/v.mp4?sv=2024&se=1&sig=hunter2%2B",
    "https://d1.cloudfront.net/v.mp4?Policy=hunter2&Signature=hunter2&Key-Pair-Id=hunter2",
    "https://cdn/v.mp4?sign=hunter2",
    "https://cdn/v.mp4?t=1&SIGN=hunter2",
    "https://cdn/v.mp4?hdnts=exp=1~acl=*~hmac=hunter2",
    "https://api/v.mp4?api_key=hunter2",
    "https://api/v.mp4?apikey=hunter2",
    "https://api/v.mp4?api-key=hunter2",
    "https://api/v.mp4?key=hunter2",
    "https://api/v.mp4?token=hunter2",
    "https://api/v.mp4?auth_token=hunter2",
    "https://api/v.mp4?password=hunter2",
    "https://api/v.mp4#access_token=hunter2",
    "https://api/v.mp4#t=1&id_token=hunter2",
    "https://api/v.mp4#sign=hunter2",
    "https://proxy/?url=https%3A%2F%2Fcdn%2Fv.mp4%3Fsign%3Dhunter2%26t%3D1",
    "https://cdn/v.mp4?a=1&amp;sign=hunter2",
    "https://user:hunter2@host/v.mp4",
    "https://hunter2@host/v.mp4",
    "rtsp://admin:hunter2@10.0.0.1:554/stream",
    "ftp://user:hun/ter2:hunter2@host/v.mp4",
    "s3://AKIA:hunter2@bucket/v.mp4",
    "s3://AKIA:hunter2/hunter2@bucket/v.mp4",
    "s3://AKIA:hunter2",
    "s3://bucket/v.mp4?X-Amz-Expires=60&X-Amz-Signature=hunter2",
    "clips/v.mp4?sign=hunter2",
    "label api_key=hunter2",
    "access_token=hunter2",
    "Authorization: Bearer hunter2hunter2hunter2",
    "AKIAIOSFODNN7HUNTER2",
    "hf_hunter2hunter2hunter2hunter2hunter2",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJodW50ZXIyIn0.hunter2hunter2",
]
NONE = [
    "s3://bucket/me@home: x?y=1#z",
    "s3://b.u-c_ket/a@b:c",
    "traffic/sign=stop/0001.mp4",
    "date=2026-01-01/key=3/token=a/clip.mp4",
    "x?y=1.mp4",
    "clip #1.mp4",
    "Who signed? Me & you; key to the city.mp4",
    "http://host:9000/x@2x.png",
    "https://host/v.mp4?t=10&v=abc&design=3",
    "#signature dish (password unknown).mp4",
    "riding a bike",
    "***",
]


def leaks(text):
    return "hunter2" in text.lower()


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_found_and_masked_with_what_it_is(text):
    assert holds_secret(text)
    assert not leaks(redacted(text))
    assert "***" in redacted(text)
    assert redacted(redacted(text)) == redacted(text)
    assert not holds_secret(redacted(text))


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_secret_stays(text):
    assert redacted(text) == text
    assert not holds_secret(text)


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_among_other_text_is_masked_and_the_text_stays(text):
    said = redacted(f"cannot open '{text}' of row 3")
    assert said.startswith("cannot open '")
    assert said.endswith(" of row 3")
    assert not leaks(said)


@pytest.mark.parametrize("text", SECRETS)
def test_control_characters_hide_no_secret(text):
    assert not leaks(displayed(text.replace("=", "=\n")))
    assert not leaks(displayed(text.replace("=", "=\x1b[0m")))
    assert not leaks(displayed(f"\n{text}\n"))


@pytest.mark.parametrize("text", SECRETS)
def test_no_column_of_a_list_lets_a_secret_in(tmp_path, text):
    for column in ("uri", "video_id", "etag"):
        row = {"uri": "a.mp4", column: text}
        (tmp_path / "list.jsonl").write_text(json.dumps(row))
        with pytest.raises(UsageError, match=f"line 1: the {column} contains cred") as refused:
            list(Listing(str(tmp_path / "list.jsonl")).videos())
        assert not leaks(str(refused.value))
    (tmp_path / "list.jsonl").write_text(json.dumps({"uri": "a.mp4", "label": text}))
    (video,) = Listing(str(tmp_path / "list.jsonl")).videos()
    assert not any(leaks(str(value)) for value in dataclasses.astuple(video))
    assert "***" in video.ground_truth


@pytest.mark.parametrize("text", SECRETS)
def test_a_file_with_a_secret_in_its_name_is_left_out_and_named_without_it(tmp_path, text):
    name = text.rpartition("/")[2]
    if not holds_secret(name):
        pytest.skip("the secret is in the address")
    for each in (f"{name}.mp4", f"{name}/a.mp4", "b.mp4"):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_bytes(b"\x80")
    listing = Listing(str(tmp_path))
    assert [video.video_id for video in listing.videos()] == ["b.mp4"]
    assert listing.skipped == {SECRET_NAMES: 2}
    assert not leaks(listing.named())


def test_an_object_with_a_secret_in_its_key_is_left_out(s3):
    s3.create_bucket(Bucket="secrets")
    for key in ("a.mp4", "b.mp4?X-Amz-Signature=hunter2.mp4"):
        s3.put_object(Bucket="secrets", Key=key, Body=b"x")
    listing = Listing("s3://secrets")
    assert [video.video_id for video in listing.videos()] == ["a.mp4"]
    assert listing.skipped == {SECRET_NAMES: 1}


@pytest.mark.parametrize("text", SECRETS)
def test_an_address_with_a_secret_is_refused_and_never_repeated(text):
    with pytest.raises(UsageError, match="must not contain credentials") as refused:
        Location.of(text)
    assert not leaks(str(refused.value))
    assert not leaks(without_secrets(text))


@pytest.mark.parametrize("text", SECRETS)
def test_messages_hold_no_secret(text, capsys):
    assert not leaks(UnitFailure(ErrorType.internal, f"no {text}").message)
    assert not leaks(UnitFailure(ErrorType.internal, f"{'x' * 280} {text}").message)
    say(f"error: {text}")
    assert not leaks(capsys.readouterr().err)


@pytest.mark.parametrize(
    "piece",
    ["?a=", "eyJ-", "://a:b", "?token", "api_", "x.-", "s3://a:", "bearer ", "?session=", "="],
)
def test_no_text_makes_the_search_slow(piece):
    began = time.process_time()
    holds_secret(piece * (200_000 // len(piece)) + "=")
    assert time.process_time() - began < 2
