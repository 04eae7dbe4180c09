"""What a subject predicts, as it is and with dictionaries spliced in, over any number of rows.

Rows are run part by part, and in each part everything that is compared: nothing of the alphabet's size outlives its
part. Sums are float64. Shapes: G rows, S positions, N counted positions of a part, V alphabet, D width of a site.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from unweave.activations.harvest import harvest
from unweave.evaluation.faithfulness import divergence
from unweave.evaluation.language.splice import Place, Rebuild, Splice, both
from unweave.rows import Rows
from unweave.subject import joined
from unweave.subject.base import Subject
from unweave.subject.sequences import Sequences

# Log-probabilities of a part: 128 MB, and a few times that while they are compared.
_ENTRIES = 1 << 25
# Positions of a part: enough to keep the matrix products busy.
POSITIONS = 4096

Seen = Callable[[int, Sequences, Tensor, Tensor], None]
"""Is shown, of each part, which group was spliced in, and the cross-entropy of every counted position before and after,
`[N]` each."""


def parts(rows: Rows, positions: int) -> Iterator[Rows]:
    """So many rows at a time that they have at most `positions` positions, but at least one."""
    return rows.split(max(1, positions // rows.tokens.shape[1]))


class Predictions:
    """A subject on rows of tokens."""

    def __init__(self, subject: Subject, rows: Rows, *, positions: int | None = None) -> None:
        """rows: `[G, S]`, of which the subject reads as much as it takes. A position is counted when its next token is
        there and not padding, and replaced when dictionaries learn from it. positions: how many to run at a time, in
        whole rows.

        Raises ValueError for fewer than two positions in a row, or none to count.
        """
        self.subject, self.rows = subject, rows.until(subject.n_positions + 1)
        self._positions = positions or min(POSITIONS, _ENTRIES // subject.alphabet.size)
        if not Sequences(subject, self.rows).counted.any():
            raise ValueError("no position has a next token to predict: every target is padding")
        self._means: dict[str, Tensor] = {}

    def means(self, sites: Sequence[str]) -> dict[str, Tensor]:
        """By site the mean `[D] float64` of the activations that dictionaries learn from. Raises what `harvest` does,
        and ValueError where there are none."""
        if wanted := [site for site in dict.fromkeys(sites) if site not in self._means]:
            sums, n = dict.fromkeys(wanted, torch.zeros(())), 0
            for part in parts(self.rows, POSITIONS):
                found = harvest(self.subject, part, wanted)
                sums, n = (
                    {site: sums[site] + x.double().sum(0) for site, x in found.vectors.items()},
                    n + len(found.row),
                )
            if not n:
                raise ValueError("there is nothing to replace: every position is a separator or the first of its row")
            self._means |= {site: total / n for site, total in sums.items()}
        return {site: self._means[site] for site in sites}

    def spliced(
        self, groups: Sequence[Mapping[Place, Rebuild]], seen: Seen = lambda i, sequences, before, after: None
    ) -> list[dict[str, float]]:
        """The scores of each group of dictionaries, all of a group spliced in together: the cross-entropy and the
        divergences of `definitions`, with what ablating the group's targets makes of them.

        Raises ValueError for what `Splice` refuses, and predictions that are not finite.
        """
        targets = [tuple(self._resolved(both(place)[1]) for place in group) for group in groups]
        mean = self.means([target for each in targets for target in each])
        splices = [Splice(self.subject, group) for group in groups]
        ablated = {
            (each, name): Splice(self.subject, {target: to(mean[target].float()) for target in each})
            for each in dict.fromkeys(targets)
            for name, to in (("zero", _zeros), ("mean", _constant))
        }
        every = [*splices, *ablated.values()]
        tallies, normal = [_Tally() for _ in every], _Tally()
        for part in parts(self.rows, self._positions):
            sequences = Sequences(self.subject, part)
            with torch.no_grad():
                as_it_is = sequences.log_probs()
            before = _cross_entropy("as it is", sequences, as_it_is)
            normal.add(before, torch.zeros(()))
            for i, (splice, tally) in enumerate(zip(every, tallies, strict=True)):
                log_probs = splice.log_probs(sequences)
                after = _cross_entropy("with the site replaced", sequences, log_probs)
                tally.add(after, divergence(as_it_is, log_probs))
                if i < len(splices):
                    seen(i, sequences, before, after)
        of = dict(zip(ablated, tallies[len(splices) :], strict=True))
        return [
            _scores(normal, tally, of[each, "zero"], of[each, "mean"])
            for each, tally in zip(targets, tallies, strict=False)
        ]

    def _resolved(self, site: str) -> str:
        return joined.resolve(site, self.subject.sites())


def _zeros(mean: Tensor) -> Rebuild:
    return lambda x: torch.zeros_like(mean, device=x.device).expand(len(x), -1)


def _constant(mean: Tensor) -> Rebuild:
    return lambda x: mean.to(x.device).expand(len(x), -1)


class _Tally:
    """ce, kl: nats, summed over the n positions so far."""

    def __init__(self) -> None:
        self.n, self.ce, self.kl = 0, 0.0, 0.0

    def add(self, ce: Tensor, kl: Tensor) -> None:
        self.n += len(ce)
        self.ce += float(ce.sum())
        self.kl += float(kl.double().sum())

    @property
    def mean_ce(self) -> float:
        return self.ce / self.n


def _cross_entropy(what: str, sequences: Sequences, log_probs: Tensor) -> Tensor:
    """`[N] float64`, of log-probabilities `[N, V]`. Raises ValueError where it is not finite."""
    ce = -log_probs.gather(1, sequences.next.to(log_probs.device)[:, None]).squeeze(1).double().cpu()
    if not ce.isfinite().all():
        row, position = sequences.counted.nonzero()[int((~ce.isfinite()).nonzero()[0])].tolist()
        tokens = sequences.inputs[row, max(0, position - 7) : position + 1].tolist()
        raise ValueError(
            f"the subject's predictions {what} are not finite at position {position}, where the tokens end in {tokens}"
        )
    return ce


def _scores(normal: _Tally, spliced: _Tally, zero: _Tally, mean: _Tally) -> dict[str, float]:
    ce, after = normal.mean_ce, spliced.mean_ce
    return {
        "ce/1": ce,
        "perplexity/1": _exp(ce),
        "ce_zero/1": zero.mean_ce,
        "ce_mean/1": mean.mean_ce,
        "ce_spliced/1": after,
        "perplexity_spliced/1": _exp(after),
        "ce_increase/1": after - ce,
        "ce_score/1": _share(zero.mean_ce - after, zero.mean_ce - ce),
        "ce_score_mean/1": _share(mean.mean_ce - after, mean.mean_ce - ce),
        "kl/1": spliced.kl / spliced.n,
        "kl_zero/1": zero.kl / zero.n,
        "kl_score/1": _share(zero.kl - spliced.kl, zero.kl),
    }


def _exp(ce: float) -> float:
    return math.exp(ce) if ce < 700 else math.nan  # more is no number in float64


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
