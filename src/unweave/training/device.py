"""Where a dictionary is trained."""

from __future__ import annotations

import torch

from unweave.config import DEVICES


def device(name: str) -> torch.device:
    """That of "cpu", "cuda" or "cuda:1". Raises ValueError for another name, and for a GPU that torch does not see."""
    if not DEVICES.fullmatch(name):
        raise ValueError(f'a device is "cpu", "cuda" or one GPU, such as "cuda:1", not {name!r}')
    found, there = torch.device(name), torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= there:
        seen = f"{there} of them" if there else "none"
        raise ValueError(f'there is no GPU "{name}": torch sees {seen}; choose "cpu", or install torch for CUDA')
    return found
