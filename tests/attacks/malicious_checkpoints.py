"""Checkpoints that attack whoever loads them, and a process that tells what loading them took."""

import _codecs
import collections
import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save, save_file

import sta
from sta.models.create import parameter_shapes
from tests.sta import formats

MIB = 2**20
# What loading may take beside the file and the model: pages of libraries, Python's objects.
SLACK = 96 * MIB
BILLION = 10**9
LABELS = [f"class {number}" for number in range(20)]


def state():
    return sta.load_model("demo").state_dict()


def with_tensor(name, tensor):
    return {**state(), name: tensor}


class Calls:
    """A pickle that calls something."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def beyond_its_storage():
    storage = torch.zeros(1).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    size = (3 * BILLION,)
    rebuilt = (typed, 0, size, (1,), False, collections.OrderedDict())
    return Calls(torch._utils._rebuild_tensor_v2, *rebuilt)


def itself():
    """Dictionaries that contain one another, and weights."""
    inner = {"model": {"a": torch.zeros(1)}}
    inner["ema"] = outer = {"ema": inner}
    return outer


def of_every_name(name, shape):
    """Parameters of an architecture, by name alone."""
    shapes = parameter_shapes(sta.ARCHITECTURES[name], num_classes=400)
    dim = sta.ARCHITECTURES[name].embed_dim
    found = {each: torch.zeros(shape) for each in shapes}
    return found | {
        "patch_embed.proj.weight": torch.zeros(dim, 1, 1, 1, 1),
        "head.weight": torch.zeros(400, 1),
    }


NOT_PLAIN = "could run code"
# Content of a .pth file, and what is said of it. Each is written in both forms of torch.save.
PICKLED = {
    "expanded": (lambda: with_tensor("head.weight", torch.zeros(1).expand(BILLION, 4)), "claims"),
    "strided": (
        lambda: with_tensor("a", torch.zeros(9).as_strided((10**5,) * 2, (0, 0))),
        "claims",
    ),
    "beyond its storage": (lambda: with_tensor("head.weight", beyond_its_storage()), "claims"),
    "shared many times": (
        lambda: with_tensor("a", t := torch.zeros(10**6)) | {f"a{n}": t[:] for n in range(999)},
        "share the same bytes",
    ),
    "too many tensors": (
        lambda: dict(zip(map(str, range(60_000)), torch.zeros(60_000), strict=True)),
        "more than (50,000 tensors|1,000,000 opcodes)",
    ),
    "many opcodes": (lambda: {"a": [{} for _ in range(600_000)]}, "1,000,000 opcodes"),
    "bytearray": (lambda: {"a": Calls(bytearray, 10**10)}, NOT_PLAIN),
    "tensor by size": (lambda: {"a": Calls(torch.FloatTensor, 10**5, 10**5)}, NOT_PLAIN),
    "sparse": (
        lambda: {"a": torch.sparse_coo_tensor([[0]], [1.0], (BILLION,), check_invariants=False)},
        NOT_PLAIN,
    ),
    "meta": (lambda: {"a": torch.empty(BILLION, 10, device="meta")}, NOT_PLAIN),
    "quantized": (
        lambda: {"a": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)},
        NOT_PLAIN,
    ),
    "doubled bytes": (
        lambda: {"a": Calls(_codecs.encode, Calls(_codecs.encode, "a" * 99, "latin1"), "hex")},
        "encodes bytes",
    ),
    "NumPy scalar of zeros": (
        lambda: {"a": Calls(np.float64(0).__reduce__()[0], Calls(np.dtype, "V2147483647"))},
        "NumPy dtype",
    ),
    "containing itself": (itself, "no dictionary of tensors"),
    "other model's names": (lambda: of_every_name("vit_huge", 1), "has shape .* where vit_huge"),
    "classes without weights": (
        lambda: with_tensor("head.weight", torch.zeros(BILLION, 0)),
        "no elements",
    ),
    "whole numbers": (
        lambda: with_tensor("fc_norm.weight", torch.zeros(192, dtype=torch.int8)),
        "floating-point",
    ),
    "scalar head": (lambda: with_tensor("head.weight", torch.zeros(())), "no head.weight of 2"),
    "learned positions": (
        lambda: with_tensor("pos_embed", torch.zeros(10**6, 7, dtype=torch.uint8)),
        "7\\) where positions have 192 columns",
    ),
}


def safetensors_bytes(header, data=b""):
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(said)) + said + data


def entry(begin, end, shape):
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def twin_header():
    one = json.dumps(entry(0, 4, [1]))
    return f'{{"a":{one},"a":{one}}}'.encode()


def saved_with(metadata):
    return lambda: save(state(), metadata)


def of_shape(**fields):
    said = {"sta.architecture": "vit_demo", "sta.shape": json.dumps(fields)}
    return saved_with(said)


# Bytes of a safetensors file, and what is said of it.
SAFETENSORS = {
    "header beyond the file": (
        lambda: struct.pack("<Q", 10**8) + b'{"a":1}',
        "its header claims 100,000,000 bytes and the file has",
    ),
    "large header": (lambda: safetensors_bytes(b'{"a":"' + b"x" * 6 * MIB + b'"}'), "6,291,464"),
    "data beyond the file": (
        lambda: safetensors_bytes({"a": entry(0, 4 * BILLION, [BILLION])}, b"abcd"),
        "a ends at byte 4,000,000,000 of the data and the file has 4",
    ),
    "overlapping": (
        lambda: safetensors_bytes({n: entry(0, 4, [1]) for n in "abc"}, b"abcd"),
        "no whole safetensors file",
    ),
    "a name twice": (lambda: safetensors_bytes(twin_header(), b"abcd"), "names a twice"),
    "shape of no bytes": (
        lambda: safetensors_bytes({"a": entry(0, 4, [BILLION, BILLION])}, b"abcd"),
        "no whole safetensors file",
    ),
    "too many tensors": (
        lambda: safetensors_bytes({f"{n}": entry(0, 0, [0]) for n in range(60_000)}),
        "60,000 tensors; allowed are 50,000",
    ),
    "deep header": (lambda: safetensors_bytes(b'{"a":' * 10**5), "is no list of tensors"),
    "a header of lists": (lambda: safetensors_bytes(b'{"a":[1,2]}'), "is no list of tensors"),
    "classes without weights": (
        lambda: save(with_tensor("head.weight", torch.zeros(BILLION, 0))),
        "no elements",
    ),
    "other model's names": (
        lambda: save(of_every_name("vit_huge", 1)),
        "has shape .* where vit_huge",
    ),
    "many frames": (of_shape(frames=4000, image_size=4000), "4,000 frames of 4,000 x 4,000"),
    "many blocks": (of_shape(depth=10**7), "depth is 10000000, and the parameters are those of 6"),
    "more blocks": (of_shape(depth=4096), "depth is 4096, and the parameters are those of 6"),
    "another backbone": (of_shape(backbone="vjepa2"), "the parameters are those of 'videomae'"),
    "a normalization of no pixels": (of_shape(std=[1e-320] * 3), "std must be three numbers"),
    "no heads": (of_shape(num_heads=0), "allowed are numbers from 1 to 4,096"),
    "wide": (of_shape(mlp_dim=4000), "has shape .* where vit_demo has"),
    "a shape of words": (of_shape(embed_dim="many"), "a value such as 192 is needed"),
    "metadata of no JSON": (saved_with({"sta.shape": "{" * 10**5}), "is not what save_checkpoint"),
    "labels of lists": (saved_with({"sta.labels": "[[]]"}), "class names that are no text"),
    "labels that a terminal obeys": (
        saved_with({"sta.labels": json.dumps(["\x1b[2J"])}),
        r"control characters in the class name '\\x1b\[2J'",
    ),
    "a name that a terminal obeys": (
        lambda: save(with_tensor("a\x1b[2J\n", torch.zeros(1))),
        r"has a\\x1b\[2J\\n besides",
    ),
}


# config.json beside good weights, and what is said of it.
CONFIGS = {
    "frames": (b'{"num_frames": 1000000000}', "1,000,000,000 frames"),
    "pixels": (b'{"image_size": 1048576}', "1,048,576 x 1,048,576 pixels"),
    "channels": (b'{"hidden_size": 1000000000}', "hidden_size is 1000000000"),
    "blocks": (b'{"num_hidden_layers": 1000000000}', "num_hidden_layers is 1000000000"),
    "classes": (b'{"num_labels": 1000000000}', "num_labels is 1000000000"),
    "no heads": (b'{"num_attention_heads": 0}', "num_attention_heads is 0"),
    "digits": (b'{"num_frames": ' + b"9" * 10**5 + b"}", "it is no valid JSON"),
    "depth": (b'{"a": ' + b"[" * 10**5, "it is no valid JSON"),
    "bytes": (b'{"a": "' + b"x" * 6 * MIB + b'"}', "more than 4,194,304 bytes"),
    "products": (
        b'{"model_config": {"mlp_ratio": [4], "embed_dim": 192}}',
        "mlp_ratio is nan|intermediate_size|mlp_ratio",
    ),
}


def indexed(folder, content):
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(content)
    return folder


INDEXES = {
    "depth": ('{"weight_map":' * 10**5, "is no index of shards"),
    "names": (
        json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(5000)}}),
        "names 5,000 files; allowed are 1,000",
    ),
    "bytes": ('{"weight_map": "' + "x" * 6 * MIB + '"}', "more than 4,194,304 bytes"),
}


def zipped(members, compression=zipfile.ZIP_STORED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return made.getvalue()


def overlapping_archive():
    """A directory whose entries all name the same bytes."""
    content = zipped([("a/data.pkl", pickle.dumps({}, 2)), ("a/data/0", b"x" * MIB)])
    start = struct.unpack("<I", content[-6:-2])[0]
    directory = content[start:-22]
    last = directory[directory.index(b"PK\x01\x02", 4) :]
    entries = directory + b"".join(
        last[:-1] + bytes([number]) for number in range(ord("1"), ord("1") + 60)
    )
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 62, 62, len(entries), start, 0)
    return content[:start] + entries + end


def claiming_storages():
    """The older form, whose storages may claim any size."""
    made = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, made, _use_new_zipfile_serialization=False)
    # numel of the storage, and the size of the tensor, are one byte each: 3.
    content = made.getvalue()
    assert content.count(b"K\x03") >= 1
    return content.replace(b"K\x03", b"J\x00\x00\x00\x7f")


# Whole files of other forms, and what is said of them.
ARCHIVES = {
    "compressed": (
        lambda: zipped(
            [("a/data.pkl", pickle.dumps({}, 2)), ("a/data/0", bytes(200 * MIB))],
            zipfile.ZIP_DEFLATED,
        ),
        "is compressed",
    ),
    "overlapping": (overlapping_archive, "claim .* bytes and the file has"),
    "data behind the directory": (
        lambda: zipped([("a/data.pkl", pickle.dumps({}, 2))]) + b"PK\5\6" + bytes(18),
        "does not end where the file ends",
    ),
    "two pickles": (
        lambda: zipped([("a/data.pkl", b"1"), ("a/x", b""), ("a/data.pkl", b"2")]),
        "has a/data.pkl twice",
    ),
    "a key of 300,000 tuples": (
        lambda: zipped([("a/data.pkl", b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.")]),
        "no text and no number",
    ),
    "storages of the older form": (claiming_storages, "claim"),
    "a pickle that ends early": (lambda: zipped([("a/data.pkl", b"\x80\x02}")]), "no torch file"),
    "a long string": (lambda: b"\x80\x02X\xff\xff\xff\x7fabc", "no torch file"),
    "a distant memo": (lambda: b"\x80\x02]r\xff\xff\xff\x7f.", "no torch file"),
}


def attacks(folder):
    """(source, what is said of it, bytes of its files), by name."""
    made = {}

    def add(name, source, said):
        files = [source] if source.is_file() else list(source.iterdir())
        made[name] = source, said, sum(file.stat().st_size for file in files)

    for number, (name, (content, said)) in enumerate(PICKLED.items()):
        for form in (True, False):
            path = folder / f"{number}-{form}.pth"
            torch.save(content(), path, _use_new_zipfile_serialization=form)
            add(f"pickle, {'archive' if form else 'older form'}: {name}", path, said)
    for kind, listed in (("safetensors", SAFETENSORS), ("archive", ARCHIVES)):
        for number, (name, (content, said)) in enumerate(listed.items()):
            path = folder / f"{kind}-{number}"
            path.write_bytes(content())
            add(f"{kind}: {name}", path, said)
    demo = sta.load_model("demo")
    for number, (name, (content, said)) in enumerate(CONFIGS.items()):
        path = formats.save_hugging_face(folder / f"config-{number}", demo, LABELS)
        (path / "config.json").write_bytes(content)
        add(f"config.json: {name}", path, said)
    for number, (name, (content, said)) in enumerate(INDEXES.items()):
        add(f"index: {name}", indexed(folder / f"index-{number}", content), said)
    return made


def whole_files(folder):
    """The demo's weights in every form that is loaded."""
    demo = sta.load_model("demo")
    halves = {name: tensor.half() for name, tensor in demo.state_dict().items()}
    save_file(halves, folder / "halves.safetensors")
    torch.save({"model": halves, "args": None}, folder / "halves.pth")
    torch.save(demo.state_dict(), folder / "whole.pth")
    torch.save(demo.state_dict(), folder / "older.pth", _use_new_zipfile_serialization=False)
    torch.save(formats.mmaction_videomae(demo), folder / "mmaction.pth")
    folders = [
        formats.save_hugging_face(folder / name.replace(".", "-"), demo, LABELS, file=name)
        for name in (
            *("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"),
            "pytorch_model.bin.index.json",
        )
    ]
    files = [path for path in folder.iterdir() if path.is_file()]
    return {
        str(path): sum(f.stat().st_size for f in ([path] if path.is_file() else path.iterdir()))
        for path in files + folders
    }


def loaded(sources):
    child = Path(__file__).with_name("loading_child.py")
    done = subprocess.run(
        [sys.executable, str(child), *map(str, sources)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
