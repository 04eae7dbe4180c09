"""From a dictionary's trained form to the one that is kept: normalisation folded in, thresholds frozen, checked."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave import files
from unweave.dictionary.codes import dense
from unweave.dictionary.core import Dictionary
from unweave.dictionary.normalise import Shifted

FORMAT = "unweave.dictionary/2"


@torch.no_grad()
def fold(trained: Dictionary) -> Dictionary:
    """The same dictionary in the subject's own units: codes are lengths along unit directions of the activations.

    With x' = (x - m) s: b_dec becomes b_dec / s + m, and everything that adds to or is compared with a pre-activation
    (biases, thresholds) is divided by s; W_enc and W_dec stay. Where `foldable` says no, the normalisation stays too.
    """
    beside = about(trained)
    if foldable(trained):
        beside["normalise"] = "none"
    folded = Dictionary(trained.d_in, trained.d_sae, trained.call, **beside).to(trained.W_dec)
    folded.load_state_dict(trained.state_dict())
    if foldable(trained):
        folded.coder.rescale_(1 / scale_of(trained))
        folded.lift.rescale_(1 / scale_of(trained))
        folded.b_dec.copy_(trained.input.undo(trained.b_dec, None))
        folded.input = Shifted(trained.d_in, "none")
    return folded.eval()


def foldable(trained: Dictionary) -> bool:
    """Whether its normalisation is one shift and one scale, of inputs that are its targets as well, before a coder that
    may take it in."""
    return isinstance(trained.input, Shifted) and not trained.transcodes and trained.coder.folds


def scale_of(trained: Dictionary) -> float:
    """How many times larger its codes are than those of its folded form."""
    return float(trained.input.scale) if isinstance(trained.input, Shifted) and foldable(trained) else 1.0


def about(dictionary: Dictionary) -> dict[str, Any]:
    """What stands beside width and method of a dictionary."""
    return {
        "encoder": dictionary.encoder,
        "normalise": dictionary.normalise,
        "d_out": dictionary.d_out if dictionary.transcodes else None,
        "skip": dictionary.skip,
    }


@torch.no_grad()
def export(trained: Dictionary, batch: Tensor, tolerance: float = 1e-4) -> Dictionary:
    """`fold`, checked on `batch [B, D]`: codes and reconstruction must equal the trained form's.

    Raises ValueError if more than one code in ten thousand differs, or, where no code differs, the reconstruction by
    more than `tolerance` of its size. What is at a threshold falls either way in floating point, and where one decision
    is made for an input, many of its codes do: so inputs do not count whose pre-activations agree, and whose codes
    either do in double precision, or do but for their places (a feature gave way to its equal).
    """
    mode = trained.training
    trained.eval()
    folded = fold(trained)
    before, after = trained.encode(batch), folded.encode(batch)
    expected, found = dense(before) / scale_of(trained), dense(after)
    small = tolerance * expected.max()
    differ = (expected - found).abs() > small
    rows = differ.any(1)
    off = 0.0
    if rows.any():
        x, exact = batch[rows], copy.deepcopy(trained).double()
        read = (trained.pre(x) / scale_of(trained) - folded.pre(x)).abs() > small
        places = (expected[rows].sort(1).values - found[rows].sort(1).values).abs() > small
        true = dense(exact.encode(x.double())) / scale_of(trained) - dense(fold(exact).encode(x.double()))
        wrong = read.any(1) | (places.any(1) & (true.abs() > small).any(1))
        off = (differ[rows][wrong].sum() / (expected > 0).sum().clamp(min=1)).item()
    x_hat = trained.decode(before, batch)[~rows]
    error = (folded.decode(after, batch)[~rows] - x_hat).norm()
    trained.train(mode)
    if not (off <= 1e-4 and len(x_hat) and error <= tolerance * x_hat.norm()):
        raise ValueError(
            f"the exported dictionary does not equal the trained one: {off:.2%} of codes differ, x_hat by "
            f"{(error / x_hat.norm()).item():.1e}"
        )
    return folded


def save(dictionary: Dictionary, path: Path, origin: dict[str, Any] | None = None) -> None:
    """One safetensors file, the method and its `origin` (where it came from) in its header."""
    header = {
        "format": FORMAT,
        "method": dictionary.call,
        "d_in": dictionary.d_in,
        "d_sae": dictionary.d_sae,
        **about(dictionary),
        "about": origin or {},
    }
    files.write_tensors(path, dictionary.state_dict(), header)


def load(path: Path) -> Dictionary:
    """The dictionary in a file that `save` wrote, ready for inference.

    Raises FileNotFoundError, or ValueError for a file that is damaged, of another kind or of other shapes.
    """
    tensors, header = files.read_tensors(path)
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} is no dictionary of ours: its format is {header.get('format')!r}, not {FORMAT!r}")
    beside = {name: header[name] for name in ("encoder", "normalise", "d_out", "skip")}
    dictionary = Dictionary(header["d_in"], header["d_sae"], header["method"], **beside)
    check_shapes(path, tensors, dictionary.state_dict())
    dictionary.load_state_dict(tensors)
    return dictionary.eval()


def check_shapes(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raises ValueError naming the first tensor that is missing, unknown or of another shape."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            raise ValueError(f"{path} {'lacks' if name in expected else 'has an unknown'} tensor {name}")
        if found[name].shape != expected[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {list(found[name].shape)}, expected {list(expected[name].shape)}"
            )
