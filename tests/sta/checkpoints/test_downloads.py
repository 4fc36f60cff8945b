"""A download arrives whole, once per machine, and goes on where it broke."""

import fcntl
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

import sta
from sta.checkpoints.downloads import cache_folder, fetch
from sta.checkpoints.remote import remote
from sta.transport.retry import RetryPolicy
from tests.disks import small_disk

SECRET = "not-to-be-printed-anywhere"
QUICK = RetryPolicy(seconds=60, max_failures=3, first_wait_s=0)


def kept():
    return sorted(path for path in cache_folder().iterdir() if path.suffix != ".lock")


def test_a_second_load_comes_from_the_cache_whatever_the_signature(server):
    server.objects["/a"] = b"x" * 4_000_000
    first = fetch(remote(f"{server.address}/a?Signature=1"), QUICK)
    second = fetch(remote(f"{server.address}/a?Signature=2"), QUICK)
    assert first == second
    assert kept() == [first]


def test_addresses_that_differ_in_their_query_are_different_objects(server):
    assert (
        remote(f"{server.address}/a?file=1").identity
        != remote(f"{server.address}/a?file=2").identity
    )


def test_a_replaced_object_is_downloaded_again(server):
    server.objects["/a"] = b"old"
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == b"old"
    server.objects["/a"] = b"new"
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == b"new"


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_an_object_without_a_version_is_downloaded_each_time_and_never_joined(server, etag):
    server.objects["/a"], server.etags["/a"] = b"one-one", etag
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == b"one-one"
    server.objects["/a"], server.cuts = b"two-two", [3]
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == b"two-two"
    assert server.asked == [None, None, None]


def test_a_modification_time_stands_in_for_an_etag(server):
    server.objects["/a"], server.etags["/a"] = b"old", ""
    server.modified = formatdate(0, usegmt=True)
    fetch(remote(f"{server.address}/a"), QUICK)
    server.whole = 0
    server.objects["/a"], server.modified = b"new", formatdate(1, usegmt=True)
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == b"new"


def test_a_broken_download_goes_on_where_it_broke(server):
    body = bytes(range(256)) * 8
    server.objects["/a"], server.cuts = body, [1000]
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == body
    assert server.asked[-1] == "bytes=1000-"
    assert len(kept()) == 1


def test_a_download_that_a_dead_process_left_goes_on_too(server):
    body = bytes(range(256)) * 8
    server.objects["/a"], server.cuts = body, [1000]
    with pytest.raises(sta.CheckpointError, match=r"1,000 of 2,048 bytes came \(1,000 bytes are"):
        fetch(remote(f"{server.address}/a"), RetryPolicy(max_failures=1))
    assert [path.suffix for path in kept()] == [".partial"]
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == body
    assert server.asked == [None, None, "bytes=1000-"]


def test_an_object_that_changes_in_mid_download_starts_again(server):
    old, new = b"o" * 2000, b"n" * 2000
    server.objects["/a"], server.cuts, server.after_cut = old, [1000], new
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == new
    assert len(kept()) == 1


def test_a_server_without_ranges_gives_the_whole_again(server):
    body = bytes(range(256)) * 8
    server.objects["/a"], server.cuts, server.ranges = body, [1000], False
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == body


def test_a_length_that_never_comes_is_an_error_and_leaves_no_whole_file(server):
    server.objects["/a"], server.announced = b"x" * 10, 5
    with pytest.raises(sta.CheckpointError, match="10 of 15 bytes came"):
        fetch(remote(f"{server.address}/a"), QUICK)
    assert all(path.suffix == ".partial" for path in kept())


def test_a_busy_server_is_asked_again_and_then_given_up(server):
    server.objects["/a"], server.statuses = b"x", [503, 500]
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == b"x"
    server.statuses = [503] * 9
    with pytest.raises(sta.CheckpointError, match="the server answered 503"):
        fetch(remote(f"{server.address}/a"), QUICK)
    assert len(server.statuses) == 6


def test_the_time_limit_ends_the_attempts(server):
    server.statuses = [503] * 9
    with pytest.raises(sta.CheckpointError, match="0 s have passed; the server answered 503"):
        fetch(
            remote(f"{server.address}/a"), RetryPolicy(seconds=0.2, max_failures=9, first_wait_s=6)
        )
    assert len(server.statuses) == 7  # the first attempt, and one when the time was up


def test_the_time_limit_ends_a_slow_download_whose_bytes_are_kept(server):
    body = b"0123456789abcdef" * 2**18
    server.objects["/a"] = body
    with pytest.raises(sta.CheckpointError, match=r"0 s have passed \([\d,]+ bytes are kept"):
        fetch(remote(f"{server.address}/a"), RetryPolicy(seconds=1e-6))
    assert 0 < kept()[0].stat().st_size < len(body)
    assert fetch(remote(f"{server.address}/a"), QUICK).read_bytes() == body


def test_the_wait_for_another_process_has_an_end(server):
    found = remote(f"{server.address}/a")
    cache_folder().mkdir(parents=True)
    with (cache_folder() / f"{found.identity}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(sta.CheckpointError, match="another process has been downloading"):
            fetch(found, RetryPolicy(seconds=0.01))


def test_the_time_limit_comes_from_the_environment(server, monkeypatch):
    server.objects["/a"] = b"x"
    for wrong in ("soon", "0", "-1"):
        monkeypatch.setenv("STA_DOWNLOAD_SECONDS", wrong)
        with pytest.raises(sta.CheckpointError, match="STA_DOWNLOAD_SECONDS must be a number"):
            fetch(remote(f"{server.address}/a"))
    monkeypatch.setenv("STA_DOWNLOAD_SECONDS", "90.5")
    assert fetch(remote(f"{server.address}/a")).read_bytes() == b"x"


def test_processes_that_want_the_same_object_fetch_it_once(server):
    body = b"0123456789abcdef" * 2**21
    server.objects["/a"] = body
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch, remote(f"{server.address}/a"), QUICK) for _ in range(4)]
        paths = {job.result() for job in jobs}
    assert kept() == sorted(paths)
    assert paths.pop().read_bytes() == body
    assert server.whole == 1


def test_a_server_that_is_not_there_is_one_line(server):
    with pytest.raises(sta.CheckpointError, match="Connection refused") as caught:
        fetch(remote("http://127.0.0.1:9/a?" + SECRET), QUICK)
    assert SECRET not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_one_line(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("STA_CACHE", str(tmp_path / "file"))
    with pytest.raises(sta.CheckpointError, match="cannot keep .* STA_CACHE names another folder"):
        fetch(remote(f"{server.address}/a"), QUICK)


def test_a_full_cache_says_what_is_free_and_what_is_needed(server, tmp_path, monkeypatch):
    server.objects["/a"] = b"x" * 4_000_000
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        monkeypatch.setenv("STA_CACHE", str(disk.folder))
        said = rf"cache {disk.folder}/checkpoints \(no space left: .* free; 4,000,000 are needed\)"
        with pytest.raises(sta.CheckpointError, match=said):
            fetch(remote(f"{server.address}/a"), QUICK)


def test_the_cache_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("STA_CACHE", raising=False)
    assert cache_folder() == tmp_path / "sta" / "checkpoints"
    monkeypatch.setenv("STA_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "checkpoints"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_stands_on_a_terminal_alone(server, monkeypatch):
    server.objects["/model.bin"] = b"x" * 2_000_000
    for stream in (Terminal(), io.StringIO()):
        server.etags["/model.bin"] = f'"{stream.isatty()}"'
        monkeypatch.setattr(sys, "stderr", stream)
        fetch(remote(f"{server.address}/model.bin"), QUICK)
        last = stream.getvalue().rstrip("\n").rpartition("\r")[2]
        assert last == ("model.bin: 2.0 of 2.0 MB (100%)" if stream.isatty() else "")


def test_a_broken_download_from_object_storage_goes_on_where_it_broke(s3, server):
    body = bytes(range(256)) * 8
    s3.create_bucket(Bucket="resumed")
    s3.put_object(Bucket="resumed", Key="m", Body=body)
    found = remote("s3://resumed/m")
    whole = fetch(found, QUICK)
    whole.rename(whole.with_name(f"{whole.name}.partial"))
    partial = kept()[0]
    # Other bytes than the object's show that these were kept and not fetched again.
    partial.write_bytes(b"?" * 1000)
    assert fetch(found, QUICK).read_bytes() == b"?" * 1000 + body[1000:]
    fetch(found, QUICK).unlink()
    partial.write_bytes(b"?" * 1000)
    s3.put_object(Bucket="resumed", Key="m", Body=body[::-1])
    assert fetch(found, QUICK).read_bytes() == body[::-1]
