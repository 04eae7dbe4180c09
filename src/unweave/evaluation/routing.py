"""Features against the experts of a mixture: how well one feature tells whether the router chooses an expert.

Features are chosen on the first half of the positions and scored on the second. Shapes: N positions, F features, E
experts, V alphabet.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A feature that fires less often says little of what goes with it.
_OFTEN = 10
_ALWAYS = 0.9


def auroc(values: Tensor, labels: Tensor) -> Tensor:
    """`[F, E]`: of every column of `values [N, F]` for every column of `labels [N, E] bool`, ties counting half (Mann &
    Whitney 1947); NaN for a label that always or never holds."""
    columns, n = values.T.contiguous(), len(values)
    ordered = columns.sort(dim=1).values
    below = torch.searchsorted(ordered, columns)
    ranks = (below + torch.searchsorted(ordered, columns, right=True) + 1).double() / 2
    positives = labels.double().sum(0)
    pairs = positives * (n - positives)
    return (ranks @ labels.double() - positives * (positives + 1) / 2) / pairs.where(pairs > 0, torch.nan)


def f1(active: Tensor, labels: Tensor) -> Tensor:
    """`[F, E]`: of "the feature fires" for "the label holds", `[N, F]` and `[N, E] bool`; 0 where neither ever does."""
    both = active.double().T @ labels.double()
    return 2 * both / (active.sum(0)[:, None] + labels.sum(0)).clamp(min=1)


def information(active: Tensor, labels: Tensor) -> Tensor:
    """`[F, E]`, bits: the mutual information of "the feature fires" and "the label holds", as counted."""
    n, fires, holds = len(active), active.double().sum(0)[:, None], labels.double().sum(0)
    both = active.double().T @ labels.double()  # all are whole numbers: what is nothing is exactly 0
    cells = (
        (both, fires * holds),
        (fires - both, fires * (n - holds)),
        (holds - both, (n - fires) * holds),
        (n - fires - holds + both, (n - fires) * (n - holds)),
    )
    parts = [torch.where(seen > 0, seen / n * (seen * n / expected).log2(), 0.0) for seen, expected in cells]
    return torch.stack(parts).sum(0)


def told(codes: Tensor, chosen: Tensor) -> dict[str, float]:
    """How well the best feature of `codes [N, F]` tells whether an expert is among those `chosen [N, E] bool`.

    auroc, f1, information: mean over experts, each by the feature that is best by that measure on the first half, on
    the second. of_one: the share of the features firing at least ten times on the second half for which some expert,
    picked on the first half, is chosen nine times in ten when they fire.
    """
    middle = len(codes) // 2
    halves = [(codes[part], chosen[part]) for part in (slice(middle), slice(middle, None))]
    measures = {
        "auroc": [auroc(values, labels) for values, labels in halves],
        "f1": [f1(values > 0, labels) for values, labels in halves],
        "information": [information(values > 0, labels) for values, labels in halves],
    }
    found = {name: _best(*on) for name, on in measures.items()}
    return found | {"of_one": _of_one(*((values > 0, labels) for values, labels in halves))}


def by_token(tokens: Tensor, chosen: Tensor, size: int) -> dict[str, float]:
    """The AUROC of what a token of `tokens [N]`, ids below `size`, says alone: how often an expert was chosen at it on
    the first half, on the second; for an unseen token, how often at all."""
    middle = len(tokens) // 2
    count = torch.bincount(tokens[:middle], minlength=size).double()[:, None]
    times = torch.zeros(size, chosen.shape[1], dtype=torch.float64).index_add_(
        0, tokens[:middle], chosen[:middle].double()
    )
    rate = (times + chosen[:middle].double().mean(0)) / (count + 1)
    return {"auroc": float(auroc(rate[tokens[middle:]], chosen[middle:]).diagonal().nanmean())}


def _best(on_a: Tensor, on_b: Tensor) -> float:
    best = on_a.nan_to_num(nan=-math.inf).argmax(0)
    return float(on_b[best, torch.arange(len(best))].nanmean())


def _of_one(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """NaN where no feature fires often enough."""
    (fired_a, chosen_a), (fired_b, chosen_b) = a, b
    expert = (fired_a.double().T @ chosen_a.double()).argmax(1)
    times = fired_b.sum(0)
    often = times >= _OFTEN
    with_it = (fired_b.double().T @ chosen_b.double()).gather(1, expert[:, None]).squeeze(1)
    return float((with_it[often] >= _ALWAYS * times[often]).double().mean())
