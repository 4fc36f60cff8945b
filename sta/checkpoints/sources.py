"""Finds the files of a checkpoint: at a path, on the hub, at https:// or s3://."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sta.checkpoints.downloads import check_size, fetch
from sta.checkpoints.limits import MAX_SHARDS, read_companion
from sta.checkpoints.reach import reason, unanswered, unreachable
from sta.checkpoints.remote import Remote, remote, without_secrets
from sta.errors import CheckpointError

DEMO_CHECKPOINT = Path(__file__).parents[1] / "weights" / "vit_demo.safetensors"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_CONFIG = "config.json"
# Of video models transformers writes the first, and reads the second where there is no first.
_PREPROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")
_CARD = "README.md"
_HEAD_SECONDS = 5
_ADDRESS = re.compile(r"(?i)(https?|s3|gs|az|abfss)://")


@dataclass(frozen=True)
class WeightFile:
    """A local file with weights.

    Attributes:
        path: where it lies.
        shown: its source in messages, without credentials.
    """

    path: Path
    shown: str


@dataclass(frozen=True)
class CompanionFiles:
    """Files beside the weights in Hugging Face's layout; None for those that are missing.

    Attributes:
        config: config.json.
        preprocessor: video_preprocessor_config.json, else preprocessor_config.json.
        card: README.md.
    """

    config: Path | None = None
    preprocessor: Path | None = None
    card: Path | None = None


@dataclass(frozen=True)
class Located:
    """The files of one checkpoint.

    Attributes:
        files: the weight files; more than one if the weights are sharded.
        origin: the source without credentials, as it may be stored.
        beside: the files beside them.
        hub_id: the hub repository "owner/name"; "" where the files are not from the hub.
        notes: what was chosen, one line each.
    """

    files: tuple[WeightFile, ...]
    origin: str
    beside: CompanionFiles = CompanionFiles()
    hub_id: str = ""
    notes: tuple[str, ...] = ()


def locate(source: str, *, patient: bool = False) -> Located:
    """Finds the files of a checkpoint, and downloads them if they are remote.

    Args:
        source: a file; a directory or hub id "owner/name[@revision]" in Hugging Face's layout, the
            weights whole or sharded; an https:// address; s3://bucket/key; or "demo".
        patient: whether to keep retrying if the server cannot be reached, as a job that has started
            should. Otherwise this is an error within ten seconds.

    Raises:
        CheckpointError: there is no such checkpoint, or the download failed.
    """
    if _ADDRESS.match(source):
        found = remote(source)
        if not patient:
            _check_reachable(found)
        return Located((WeightFile(fetch(found), found.shown),), found.shown)
    path = DEMO_CHECKPOINT if source == "demo" else Path(source).expanduser()
    if path.is_file():
        # A weight file named in a Hugging Face directory still uses the files beside it.
        picked = path.name in _WHOLE
        beside = (
            _beside(lambda name: _present(path.with_name(name))) if picked else CompanionFiles()
        )
        return Located((WeightFile(path, source),), source, beside)
    if path.is_dir():
        folder = _Folder(source, "a directory", lambda name: _present(path / name))
        return folder.located()
    if _HUB_ID.fullmatch(source):
        return _Hub(source, patient=patient).located()
    if "://" in source:
        raise CheckpointError(
            f"{without_secrets(source)} cannot be downloaded; use https:// or s3://bucket/key"
        )
    raise CheckpointError(
        f"no checkpoint at {source}: it is no file, no directory and no hub id (owner/name)"
    )


def _present(path: Path) -> Path | None:
    return path if path.is_file() else None


def _beside(get: Callable[[str], Path | None]) -> CompanionFiles:
    preprocessor = next((found for name in _PREPROCESSORS if (found := get(name))), None)
    return CompanionFiles(get(_CONFIG), preprocessor, get(_CARD))


def _check_reachable(found: Remote) -> None:
    server = found.server()
    if server and (why := unreachable(server)):
        raise CheckpointError(
            f"cannot download {found.shown}: {without_secrets(server)} cannot be reached ({why}). "
            "Check the address and the network, set HTTPS_PROXY, or name a local copy"
        )


@dataclass(frozen=True)
class _Folder:
    """A folder in Hugging Face's layout.

    Attributes:
        source: the source that the user named.
        kind: kind of folder, for messages.
        get: returns the file of a name; None if there is none.
    """

    source: str
    kind: str
    get: Callable[[str], Path | None]

    def located(self) -> Located:
        """Its files.

        Raises:
            CheckpointError: weight files are missing.
        """
        for whole, index in zip(_WHOLE, _INDEX, strict=True):
            names = [whole]
            weights = self.get(whole)
            if weights is None:
                listing = self.get(index)
                if listing is None:
                    continue
                names = _shards(listing, f"{self.source}/{index}")
            files = []
            for name in names:
                path = weights or self.get(name)
                if path is None:
                    raise CheckpointError(f"{self.source} lacks {name}, which its {index} names")
                files.append(WeightFile(path, f"{self.source}/{name}"))
            return Located(tuple(files), self.source, _beside(self.get))
        raise CheckpointError(f"{self.source} is {self.kind} without {' or '.join(_WHOLE)}")


def _shards(index: Path, shown: str) -> list[str]:
    """Names of the shards that an index lists."""
    try:
        by_parameter = json.loads(read_companion(index, shown))["weight_map"]
        names = sorted(set(by_parameter.values()))
    except CheckpointError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{shown} is no index of shards") from None
    if len(names) > MAX_SHARDS:
        raise CheckpointError(f"{shown} names {len(names):,} files; allowed are {MAX_SHARDS:,}")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*", name):
            raise CheckpointError(f"{shown} names {name!r}, which is no file beside it")
    if not names:
        raise CheckpointError(f"{shown} names no files")
    return names


class _Hub:
    """A repository on the hub: downloaded, or read from the cache if the hub is unreachable."""

    def __init__(self, hub_id: str, *, patient: bool) -> None:
        self.hub_id = hub_id
        self.repository, _, revision = hub_id.partition("@")
        self.revision = revision or None
        self.offline = self._offline()
        if patient and self.offline and not self._is_cached():
            self.offline = ""  # the hub's client tries for longer

    def located(self) -> Located:
        """Its files.

        Raises:
            CheckpointError: the repository has no weights, or the download failed.
        """
        if self.offline and not self._is_cached():
            raise CheckpointError(self._out_of_reach())
        get = self._cached if self.offline else self._downloaded
        found = _Folder(self.hub_id, "a hub repository", get).located()
        notes = (f"{self.hub_id}: {self.offline}; loads the copy in the hub's cache",)
        return dataclasses.replace(
            found, hub_id=self.repository, notes=notes if self.offline else ()
        )

    def _server(self) -> str:
        from huggingface_hub import hf_hub_url

        scheme, _, rest = hf_hub_url(self.repository, _CONFIG).partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    def _offline(self) -> str:
        """The reason why the hub is unreachable; "" if it is reachable."""
        from huggingface_hub import constants, get_session

        if constants.HF_HUB_OFFLINE:
            return "HF_HUB_OFFLINE is set"
        server = self._server()
        why = unanswered(lambda: get_session().head(server, timeout=_HEAD_SECONDS))
        return f"{server} cannot be reached ({why})" if why else ""

    def _out_of_reach(self) -> str:
        from huggingface_hub import constants

        return (
            f"cannot load {self.hub_id}: it is no file or directory here, {self.offline}, and it "
            f"is not in the cache {constants.HF_HUB_CACHE}. Name a directory that holds it, set "
            "HF_HOME to a cache that does, HF_ENDPOINT to a mirror, or HTTPS_PROXY to a proxy"
        )

    def _is_cached(self) -> bool:
        """Whether the cache has the weights, and the configuration if the repository has one."""
        from huggingface_hub import try_to_load_from_cache

        # Without its configuration the weights could be loaded as another model.
        config = try_to_load_from_cache(self.repository, _CONFIG, revision=self.revision)
        return config is not None and any(map(self._cached, _WHOLE + _INDEX))

    def _cached(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repository, name, revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def _check_size(self, name: str) -> None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        address = hf_hub_url(self.repository, name, revision=self.revision)
        try:
            size = get_hf_file_metadata(address).size or 0
        except Exception:  # the download, which tries for longer, says what is wrong
            return
        check_size(size, f"{self.hub_id}/{name}")

    def _downloaded(self, name: str) -> Path | None:
        """A file of the repository; None if there is none of this name."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.constants import HF_HUB_CACHE
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            with _hub_is_silent():
                self._check_size(name)
                return Path(hf_hub_download(self.repository, name, revision=self.revision))
        except LocalEntryNotFoundError as error:
            self.offline = f"{self._server()} cannot be reached ({reason(error)})"
            raise CheckpointError(self._out_of_reach()) from error
        except EntryNotFoundError:
            return None
        except RepositoryNotFoundError as error:
            raise CheckpointError(
                f"the hub has no repository {self.repository}, or HF_TOKEN may not read it"
            ) from error
        except RevisionNotFoundError as error:
            raise CheckpointError(
                f"{self.repository} has no revision {self.revision} on the hub"
            ) from error
        except (HfHubHTTPError, OSError) as error:
            what = type(error).__name__
            if getattr(error, "errno", None) == errno.ENOSPC:
                what = f"no space left in {HF_HUB_CACHE}; HF_HOME names another folder"
            raise CheckpointError(f"cannot download {self.hub_id} from the hub: {what}") from error


@contextmanager
def _hub_is_silent() -> Iterator[None]:
    """Keeps the hub's client from logging each attempt; errors are raised and shown once."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
