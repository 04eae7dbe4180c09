"""Models of ours on disk: `model.safetensors`, or numbered shards of it, with all that is needed to build them in
the header."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave import files
from unweave.config import from_dict
from unweave.subject.base import SUBJECTS, Alphabet
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.huggingface import HuggingFace, huggingface

# A file that goes into the repository may have 16 MB; the header takes its part.
SHARD_BYTES = 15_000_000


def save(
    model: GPT, folder: Path, *, dtype: torch.dtype = torch.bfloat16, shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """Write a model's weights, rounded to `dtype`; the files written. Several, of at most about `shard_bytes` each,
    where one would be larger. Raises OSError in one sentence when they cannot be written."""
    shards: list[dict[str, Tensor]] = [{}]
    for name, tensor in model.state_dict().items():
        rounded = tensor.to(dtype)
        if shards[-1] and sum(t.nbytes for t in shards[-1].values()) + rounded.nbytes > shard_bytes:
            shards.append({})
        shards[-1][name] = rounded
    header = {"gpt": asdict(model.config), "alphabet": asdict(model.alphabet), "shards": len(shards)}
    n = len(shards)
    names = ["model.safetensors"] if n == 1 else [f"model-{i + 1:05}-of-{n:05}.safetensors" for i in range(n)]
    for name, shard in zip(names, shards, strict=True):
        files.write_tensors(folder / name, shard, {"model": header})  # one entry: several have no order
    for path in _here(folder):  # of a model that was here before, in other parts
        if path.name not in names:
            path.unlink()
    return [folder / name for name in names]


@SUBJECTS.register
def saved(path: str) -> GPT:
    """A model that `save` wrote: a folder or one safetensors file, in float32, without gradients of its own.

    Raises FileNotFoundError if it is not there, ValueError if it is damaged, incomplete or not a model of ours.
    """
    where = Path(path)
    parts = [where] if where.suffix == ".safetensors" else _parts(where)
    tensors: dict[str, Tensor] = {}
    header: dict[str, Any] = {}
    for part in parts:
        held, metadata = files.read_tensors(part)
        if "model" not in metadata:
            raise ValueError(f"{part} is not a model of ours: its header does not say what to build")
        tensors |= held
        header = metadata["model"]
    if header["shards"] != len(parts):
        raise ValueError(
            f"{where} holds {len(parts)} of the {header['shards']} files of its model: name the whole folder"
        )
    names = header["alphabet"]
    alphabet = Alphabet(names["size"], names["pad"], tuple(names["specials"]), tuple(names["names"]))
    return build(from_dict(GPTConfig, header["gpt"]), tensors, str(where), alphabet)


@SUBJECTS.register
def othello() -> GPT:
    """The OthelloGPT that comes with the package. Its card lies beside it in `unweave/assets/othello`."""
    folder = Path(str(package_files("unweave") / "assets" / "othello"))
    if not folder.is_dir():
        raise FileNotFoundError(
            "this installation has no bundled OthelloGPT: install it again, or train one by `unweave pretrain othello`"
        )
    return saved(str(folder))


@SUBJECTS.register
def text() -> HuggingFace:
    """The language model that comes with the package. Its card lies beside it in `unweave/assets/text`."""
    folder = Path(str(package_files("unweave") / "assets" / "text"))
    if not folder.is_dir():
        raise FileNotFoundError(
            "this installation has no bundled language model: install one that has, or make one by "
            "`unweave pretrain text --out models/text` and name its folder, models/text/model"
        )
    return huggingface(str(folder))


def build(config: GPTConfig, tensors: dict[str, Tensor], where: str, alphabet: Alphabet | None = None) -> GPT:
    """A GPT in float32 with given weights, frozen. Raises ValueError for a tensor that is missing, superfluous or of
    another shape, naming it, what was expected and what was found."""
    model = GPT(config, alphabet)
    for name, expected in model.state_dict().items():
        if name not in tensors:
            raise ValueError(f"{where} has no tensor {name}: expected one of shape {list(expected.shape)}")
        if tensors[name].shape != expected.shape:
            found, right = list(tensors[name].shape), list(expected.shape)
            raise ValueError(f"{where}: tensor {name} has shape {found}, expected {right} for this model")
    if superfluous := tensors.keys() - model.state_dict().keys():
        raise ValueError(f"{where} has a tensor {min(superfluous)} that this model has no place for")
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return model.eval().requires_grad_(False)


def _here(folder: Path) -> list[Path]:
    """Every file of a model in a folder, shards first."""
    return sorted(folder.glob("model-*-of-*.safetensors")) + sorted(folder.glob("model.safetensors"))


def _parts(folder: Path) -> list[Path]:
    if found := _here(folder):
        return found[-1:] if found[-1].name == "model.safetensors" else found
    raise FileNotFoundError(
        f"there is no model in {folder}: expected model.safetensors, as `unweave pretrain` writes it"
    )
