"""What no step on a GPU goes below: the encoder's product, and the bytes that Adam reads and writes."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from clock import Clock
from torch import Tensor


def floor(x: Tensor, n: int, tf32: bool) -> dict[str, float]:
    """Milliseconds, medians, for `x [B, D]` and F = n: product_ms, x times weights `[D, n]`; adam_ms, both matrices of
    weights with their gradients and moments read, and all but the gradients written, as fast as the GPU copies."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    weights, out = torch.randn(x.shape[1], n, device=x.device), x.new_empty(len(x), n)
    product = _median(lambda: torch.mm(x, weights, out=out), x.device)
    source = torch.zeros(2**28, device=x.device)
    to = torch.empty_like(source)
    copy = _median(lambda: to.copy_(source), x.device)
    return {"product_ms": product, "adam_ms": copy * 7 * 2 * weights.numel() / (2 * source.numel())}


def _median(work: Callable[[], object], device: torch.device, rounds: int = 15) -> float:
    clock, took = Clock(str(device)), []
    for _ in range(rounds + 3):  # the first three warm up
        clock.begin()
        work()
        took.append(clock.seconds())
    return 1000 * statistics.median(took[3:])
