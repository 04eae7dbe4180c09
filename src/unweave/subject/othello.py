"""OthelloGPTs of others: Li et al.'s minGPT checkpoints and the TransformerLens form of the same models.

Both formats are tables from our tensors to theirs, with the shape expected of each. What TransformerLens folds away
(the LayerNorms' weights and biases) is put back as ones and zeros, and the bias that folding gives the head is kept.
Shapes: V alphabet, P positions, D width, H heads.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from unweave import files
from unweave.othello import notation, tokens
from unweave.subject.base import SUBJECTS, Alphabet
from unweave.subject.disk import build
from unweave.subject.gpt import GPT, GPTConfig

ALPHABET = Alphabet(
    tokens.SIZE, tokens.PAD, (tokens.PAD,), ("pad", *(notation.name(square) for square in tokens.SQUARES))
)

# Constants that some versions keep beside the weights: the causal mask and what it fills in.
_NO_WEIGHT = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE)")


@dataclass(frozen=True)
class _Tensor:
    """ours: its name here; theirs: its name there; shape: expected there; convert: from theirs to ours."""

    ours: str
    theirs: str
    shape: tuple[int, ...]
    convert: Callable[[Tensor], Tensor] = lambda x: x


@SUBJECTS.register
def othellogpt(path: str, n_heads: int = 8) -> GPT:
    """An OthelloGPT from a checkpoint file (.ckpt, .pth, .pt or .safetensors) in minGPT's or TransformerLens's format.

    Args: n_heads: of a minGPT checkpoint, which does not say (Li's have 8). TransformerLens's shapes tell.
    Raises FileNotFoundError, or ValueError for a file that is damaged, of another format or of another shape.
    """
    held = {k: v for k, v in _read(Path(path)).items() if not _NO_WEIGHT.fullmatch(k)}
    if "tok_emb.weight" in held:
        config, table = _mingpt(held, path, n_heads)
    elif "embed.W_E" in held:
        config, table = _transformer_lens(held, path)
    else:
        raise ValueError(f"{path} holds neither tok_emb.weight (minGPT) nor embed.W_E (TransformerLens): no OthelloGPT")
    ours: dict[str, Tensor] = {}
    for tensor in table:
        found = _shape(held, tensor.theirs, path)
        if found != tensor.shape:
            raise ValueError(f"{path}: tensor {tensor.theirs} has shape {list(found)}, expected {list(tensor.shape)}")
        ours[tensor.ours] = tensor.convert(held.pop(tensor.theirs))
    if held:
        raise ValueError(f"{path} has a tensor {min(held)} that an OthelloGPT has no place for")
    return build(config, ours, path, ALPHABET if config.n_tokens == tokens.SIZE else None)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return files.read_tensors(path)[0]
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        cause = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise ValueError(f"{path} is damaged or holds more than tensors: {cause}") from None
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        raise ValueError(f"{path} holds no state dict, which is a dictionary of tensors by name")
    return dict(held)


def _shape(held: dict[str, Tensor], name: str, path: str) -> tuple[int, ...]:
    if name not in held:
        raise ValueError(f"{path} has no tensor {name}, which an OthelloGPT in this format needs")
    return tuple(held[name].shape)


def _n_layers(held: dict[str, Tensor]) -> int:
    return 1 + max((int(name.split(".")[1]) for name in held if name.startswith("blocks.")), default=-1)


def _two(shape: tuple[int, ...], name: str, path: str) -> tuple[int, int]:
    """The last two of a shape whose other axes are 1."""
    if len(shape) < 2 or any(n != 1 for n in shape[:-2]):
        raise ValueError(f"{path}: tensor {name} has shape {list(shape)}, expected a matrix")
    return shape[-2], shape[-1]


def _mingpt(held: dict[str, Tensor], path: str, n_heads: int) -> tuple[GPTConfig, Iterator[_Tensor]]:
    v, d = _two(_shape(held, "tok_emb.weight", path), "tok_emb.weight", path)
    p, _ = _two(_shape(held, "pos_emb", path), "pos_emb", path)
    n_layers = _n_layers(held)
    config = GPTConfig(n_layers=n_layers, d_model=d, n_heads=n_heads, n_positions=p, n_tokens=v)

    def linear(ours: str, theirs: str, n_out: int, n_in: int) -> Iterator[_Tensor]:
        yield _Tensor(f"{ours}.weight", f"{theirs}.weight", (n_out, n_in))
        yield _Tensor(f"{ours}.bias", f"{theirs}.bias", (n_out,))

    def norm(ours: str, theirs: str) -> Iterator[_Tensor]:
        yield _Tensor(f"{ours}.weight", f"{theirs}.weight", (d,))
        yield _Tensor(f"{ours}.bias", f"{theirs}.bias", (d,))

    def table() -> Iterator[_Tensor]:
        yield _Tensor("embed.weight", "tok_emb.weight", (v, d))
        yield _Tensor("positions", "pos_emb", (1, p, d), lambda x: x[0])
        for block in (f"blocks.{layer}" for layer in range(n_layers)):
            yield from norm(f"{block}.ln_1", f"{block}.ln1")
            yield from norm(f"{block}.ln_2", f"{block}.ln2")
            for ours, theirs in (("query", "query"), ("key", "key"), ("value", "value"), ("out", "proj")):
                yield from linear(f"{block}.{ours}", f"{block}.attn.{theirs}", d, d)
            yield from linear(f"{block}.up", f"{block}.mlp.0", 4 * d, d)
            yield from linear(f"{block}.down", f"{block}.mlp.2", d, 4 * d)
        yield from norm("ln_final", "ln_f")
        yield _Tensor("head.weight", "head.weight", (v, d))

    return config, table()


def _transformer_lens(held: dict[str, Tensor], path: str) -> tuple[GPTConfig, Iterator[_Tensor]]:
    v, d = _two(_shape(held, "embed.W_E", path), "embed.W_E", path)
    p, _ = _two(_shape(held, "pos_embed.W_pos", path), "pos_embed.W_pos", path)
    n_layers, h = _n_layers(held), _shape(held, "blocks.0.attn.W_Q", path)[0]
    if not held.get("unembed.b_U", torch.zeros(v)).any():
        held.pop("unembed.b_U", None)
    has_bias = "unembed.b_U" in held
    config = GPTConfig(n_layers=n_layers, d_model=d, n_heads=h, n_positions=p, n_tokens=v, head_bias=has_bias)
    norms = [f"blocks.{layer}.{norm}" for layer in range(n_layers) for norm in ("ln1", "ln2")] + ["ln_final"]
    if not any(f"{norm}.w" in held for norm in norms):  # folded into the matrices that follow
        held |= {f"{norm}.w": torch.ones(d) for norm in norms} | {f"{norm}.b": torch.zeros(d) for norm in norms}

    def norm(ours: str, theirs: str) -> Iterator[_Tensor]:
        yield _Tensor(f"{ours}.weight", f"{theirs}.w", (d,))
        yield _Tensor(f"{ours}.bias", f"{theirs}.b", (d,))

    def table() -> Iterator[_Tensor]:
        yield _Tensor("embed.weight", "embed.W_E", (v, d))
        yield _Tensor("positions", "pos_embed.W_pos", (p, d))
        for block in (f"blocks.{layer}" for layer in range(n_layers)):
            yield from norm(f"{block}.ln_1", f"{block}.ln1")
            yield from norm(f"{block}.ln_2", f"{block}.ln2")
            for ours, letter in (("query", "Q"), ("key", "K"), ("value", "V")):
                # [H, D, D/H]: a head's columns become rows of one matrix, head after head.
                across = lambda x: x.transpose(1, 2).flatten(0, 1)  # noqa: E731 (a table's cell)
                yield _Tensor(f"{block}.{ours}.weight", f"{block}.attn.W_{letter}", (h, d, d // h), across)
                yield _Tensor(f"{block}.{ours}.bias", f"{block}.attn.b_{letter}", (h, d // h), Tensor.flatten)
            yield _Tensor(f"{block}.out.weight", f"{block}.attn.W_O", (h, d // h, d), lambda x: x.flatten(0, 1).T)
            yield _Tensor(f"{block}.out.bias", f"{block}.attn.b_O", (d,))
            for ours, side, n_in, n_out in (("up", "in", d, 4 * d), ("down", "out", 4 * d, d)):
                yield _Tensor(f"{block}.{ours}.weight", f"{block}.mlp.W_{side}", (n_in, n_out), Tensor.t)
                yield _Tensor(f"{block}.{ours}.bias", f"{block}.mlp.b_{side}", (n_out,))
        yield from norm("ln_final", "ln_final")
        yield _Tensor("head.weight", "unembed.W_U", (d, v), Tensor.t)
        if has_bias:
            yield _Tensor("head.bias", "unembed.b_U", (v,))

    return config, table()
