"""Checkpoints: telling the layout of a file, renaming its parameters, loading it safely."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sta.architectures import ARCHITECTURES
from sta.pickles import load_pickle
from sta.pruning import Pruning
from sta.vit import VisionTransformer

DEMO_CHECKPOINT = Path(__file__).parent / "weights" / "vit_demo.safetensors"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_HF_FILES = ("model.safetensors", "pytorch_model.bin")
_OURS = "sta.architecture"


class CheckpointError(ValueError):
    """A checkpoint that cannot be loaded; the message says why in one line."""


@dataclass(frozen=True)
class Weights:
    """What a checkpoint file holds, under VideoMAE's parameter names.

    Attributes:
        tensors: parameters by name.
        labels: class names in the order of the head, empty if the file carries none.
        fingerprint: "sha256:" and the digest of the weight file.
        origin: where the weights came from.
    """

    tensors: dict[str, Tensor]
    labels: tuple[str, ...]
    fingerprint: str
    origin: str


def load_model(
    source: str | Path,
    *,
    pruning: Pruning | None = None,
    architecture: str | None = None,
    labels: Path | None = None,
) -> VisionTransformer:
    """A model with the weights of a checkpoint, in evaluation mode and float32.

    The layout is told from the parameter names: VideoMAE's own (.pth, also those of VideoMAE V2),
    Hugging Face's VideoMAE (safetensors or .bin), or a file that `save_checkpoint` wrote.

    Args:
        source: a file, a directory in Hugging Face's layout, a hub id "owner/name[@revision]", or
            "demo" for the demonstration model that comes with this package.
        pruning: None or r = 0 for the unpruned model.
        architecture: expected architecture; told from the shapes if not given.
        labels: file with class names, one per line or a JSON list; replaces the checkpoint's own.

    Raises:
        CheckpointError: no such checkpoint, a layout that is not known, shapes that do not fit, a
            pickle that holds more than tensors, or labels that do not match the head.
        ValueError: the pruning does not fit the architecture.
    """
    weights = read_weights(source)
    found = _architecture_of(weights.tensors, source)
    if architecture is not None and architecture not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {architecture!r}; there are {', '.join(sorted(ARCHITECTURES))}"
        )
    if architecture is not None and architecture != found:
        raise CheckpointError(f"{source} holds the shapes of {found}, not of {architecture}")
    num_classes = weights.tensors["head.weight"].shape[0]
    model = VisionTransformer(
        ARCHITECTURES[found], num_classes=num_classes, pruning=pruning, architecture=found
    )
    _assign(model, weights.tensors, source)
    model.labels = _labels(labels, weights.labels, num_classes)
    model.fingerprint = weights.fingerprint
    return model.eval()


def save_checkpoint(
    model: VisionTransformer,
    path: Path,
    *,
    labels: list[str] | tuple[str, ...],
    origin: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a model as safetensors with its architecture, labels and origin in the metadata.

    Raises:
        CheckpointError: the number of labels is not that of the head.
    """
    if len(labels) != model.head.out_features:
        raise CheckpointError(
            f"the head has {model.head.out_features} classes and {len(labels)} labels were given"
        )
    tensors = {name: t.detach().to(dtype).contiguous() for name, t in model.state_dict().items()}
    metadata = {
        "format": "pt",
        _OURS: model.architecture,
        "sta.labels": json.dumps(list(labels)),
        "sta.origin": origin,
    }
    save_file(tensors, str(path), metadata=metadata)


def read_weights(source: str | Path) -> Weights:
    """Tensors of a checkpoint under VideoMAE's names; see `load_model` for sources and errors."""
    path, config_path = _locate(str(source))
    metadata: Mapping[str, str] = {}
    if _is_safetensors(path):
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            raw = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    else:
        raw = _state_dict(load_pickle(path), path)
    return Weights(
        tensors=_to_videomae_names(raw, path),
        labels=_own_labels(metadata, config_path),
        fingerprint=f"sha256:{_sha256(path)}",
        origin=metadata.get("sta.origin", str(source)),
    )


def _locate(source: str) -> tuple[Path, Path | None]:
    """The weight file of a source, and the config.json beside it where there is one."""
    path = DEMO_CHECKPOINT if source == "demo" else Path(source).expanduser()
    if path.is_file():
        return path, None
    if path.is_dir():
        for name in _HF_FILES:
            if (path / name).is_file():
                config = path / "config.json"
                return path / name, config if config.is_file() else None
        raise CheckpointError(f"{source} is a directory without {' or '.join(_HF_FILES)}")
    if _HUB_ID.fullmatch(source) and not source.startswith((".", "/")):
        return _download(source)
    raise CheckpointError(
        f"no checkpoint at {source}: it is no file, no directory and no hub id (owner/name)"
    )


def _download(hub_id: str) -> tuple[Path, Path | None]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = hub_id.partition("@")

    def fetch(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, revision=revision or None))
        except LocalEntryNotFoundError as error:
            raise CheckpointError(
                f"{hub_id} is no local file and the hub cannot be reached to look for it there"
            ) from error
        except EntryNotFoundError:
            return None
        except (HfHubHTTPError, OSError) as error:
            line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise CheckpointError(f"cannot download {hub_id} from the hub: {line}") from error

    for name in _HF_FILES:
        weights = fetch(name)
        if weights is not None:
            return weights, fetch("config.json")
    raise CheckpointError(f"the hub repository {hub_id} has no {' or '.join(_HF_FILES)}")


def _is_safetensors(path: Path) -> bool:
    """By content: an 8-byte header length, then JSON. Names can be wrong."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state_dict(loaded: object, path: Path) -> dict[str, Tensor]:
    """The parameters inside what a .pth file unpickles to."""
    for key in ("module", "model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise CheckpointError(f"{path} holds no dictionary of tensors")
    return dict(loaded)


def _to_videomae_names(raw: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    if any(name.startswith("videomae.encoder.") for name in raw):
        renamed = _from_hugging_face(raw)
    elif "patch_embed.proj.weight" in raw:
        renamed = {name: t for name, t in raw.items() if name != "pos_embed"}
    else:
        some = ", ".join(sorted(raw)[:3]) or "none"
        raise CheckpointError(
            f"{path} is in no known layout (VideoMAE's own or Hugging Face's); its first "
            f"parameters are {some}"
        )
    if "head.weight" not in renamed:
        raise CheckpointError(f"{path} has no classifier: it is pre-trained but not fine-tuned")
    return renamed


_HF_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_HF_TOP = {
    "videomae.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "fc_norm": "fc_norm",
    "classifier": "head",
}


def _from_hugging_face(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames Hugging Face's VideoMAE; both of its bias layouts are read.

    Its q and v biases stand as `attention.attention.q_bias` or as `attention.attention.query.bias`;
    a key bias, always zero in these models, is left out.
    """
    out: dict[str, Tensor] = {}
    projections: dict[str, dict[str, Tensor]] = {}
    for name, tensor in raw.items():
        stem, _, leaf = name.rpartition(".")
        if stem in _HF_TOP:
            out[f"{_HF_TOP[stem]}.{leaf}"] = tensor
            continue
        match = re.fullmatch(r"videomae\.encoder\.layer\.(\d+)\.(.+)", stem)
        if match is None:
            continue
        block, part = f"blocks.{match[1]}", match[2]
        if part in _HF_BLOCK:
            out[f"{block}.{_HF_BLOCK[part]}.{leaf}"] = tensor
        elif part == "attention.attention" and leaf in ("q_bias", "v_bias"):
            out[f"{block}.attn.{leaf}"] = tensor
        elif part == "attention.attention.query" and leaf == "bias":
            out[f"{block}.attn.q_bias"] = tensor
        elif part == "attention.attention.value" and leaf == "bias":
            out[f"{block}.attn.v_bias"] = tensor
        elif leaf == "weight":
            projections.setdefault(block, {})[part.rpartition(".")[2]] = tensor
    for block, parts in projections.items():
        if {"query", "key", "value"} <= parts.keys():
            stacked = [parts[name] for name in ("query", "key", "value")]
            out[f"{block}.attn.qkv.weight"] = torch.cat(stacked)
    return out


def _architecture_of(tensors: Mapping[str, Tensor], source: str | Path) -> str:
    """The architecture with this width and depth.

    The number of heads is taken from the architecture: Hugging Face's configurations of the small
    models name 16 heads where the weights were trained with 6.
    """
    width = tensors["patch_embed.proj.weight"].shape[0]
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    for name, config in ARCHITECTURES.items():
        if (config.width, config.depth) == (width, depth):
            return name
    known = ", ".join(f"{name} {c.width} x {c.depth}" for name, c in ARCHITECTURES.items())
    raise CheckpointError(
        f"{source} has width {width} and {depth} blocks, which is no known model ({known})"
    )


def _assign(model: VisionTransformer, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Copies the tensors into the model, all of them and nothing else."""
    own = model.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    surplus = sorted(tensors.keys() - own.keys())
    if missing or surplus:
        said = [f"lacks {', '.join(missing[:3])}"] if missing else []
        said += [f"has {', '.join(surplus[:3])} besides"] if surplus else []
        raise CheckpointError(f"{source} {' and '.join(said)}: not a {model.architecture}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"{source}: {name} has shape {tuple(tensor.shape)} where {model.architecture} "
                f"has {tuple(own[name].shape)}"
            )
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})


def _own_labels(metadata: Mapping[str, str], config_path: Path | None) -> tuple[str, ...]:
    if "sta.labels" in metadata:
        return tuple(json.loads(metadata["sta.labels"]))
    if config_path is not None:
        by_index = json.loads(config_path.read_text(encoding="utf-8")).get("id2label", {})
        return tuple(name for _, name in sorted((int(i), str(n)) for i, n in by_index.items()))
    return ()


def _labels(path: Path | None, own: tuple[str, ...], num_classes: int) -> tuple[str, ...]:
    """Class names: the label file's, else the checkpoint's, else the class indices."""
    if path is None:
        return own if len(own) == num_classes else tuple(str(i) for i in range(num_classes))
    names = read_labels(path)
    if len(names) != num_classes:
        raise CheckpointError(
            f"{path} names {len(names)} labels and the checkpoint has {num_classes} classes"
        )
    return names


def labels_fingerprint(labels: tuple[str, ...]) -> str:
    """Identity of a list of class names: "sha256:" and a digest."""
    return f"sha256:{hashlib.sha256(json.dumps(list(labels)).encode()).hexdigest()}"


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names of a label file, in class order.

    One name per line; a CSV of "index,name" lines (a header may stand first); or a JSON list or
    object from index to name.

    Raises:
        CheckpointError: there is no such file or it holds no labels.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CheckpointError(f"cannot read the labels {path}: {error.strerror}") from error
    if text.startswith(("[", "{")):
        loaded = json.loads(text)
        if isinstance(loaded, dict):
            loaded = [name for _, name in sorted((int(i), n) for i, n in loaded.items())]
        names = [str(name) for name in loaded]
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        indexed = [re.fullmatch(r'(\d+)\s*,\s*"?(.*?)"?', line) for line in lines]
        body = [match for match in indexed if match]
        if len(body) >= max(len(lines) - 1, 1):
            names = [m[2] for m in sorted(body, key=lambda m: int(m[1]))]
        else:
            names = lines
    if not names:
        raise CheckpointError(f"{path} holds no labels")
    return tuple(names)
