"""Where the files of a checkpoint come from: a path, a hub repository, https:// or s3://."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sta.downloads import fetch
from sta.errors import CheckpointError
from sta.remote import remote, without_secrets

DEMO_CHECKPOINT = Path(__file__).parent / "weights" / "vit_demo.safetensors"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_CONFIG = "config.json"
_ADDRESS = re.compile(r"(?i)(https?|s3)://")


@dataclass(frozen=True)
class WeightFile:
    """A local file with weights.

    Attributes:
        path: where it lies.
        shown: what messages call it: where it came from, without credentials.
    """

    path: Path
    shown: str


@dataclass(frozen=True)
class Located:
    """The files of one checkpoint.

    Attributes:
        files: with its weights; more than one where it is sharded.
        config: Hugging Face's config.json, None where there is none.
        origin: the source as it may be written down, without credentials.
    """

    files: tuple[WeightFile, ...]
    config: Path | None
    origin: str


def locate(source: str) -> Located:
    """Finds, and downloads where need be, the files of a checkpoint.

    Args:
        source: a file; a directory or hub id "owner/name[@revision]" in Hugging Face's layout, the
            weights whole or sharded; an https:// address; s3://bucket/key; or "demo".

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be downloaded.
    """
    if _ADDRESS.match(source):
        found = remote(source)
        return Located((WeightFile(fetch(found), found.shown),), None, found.shown)
    path = DEMO_CHECKPOINT if source == "demo" else Path(source).expanduser()
    if path.is_file():
        # A file picked out of Hugging Face's directory keeps the labels that lie beside it.
        config = path.parent / _CONFIG
        beside = config if path.name in _WHOLE and config.is_file() else None
        return Located((WeightFile(path, source),), beside, source)
    if path.is_dir():
        return _repository(source, lambda name: _present(path / name), kind="a directory")
    if _HUB_ID.fullmatch(source):
        return _repository(source, _hub_fetcher(source), kind="a hub repository")
    if "://" in source:
        raise CheckpointError(
            f"{without_secrets(source)} cannot be downloaded; use https:// or s3://bucket/key"
        )
    raise CheckpointError(
        f"no checkpoint at {source}: it is no file, no directory and no hub id (owner/name)"
    )


def _present(path: Path) -> Path | None:
    return path if path.is_file() else None


def _repository(source: str, get: Callable[[str], Path | None], *, kind: str) -> Located:
    """The files of a folder in Hugging Face's layout, each fetched by its name."""
    for whole, index in zip(_WHOLE, _INDEX, strict=True):
        names = [whole]
        weights = get(whole)
        if weights is None:
            listing = get(index)
            if listing is None:
                continue
            names = _shards(listing, f"{source}/{index}")
        files = []
        for name in names:
            path = weights or get(name)
            if path is None:
                raise CheckpointError(f"{source} lacks {name}, which its {index} names")
            files.append(WeightFile(path, f"{source}/{name}"))
        return Located(tuple(files), get(_CONFIG), source)
    raise CheckpointError(f"{source} is {kind} without {' or '.join(_WHOLE)}")


def _shards(index: Path, shown: str) -> list[str]:
    """Names of the files that an index spreads the parameters over."""
    try:
        by_parameter = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(by_parameter.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{shown} is no index of shards") from None
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*", name):
            raise CheckpointError(f"{shown} names {name!r}, which is no file beside it")
    if not names:
        raise CheckpointError(f"{shown} names no files")
    return names


def _hub_fetcher(hub_id: str) -> Callable[[str], Path | None]:
    """Gives a function from a file's name to the file, None where the repository has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = hub_id.partition("@")

    def get(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, revision=revision or None))
        except LocalEntryNotFoundError as error:
            raise CheckpointError(
                f"{hub_id} is no local file and the hub cannot be reached to look for it there"
            ) from error
        except EntryNotFoundError:
            return None
        except RepositoryNotFoundError as error:
            raise CheckpointError(
                f"the hub has no repository {repository}, or HF_TOKEN may not read it"
            ) from error
        except RevisionNotFoundError as error:
            raise CheckpointError(f"{repository} has no revision {revision} on the hub") from error
        except (HfHubHTTPError, OSError) as error:
            reason = type(error).__name__
            if getattr(error, "errno", None) == errno.ENOSPC:
                reason = f"no space left in {HF_HUB_CACHE}; HF_HOME names another folder"
            raise CheckpointError(f"cannot download {hub_id} from the hub: {reason}") from error

    return get
