"""A real S3 server on loopback: Ceph's where its programs are installed, else moto's.

Both check signatures: a wrong key is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY_NAMES = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"

_REGION = "us-east-1"
_KEYS = "AKIATESTTESTTESTTEST", "secret/of+the/tests/that/no/file/may/hold0"

_CEPH = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_START_SECONDS = 120.0
_ATTEMPTS = 3

_CEPH_CONF = """\
[global]
fsid = {fsid}
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
pid file = {folder}/$name.pid
mon host = v1:127.0.0.1:{mon_port}
ms bind ipv4 = true
ms bind msgr2 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
osd heartbeat grace = 3600
osd op thread timeout = 3600
osd op thread suicide timeout = 0
memstore device bytes = 4294967296
osd memory target = 939524096
setuser match path = {folder}/nothing
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw dns name = 127.0.0.1
"""


_ALL = """{"Version": "2012-10-17",
"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"""


class ObjectStorage:
    """A running server, and how it is found.

    Attributes:
        kind: "radosgw" or "moto".
        endpoint: its address.
        keys: access key and secret key of its only user, who may do everything.
    """

    kind: str
    endpoint: str
    keys: tuple[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which every client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
            **dict(zip(KEY_NAMES, self.keys, strict=True)),
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }

    def client(self) -> Any:
        """A client of its own, whatever stands in this process's environment."""
        return _client("s3", self.endpoint, self.keys, signature_version="s3v4")

    def stranger(self) -> tuple[str, str]:
        """Keys of another user, who may do nothing with the buckets of ours."""
        raise NotImplementedError

    def stop(self) -> None:
        """Takes it away; what it stores stays."""
        raise NotImplementedError

    def start(self) -> None:
        """Brings it back."""
        raise NotImplementedError


@contextmanager
def object_storage(folder: Path) -> Iterator[ObjectStorage]:
    """A server that keeps its files in a folder, and is gone afterwards."""
    ceph = all(shutil.which(program) for program in _CEPH)
    for attempt in range(_ATTEMPTS):
        with contextlib.ExitStack() as processes:
            place = folder / str(attempt)
            place.mkdir()
            try:
                with _one_at_a_time():
                    server = (_RadosGateway if ceph else _Moto)(place, processes)
            except _NotStartedError:
                if attempt < _ATTEMPTS - 1:
                    continue  # another process may have taken a port that was free
                raise
            yield server
            return


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Servers that several test processes start wait for each other: a monitor that gets too little
    of the cores gives up its commands.
    """
    with open(Path(tempfile.gettempdir()) / "sta-tests-object-storage.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _NotStartedError(Exception):
    pass


def _client(service: str, endpoint: str, keys: tuple[str, str], **settings: Any) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        service,
        endpoint_url=endpoint,
        region_name=_REGION,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        config=Config(**settings),
    )


def free_port() -> int:
    """A port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class _RadosGateway(ObjectStorage):
    """Ceph in one folder: a monitor, a store in memory and the S3 gateway, without privileges."""

    kind = "radosgw"
    keys = _KEYS

    def __init__(self, folder: Path, processes: contextlib.ExitStack) -> None:
        self._folder = folder
        self._processes = processes
        self._conf = folder / "ceph.conf"
        port, mon_port, fsid = free_port(), free_port(), str(uuid.uuid4())
        self.endpoint = f"http://127.0.0.1:{port}"
        for name in ("mon", "osd", "rgw"):
            (folder / name).mkdir()
        self._conf.write_text(
            _CEPH_CONF.format(folder=folder, fsid=fsid, port=port, mon_port=mon_port)
        )
        mon_map, osd = str(folder / "monmap"), str(uuid.uuid4())
        self._run(
            "monmaptool", "--create", "--fsid", fsid, "--addv", "a",
            f"[v1:127.0.0.1:{mon_port}]", mon_map,
        )  # fmt: skip
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", mon_map)
        self._daemon("ceph-mon", "-i", "a")
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._store = self._daemon("ceph-osd", "-i", "0")
        self.start()
        self._run(
            "radosgw-admin", "user", "create", "--uid", "tests", "--display-name", "tests",
            "--access-key", self.keys[0], "--secret-key", self.keys[1], "--max-buckets", "0",
        )  # fmt: skip

    def stranger(self) -> tuple[str, str]:
        keys = f"AKIA{uuid.uuid4().hex}", "secret-of-a-stranger"
        self._run(
            "radosgw-admin", "user", "create", "--uid", keys[0], "--display-name", "stranger",
            "--access-key", keys[0], "--secret-key", keys[1],
        )  # fmt: skip
        return keys

    def stop(self) -> None:
        """Kills the gateway alone: connections break, new ones are refused."""
        self._gateway.kill()
        self._gateway.wait()

    def start(self) -> None:
        for attempt in range(_ATTEMPTS):
            self._gateway = self._daemon("radosgw", "-n", "client.rgw")
            try:
                _wait_for(self.endpoint, self._gateway, self._folder, meanwhile=self._keep_store)
                return
            except _NotStartedError:  # a busy machine may take longer than Ceph waits
                self.stop()
                if attempt == _ATTEMPTS - 1:
                    raise

    def _keep_store(self) -> None:
        """Starts the store again if it ended: it does where its first command is sent before the
        monitor has said which cluster this is ("wrong fsid").
        """
        if self._store.poll() is not None:
            self._store = self._daemon("ceph-osd", "-i", "0")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [program, "-c", str(self._conf), *arguments],
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise _NotStartedError(f"{program}: {done.stderr}")

    def _daemon(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [program, "-c", str(self._conf), *arguments, "-f"]
        return self._processes.enter_context(_running(command, self._folder / f"{program}.out"))


class _Moto(ObjectStorage):
    """moto's server; it forgets everything when it ends, so that it is stopped asleep."""

    kind = "moto"

    def __init__(self, folder: Path, processes: contextlib.ExitStack) -> None:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self._server = processes.enter_context(_running(command, folder / "moto.out"))
        _wait_for(f"{self.endpoint}/moto-api/", self._server, folder)
        self._check_signatures()

    def stranger(self) -> tuple[str, str]:
        name = f"stranger-{uuid.uuid4()}"
        iam = _client("iam", self.endpoint, self.keys)
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def stop(self) -> None:
        """Puts it to sleep: connections stay open, and nothing answers."""
        self._server.send_signal(signal.SIGSTOP)

    def start(self) -> None:
        self._server.send_signal(signal.SIGCONT)

    def _check_signatures(self) -> None:
        iam = _client("iam", self.endpoint, ("any", "any"))
        iam.create_user(UserName="tests")
        iam.put_user_policy(UserName="tests", PolicyName="all", PolicyDocument=_ALL)
        key = iam.create_access_key(UserName="tests")["AccessKey"]
        self.keys = key["AccessKeyId"], key["SecretAccessKey"]
        request = urllib.request.Request(
            f"{self.endpoint}/moto-api/reset-auth",
            data=b"0",
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=10).close()


# Ends the processes whose ids it was given when nobody can give it more: so that tests that are
# killed leave no server behind.
_GUARD = 'while read id; do ids="$ids $id"; done; kill -9 $ids'


@contextmanager
def _running(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, by its own id and no other's."""
    with open(output, "ab") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    guard = subprocess.Popen(["sh", "-c", _GUARD], stdin=subprocess.PIPE, start_new_session=True)
    assert guard.stdin is not None
    try:
        guard.stdin.write(f"{process.pid}\n".encode())
        guard.stdin.flush()
        yield process
    finally:
        guard.kill()
        guard.wait()
        guard.stdin.close()
        process.kill()
        process.wait()


def _wait_for(
    address: str,
    process: subprocess.Popen[bytes],
    folder: Path,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # an answer, if only a refusal
        except OSError:
            meanwhile()
            time.sleep(0.1)
    raise _NotStartedError(f"{address} did not come up: {_last_words(folder)}")


def _last_words(folder: Path) -> str:
    said = [path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.out"))]
    return os.linesep.join(said)
