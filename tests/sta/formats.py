"""Files in the formats of others, made from our models' parameters."""

import json
import re

import torch
from safetensors.torch import save_file


def hugging_face_names(state, *, stacked_biases):
    """VideoMAE's names to Hugging Face's, in the older or the newer of its two bias layouts."""
    out = {}
    for name, tensor in state.items():
        name = name.replace("patch_embed.proj", "videomae.embeddings.patch_embeddings.projection")
        name = re.sub(r"^head\.", "classifier.", name)
        name = re.sub(r"^blocks\.", "videomae.encoder.layer.", name)
        name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
        name = name.replace(".attn.proj.", ".attention.output.dense.")
        name = name.replace(".mlp.fc1.", ".intermediate.dense.")
        name = name.replace(".mlp.fc2.", ".output.dense.")
        inner = name.replace(".attn.", ".attention.attention.")
        if name.endswith("qkv.weight"):
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                out[inner.replace("qkv", part)] = piece.contiguous()
        elif stacked_biases:
            out[inner] = tensor
        else:
            out[inner.replace("q_bias", "query.bias").replace("v_bias", "value.bias")] = tensor
    return out


def save_hugging_face(folder, model, labels, *, stacked_biases=True, file="model.safetensors"):
    """A directory as on the hub; its config lists the classes in another order than theirs."""
    folder.mkdir()
    tensors = hugging_face_names(model.state_dict(), stacked_biases=stacked_biases)
    if file.endswith(".index.json"):
        _save_shards(folder, tensors, file)
    else:
        save(tensors, folder / file)
    by_index = {str(index): name for index, name in reversed(list(enumerate(labels)))}
    (folder / "config.json").write_text(json.dumps({"id2label": by_index}))
    return folder


def save(tensors, path):
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


def _save_shards(folder, tensors, index):
    stem, suffix = index.removesuffix(".index.json").split(".")
    names = sorted(tensors)
    where = {}
    for shard in range(3):
        file = f"{stem}-0000{shard + 1}-of-00003.{suffix}"
        save({name: tensors[name] for name in names[shard::3]}, folder / file)
        where |= dict.fromkeys(names[shard::3], file)
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))


def mmaction_videomae(model):
    """mmaction2's port of VideoMAE, with its buffer of positions."""
    out = {"backbone.pos_embed": model.pos_embed[None]}
    for name, tensor in model.state_dict().items():
        name = name.replace("patch_embed.proj.", "patch_embed.projection.")
        name = name.replace(".mlp.fc1.", ".mlp.layers.0.0.").replace(".mlp.fc2.", ".mlp.layers.1.")
        head = name.startswith("head.")
        out[name.replace("head.", "cls_head.fc_cls.") if head else f"backbone.{name}"] = tensor
    return {"meta": {"dataset_meta": {}, "epoch": 90, "iter": 1}, "state_dict": out}


def original_videoswin(model, *, final_norm="norm"):
    """VideoSwin's own file, with the index buffers that its modules register."""
    out = {}
    for name, tensor in model.state_dict().items():
        name = re.sub(r"^norm\.", f"{final_norm}.", name)
        head = name.startswith("head.")
        out[name.replace("head.", "cls_head.fc_cls.") if head else f"backbone.{name}"] = tensor
        if name.endswith("relative_position_bias_table"):
            index = name.replace("bias_table", "index")
            out[f"backbone.{index}"] = torch.zeros(4, 4, dtype=torch.int64)
    out["backbone.layers.0.blocks.1.attn_mask"] = torch.zeros(2, 4, 4)
    return {"meta": {"epoch": 30, "iter": 3, "mmcv_version": "1.1"}, "state_dict": out}


def torchvision_swin3d(model):
    """torchvision's names: stages and mergings alternate in one list of features."""
    out = {}
    for name, tensor in model.state_dict().items():
        name = re.sub(r"^layers\.(\d)\.blocks\.", lambda m: f"features.{2 * int(m[1])}.", name)
        name = re.sub(
            r"^layers\.(\d)\.downsample\.", lambda m: f"features.{2 * int(m[1]) + 1}.", name
        )
        name = name.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")
        out[name] = tensor
        if name.endswith("relative_position_bias_table"):
            index = name.replace("bias_table", "index")
            out[index] = torch.zeros(16, dtype=torch.int64)
    return out


def same_weights(a, b):
    """Whether two models hold bit-identical parameters."""
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
