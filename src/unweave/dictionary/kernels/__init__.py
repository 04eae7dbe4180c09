"""What a training step spends its time on: the choice of the largest, and products over active pairs."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec


@cache
def has_triton() -> bool:
    """Whether triton is installed, in which the kernels for a GPU are written. It is not imported."""
    return find_spec("triton") is not None
