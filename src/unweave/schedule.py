"""How the learning rate and the weights of penalties go over a run, as shares of their peak."""

from __future__ import annotations


def rate(step: int, steps: int, warmup: int, decay: float) -> float:
    """Linear up over `warmup` steps, flat, then linear down to zero over the last `decay` share of all `steps`
    (Haegele et al. 2024, arXiv 2405.18392, Sect. 3). `step` counts from 0."""
    return min(1.0, (step + 1) / max(1, warmup), (steps - step) / max(1.0, decay * steps))


def grown(progress: float, share: float) -> float:
    """Linear from 0 to 1 over the first `share` of a run; 1 throughout if that is 0."""
    return min(1.0, progress / share) if share else 1.0
