"""How well a subject knows Othello: what its predictions are worth on games it never saw, beside the best there is.

Shapes: G games, T plies, S positions, V alphabet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unweave.othello import labels, tokens
from unweave.subject.base import Subject


@dataclass(frozen=True)
class Legality:
    """Means over the positions that have a next move. Cross-entropies and entropy in nats.

    illegal_rate: share of positions at which the likeliest token is no legal move (Li et al. 2022, arXiv 2210.13382,
        Sect. 2.3, who report 0.01 % for theirs and 93 % untrained).
    illegal_mass: mean probability given to tokens that are no legal move (padding among them).
    cross_entropy: against the exact distribution of the next move, uniform over the legal ones.
    entropy: of that distribution; no model of such games has a lower cross_entropy.
    cross_entropy_sampled: against the moves that were played.
    """

    games: int
    positions: int
    illegal_rate: float
    illegal_mass: float
    cross_entropy: float
    entropy: float
    cross_entropy_sampled: float


@torch.no_grad()
def score(subject: Subject, moves: Tensor, batch: int = 64) -> Legality:
    """Score `subject` on the games `moves [G, T]` (squares, -1 once over), `batch` games at a time.

    Raises ValueError when no position of the games has a next move.
    """
    sums = torch.zeros(6, dtype=torch.float64)
    for part in moves.split(batch):
        n = min(subject.n_positions, part.shape[1] - 1)
        exact = labels.next_move_distribution(part)[:, :n]
        ids = tokens.encode(part)
        seen = exact.sum(-1) > 0
        log_q = subject.run(ids[:, :n]).double().log_softmax(-1)[seen]  # [positions, V]
        p, played = exact[seen].double(), ids[:, 1 : n + 1][seen].unsqueeze(-1)
        best = log_q.argmax(-1, keepdim=True)
        each = [
            torch.ones(len(p)),
            p.gather(-1, best) == 0,
            (log_q.exp() * (p == 0)).sum(-1),
            -(p * log_q).sum(-1),
            -torch.xlogy(p, p).sum(-1),
            -log_q.gather(-1, played),
        ]
        sums += torch.stack([value.double().sum().cpu() for value in each])
    if sums[0] == 0:
        raise ValueError("no position of these games has a next move: there is nothing to score")
    illegal, mass, exact_ce, entropy, sampled_ce = (sums[1:] / sums[0]).tolist()
    return Legality(len(moves), int(sums[0]), illegal, mass, exact_ce, entropy, sampled_ce)
