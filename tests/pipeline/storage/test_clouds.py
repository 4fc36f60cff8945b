"""Google Cloud Storage and Azure: the same interface, listing and reading as of S3."""

import pickle
import traceback
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.inputs.listing import Listing
from pipeline.storage.location import Location
from tests import loopback_clouds, scripted_storage
from workers.failures import ErrorType, UnitFailure
from workers.io.fetching import open_source

BODY = b"\x80abc" * 1000
ABFSS = "abfss://bucket@devstoreaccount1.dfs.core.windows.net"


@pytest.fixture(params=["gs://bucket", "az://bucket", ABFSS])
def root(request, clouds):
    """A folder of each store."""
    return Location.of(f"{request.param}/run 1")


@pytest.fixture
def clouds(monkeypatch):
    with loopback_clouds.running() as running:
        for name, value in running.settings().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.mark.parametrize("name", ["a.mp4", "50% ü+#?.mp4", "a b/c.mp4"])
def test_files_are_written_read_listed_moved_and_deleted(root, name):
    root.check_writable()
    file = root.child(name)
    assert not file.exists()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    file.write_bytes(BODY)
    assert (file.read_bytes(), file.read_head(3), root.size()) == (BODY, BODY[:3], len(BODY))
    assert file.exists()
    assert root.exists()
    file.move(root.child("b"))
    assert [each.name for each in root.files("")] == ["b"]
    root.child("b").delete()
    assert root.files("") == []


def test_of_several_writers_one_creates_a_file(root):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda one: root.child("lease").create(str(one).encode()), range(8)))
    assert won.count(True) == 1
    assert root.child("lease").read_bytes() == str(won.index(True)).encode()


def test_videos_are_listed_and_read_only_as_they_were_listed(root, clouds):
    root.child("x/a.mp4").write_bytes(BODY)
    root.child("x/notes.txt").write_bytes(b"x")
    listing = Listing(root.uri)
    (video,) = listing.videos()
    assert (video.video_id, video.uri) == ("x/a.mp4", f"{root.uri}/x/a.mp4")
    assert video.size_bytes == len(BODY)
    assert listing.skipped == {".txt": 1}
    ((alone),) = Listing(video.uri).videos()
    assert (alone.uri, alone.etag) == (video.uri, video.etag)
    for ranged in (True, False):
        with open_source(video.uri, etag=video.etag, ranged=ranged) as source:
            assert source.read_at(10, 100) == BODY[10:110]
            assert source.etag == video.etag
    root.child("x/a.mp4").write_bytes(BODY * 2)
    with pytest.raises(UnitFailure) as caught, open_source(video.uri, etag=video.etag):
        pass
    assert caught.value.error_type is ErrorType.changed


def test_parquet_is_written_and_read_in_a_process_that_unpickles_the_file_system(root):
    filesystem, path = root.child("t.parquet").filesystem()
    table = pa.table({"a": range(1000)})
    pq.write_table(table, path, filesystem=filesystem)
    sent = pickle.loads(pickle.dumps(filesystem))
    assert pq.read_table(path, filesystem=sent).equals(table)


@pytest.mark.parametrize("uri", ["gs://bucket/x", "az://bucket/x"])
def test_a_store_that_is_not_configured_is_one_line(uri, monkeypatch):
    for name in ("STORAGE_EMULATOR_HOST", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent.json")
    with pytest.raises(UsageError, match=r"^cannot list \w+://bucket/x: (the cred|AZURE_STORAGE_)"):
        list(Listing(uri).videos())


def test_a_key_that_is_none_is_told_without_it(monkeypatch, tmp_path):
    (tmp_path / "key.json").write_text('{"type": "service_account", "private_key": "hunter2"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "no base64: hunter2")
    for scheme in ("gs", "az"):
        with pytest.raises(UsageError, match="settings of .* are not valid") as refused:
            list(Listing(f"{scheme}://bucket/x").videos())
        assert "hunter2" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("uri", ["https://example.com/", "https://example.com/archive/"])
def test_a_folder_of_a_web_server_is_refused_with_what_to_name(uri):
    with pytest.raises(UsageError, match="cannot be listed; name one video, or a list"):
        list(Listing(uri).videos())
    with pytest.raises(UsageError, match="cannot write to https://.*: name a directory, or s3://"):
        Location.of(uri).check_writable()


def test_a_web_address_is_a_video_or_a_list_of_relative_and_whole_addresses(monkeypatch):
    with scripted_storage.running() as web:
        web.objects["/d/a%20b.mp4"] = BODY
        web.objects["/d/list.csv"] = b"uri,label\na%20b.mp4,1\nhttps://example.com/c.mp4,2\n"
        with pytest.raises(UsageError, match="cannot read .*not encrypted"):
            list(Listing(f"{web.address}/d/list.csv").videos())
        monkeypatch.setenv("STA_ALLOW_PRIVATE_HOSTS", "1")
        (video,) = Listing(f"{web.address}/d/a%20b.mp4").videos()
        assert (video.video_id, video.uri) == ("a b.mp4", f"{web.address}/d/a%20b.mp4")
        videos = list(Listing(f"{web.address}/d/list.csv").videos())
        assert [each.uri for each in videos] == [video.uri, "https://example.com/c.mp4"]
        with open_source(videos[0].uri) as source:
            assert source.head(100) == BODY[:100]
