"""How the learning rate and the weights of penalties go over a run, as shares of their peak."""

from __future__ import annotations

import math

SHAPES = ("linear", "cosine")


def rate(step: int, steps: int, warmup: int, decay: float, shape: str = "linear", end: float = 0.0) -> float:
    """Linear up over `warmup` steps, flat, then down to `end` over the last `decay` share of all `steps`
    (Haegele et al. 2024, arXiv 2405.18392, Sect. 3), linearly or as half a cosine. `step` counts from 0."""
    left = min(1.0, (steps - step) / max(1.0, decay * steps))
    falling = left if shape == "linear" else (1 - math.cos(math.pi * left)) / 2
    return min((step + 1) / max(1, warmup), end + (1 - end) * falling)


def grown(progress: float, share: float) -> float:
    """Linear from 0 to 1 over the first `share` of a run; 1 throughout if that is 0."""
    return min(1.0, progress / share) if share else 1.0
