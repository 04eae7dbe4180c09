"""One dictionary of the bench, and the order in which they are tried."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unweave.registry import parse

Contenders = Mapping[str, Sequence[str]]
"""By the method's name its calls, from the one to be tried first; they differ in how sparse they make it."""


@dataclass(frozen=True, order=True)
class Trial:
    """call: the method with its arguments; lr: the learning rate's peak; seed: of the first weights."""

    call: str
    lr: float
    seed: int

    @property
    def method(self) -> str:
        return parse(self.call)[0]

    @property
    def folder(self) -> str:
        """A name for its run: "topk-k-64-lr-0.002-seed-0"."""
        return re.sub(r"[^\w.]+", "-", f"{self.call}-lr-{self.lr:g}-seed-{self.seed}")


def contenders(calls: Sequence[str]) -> dict[str, list[str]]:
    """Calls by method, in the order given."""
    by_name: dict[str, list[str]] = {}
    for call in calls:
        at = by_name.setdefault(parse(call)[0], [])
        if call not in at:
            at.append(call)
    return by_name


def best_rate(calls: Sequence[str], rates: Sequence[float], score: Mapping[Trial, float]) -> float:
    """The rate with which a method's first call did best with the first seed."""
    return max(rates, key=lambda rate: score[Trial(calls[0], rate, 0)])


def stages(
    those: Contenders, rates: Sequence[float], seeds: int, score: Mapping[Trial, float]
) -> list[tuple[str, list[Trial]]]:
    """What to try, stage by stage, as far as `score` (what was tried, higher is better) lets one see.

    Each method once, with the first rate; then, for all alike, the other rates; then, with the rate that was best, the
    other seeds, so that it is soon known what a difference is worth; then its other calls, seed by seed. A stage that
    is wholly in `score` is done.
    """
    first = [Trial(calls[0], rates[0], 0) for calls in those.values()]
    tuned = [Trial(calls[0], rate, 0) for rate in rates[1:] for calls in those.values()]
    known = [("each method once", first), ("learning rates", tuned)]
    if not all(trial in score for trial in (*first, *tuned)):
        return known
    rate = {name: best_rate(calls, rates, score) for name, calls in those.items()}
    longest = max(len(calls) for calls in those.values())
    # Seed by seed and level by level, so that wherever time runs out all methods have had as much of it.
    known.extend((f"seed {seed}", [Trial(c[0], rate[n], seed) for n, c in those.items()]) for seed in range(1, seeds))
    for seed in range(seeds):
        levels = [Trial(c[i], rate[n], seed) for i in range(1, longest) for n, c in those.items() if i < len(c)]
        known.append((f"levels of sparsity, seed {seed}", levels))
    return known
