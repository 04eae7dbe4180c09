"""One file of a store: the activations of some rows, where each is from, and a checksum of every tensor.

A safetensors file with, by site, `[N, D]` in the store's dtype, and `row`, `position`, `token` `[N] int32`. In its
header: SHA-256 of each tensor, and N as `vectors`. Written aside and renamed, it is whole, or it is not there.
Shapes: N vectors, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from unweave import files
from unweave.activations.harvest import Harvest

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WHERE = ("row", "position", "token")


def write(path: Path, found: Harvest, dtype: str) -> None:
    """Raises OSError in one sentence when it cannot be written, and ValueError for a value that float16 does not
    reach."""
    tensors = {site: _rounded(x, dtype, site) for site, x in found.vectors.items()}
    tensors |= {name: getattr(found, name).int() for name in WHERE}
    sums = {name: _checksum(tensor) for name, tensor in tensors.items()}
    about = {"sha256": sums, "vectors": len(found.row)}
    files.write_tensors(path, tensors, {"shard": about})  # one entry: of several, safetensors keeps no order


def vectors(path: Path, sites: Sequence[str]) -> dict[str, Tensor]:
    """By site `[N, D] float32`. Raises FileNotFoundError, and ValueError for a damaged file."""
    return {site: x.float() for site, x in _read(path, sites).items()}


def where(path: Path) -> dict[str, Tensor]:
    """`row`, `position` and `token`, each `[N] int32`: from which row of the chunk a vector is, where in it, and what
    token is there. Raises as `vectors` does."""
    return _read(path, WHERE)


def size(path: Path) -> int:
    """How many vectors a file holds. Raises as `vectors` does."""
    return _header(path)["vectors"]


def checksums(path: Path) -> dict[str, str]:
    """Of each tensor, as they were when it was written. Raises as `vectors` does."""
    return _header(path)["sha256"]


def check(path: Path) -> None:
    """Read all of a file. Raises as `vectors` does."""
    _read(path, list(checksums(path)))


def _header(path: Path) -> dict:
    return _about(path, _tensors(path, ())[1])


def _about(path: Path, header: dict) -> dict:
    if "shard" not in header:
        raise _damaged(path, "its header has no checksums")
    return header["shard"]


def _read(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    held, header = _tensors(path, names)
    for name, tensor in held.items():
        if _about(path, header)["sha256"].get(name) != _checksum(tensor):
            raise _damaged(path, f"{name} has another checksum than when it was written")
    return held


def _tensors(path: Path, names: Collection[str]) -> tuple[dict[str, Tensor], dict]:
    try:
        return files.read_tensors(path, names)
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} is damaged ({what}): `unweave harvest {path.parent} --check` harvests it anew")


def _checksum(x: Tensor) -> str:
    found = hashlib.sha256(f"{x.dtype} {list(x.shape)}".encode())
    found.update(x.contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _rounded(x: Tensor, dtype: str, site: str) -> Tensor:
    rounded = x.to(DTYPES[dtype])
    if dtype == "float16" and len(x) and not rounded.abs().max().isfinite():
        raise ValueError(f"activations at {site} reach {x.abs().max():.3g}, and float16 ends at 65504: use bfloat16")
    return rounded
