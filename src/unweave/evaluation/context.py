"""What scoring several dictionaries of one site has in common: the held-out games, and what is true of them.

Features are chosen on half A of the held-out games and scored on half B.
Shapes: G games, N positions of a half, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from unweave.activations.corpus import of_games
from unweave.activations.harvest import harvest
from unweave.config import RunConfig
from unweave.evaluation.definitions import FORWARD_GAMES
from unweave.evaluation.faithfulness import Faithfulness
from unweave.evaluation.ground_truth import BoardLabels
from unweave.evaluation.readout import Readout
from unweave.evaluation.truth import TruthScores, score
from unweave.othello import games, labels
from unweave.subject import joined, load
from unweave.subject.base import ReadsText
from unweave.subject.sites import parse
from unweave.threads import side_by_side


@dataclass(frozen=True)
class Half:
    """Held-out games `[G, 60]`, what is true at each harvested position, and where it is: game, ply `[N] int64`.

    vectors: by site, `[N, D]`.
    """

    moves: Tensor
    truth: BoardLabels
    vectors: dict[str, Tensor]
    game: Tensor
    ply: Tensor


class Context:
    """Held-out games of a subject at a site; activations and truth are computed when first asked for."""

    def __init__(
        self,
        subject: str,
        site: str,
        target: str = "",
        *,
        n_games: int = 2000,
        seed: int = 1,
        split: games.Split = "test",
        like: Context | None = None,
    ) -> None:
        """target: the site that a transcoder reconstructs, if not the one it reads. n_games: so many of the split's
        stream of `seed`: the first half chooses features, the second scores them. split: "validation" for whatever is
        chosen by its scores. like: another subject's context, whose games these then are, played and labelled once.

        Raises ValueError for fewer than 2 games, or an unknown site or subject.
        """
        if like is not None:
            n_games, seed, split = like.n_games, like.seed, like.split
        if n_games < 2:
            raise ValueError(
                f"{n_games} games cannot be halved: features are chosen on one half and scored on the other"
            )
        if seed < 0:
            raise ValueError(f"the held-out games need a seed of at least 0, not {seed}")
        self.call, self.n_games, self.seed = subject, n_games, seed
        self.split: games.Split = split
        self._like = like
        self.subject = load(subject)
        if isinstance(self.subject, ReadsText):
            raise ValueError(f"{subject} reads text, not games: unweave.evaluation.language scores its dictionaries")
        self.site = joined.resolve(site, self.subject.sites())
        self.target = joined.resolve(target or site, self.subject.sites())

    def fits(self, config: RunConfig) -> bool:
        """Whether a run's dictionary can be scored here."""
        known = self.subject.sites()
        asked = joined.resolve(config.site, known), joined.resolve(config.target or config.site, known)
        return config.subject == self.call and asked == (self.site, self.target)

    @property
    def games(self) -> dict[str, Any]:
        """Which games these are, as evaluation.json has it."""
        a, b = self.halves
        return {
            "split": self.split,
            "seed": self.seed,
            "count": self.n_games,
            "positions": len(a.ply) + len(b.ply),
            "chosen_on": len(a.moves),
            "scored_on": len(b.moves),
        }

    @property
    def neurons(self) -> str:
        """The site of the last MLP neurons that had a part in `site` (in the first of several); where none had, the
        first there are."""
        kind, layer = parse(self.site.partition("+")[0])
        after = kind in ("mlp_act", "mlp_out", "resid_post")
        return f"mlp_act.{max((layer or 0) - (not after), 0)}"

    @cached_property
    def halves(self) -> tuple[Half, Half]:
        if self._like is not None:
            like = self._like.halves
            moves = [half.moves for half in like]
        else:
            like, sampled = (None, None), games.sample(self.split, self.n_games, self.seed)
            moves = [sampled[: self.n_games // 2], sampled[self.n_games // 2 :]]
        sites = [self.site, self.target]
        made = [partial(self.half, played, sites, same) for played, same in zip(moves, like, strict=True)]
        a, b = side_by_side(made)
        return a, b

    def half(self, moves: Tensor, sites: Sequence[str], like: Half | None = None) -> Half:
        """Any games as the halves are, with activations at `sites`. like: the same games, as another subject read
        them."""
        found = harvest(self.subject, of_games(moves), sites)
        at = found.row, found.position
        if like is not None and torch.equal(at[0], like.game) and torch.equal(at[1], like.ply):
            return Half(moves, like.truth, found.vectors, *at)
        truth = labels.label(moves)
        board = BoardLabels(truth.board[at].numpy(), truth.legal[at].numpy(), found.position.numpy())
        return Half(moves, board, found.vectors, *at)

    def score(self, a: Readout, b: Readout) -> TruthScores:
        """A readout, given on both halves, against the truth."""
        first, second = self.halves
        return score(a, first.truth, b, second.truth)

    def prepare(self) -> None:
        """Make now what is otherwise made when first asked for: once, before several threads ask."""
        _ = self.halves, self.faithfulness

    @cached_property
    def forward(self) -> Tensor:
        """`[N] bool`: the positions of half B that are spliced, those of its first games that have a next one."""
        _, b = self.halves
        return (b.game < FORWARD_GAMES) & (b.ply < games.PLIES - 1)

    @cached_property
    def faithfulness(self) -> Faithfulness:
        """What splicing does to the first games of half B."""
        _, b = self.halves
        moves = b.moves[:FORWARD_GAMES]
        allowed = labels.next_move_distribution(moves)[:, :-1] > 0
        mean = b.vectors[self.target].mean(0)
        return Faithfulness(self.subject, self.target, of_games(moves), mean, allowed=allowed)
