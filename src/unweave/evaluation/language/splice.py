"""Dictionaries in a subject's forward pass: each reads what stands at its site, and its reconstruction takes the place.

Several at once read the stream as those before them have left it. Only what dictionaries learn from is replaced.
Shapes: G rows, S positions, R positions that are replaced, D width of a site, single or joined, N counted positions, V
alphabet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from unweave.subject import joined
from unweave.subject.base import Edit, Subject
from unweave.subject.sequences import Sequences

Place = str | tuple[str, str]
"""A site; or the one that a transcoder reads, and the one that it writes."""

Rebuild = Callable[[Tensor], Tensor]
"""What is to stand at the target, made from what stands at the site: `[R, D] -> [R, D']`, both float32."""


@dataclass(frozen=True)
class _Graft:
    """reads, writes: single sites; target: those that are written, joined. ahead: it writes before all that it reads
    has come by, and is given what the subject as it is has there."""

    rebuild: Rebuild
    site: str
    target: str
    reads: list[str]
    writes: list[str]
    ahead: bool


class Splice:
    """Dictionaries at their places in a subject."""

    def __init__(self, subject: Subject, dictionaries: Mapping[Place, Rebuild]) -> None:
        """Raises ValueError for an unknown site, and for two dictionaries that write the same one."""
        self._known = subject.sites()
        order = {site: i for i, site in enumerate(self._known)}
        self._grafts: list[_Graft] = []
        for place, rebuild in dictionaries.items():
            site, target = (joined.resolve(one, self._known) for one in both(place))
            reads, writes = site.split("+"), target.split("+")
            ahead = max(order[one] for one in reads) > min(order[one] for one in writes)
            self._grafts.append(_Graft(rebuild, site, target, reads, writes, ahead))
        written = [one for graft in self._grafts for one in graft.writes]
        if twice := {one for one in written if written.count(one) > 1}:
            raise ValueError(f"two dictionaries write {min(twice)}: the later would hide the earlier")

    def log_probs(self, sequences: Sequences) -> Tensor:
        """`[N, V]`: the next token's log-probabilities. Raises ValueError for reconstructions of another shape, or with
        NaN or infinite values."""
        at_work = _Pass(sequences, self._known, self._grafts)
        with torch.no_grad():
            return sequences.edited(at_work.edits())


def both(place: Place) -> tuple[str, str]:
    """What is read and what is written at a place."""
    return (place, place) if isinstance(place, str) else place


class _Pass:
    """One forward pass: what each dictionary has been shown so far, and what it made of it."""

    def __init__(self, sequences: Sequences, known: Mapping[str, int], grafts: list[_Graft]) -> None:
        self.sequences, self.known, self.grafts = sequences, known, grafts
        clean = sequences.read([graft.site for graft in grafts if graft.ahead])
        self.seen: list[dict[str, Tensor]] = [
            joined.split(clean[graft.site], graft.site, known) if graft.ahead else {} for graft in grafts
        ]
        self.made: dict[int, dict[str, Tensor]] = {}

    def edits(self) -> dict[str, Edit]:
        return {site: partial(self._at, site) for graft in self.grafts for site in (*graft.reads, *graft.writes)}

    def _at(self, site: str, x: Tensor) -> Tensor:
        """What the forward pass goes on with from `x [G, S, D]`: a dictionary that reads and writes here reads x, all
        others what that one leaves."""
        writer = next((i for i, graft in enumerate(self.grafts) if site in graft.writes), None)
        if writer is not None:
            self._show(writer, site, x)
            x = self.sequences.put(self._rebuilt(writer)[site], x)
        for i in range(len(self.grafts)):
            if i != writer:
                self._show(i, site, x)
        return x

    def _show(self, i: int, site: str, x: Tensor) -> None:
        if site in self.grafts[i].reads and not self.grafts[i].ahead:
            self.seen[i][site] = self.sequences.take(x)

    def _rebuilt(self, i: int) -> dict[str, Tensor]:
        """By single site what the dictionary writes there, made when the first of them comes by."""
        if i not in self.made:
            graft = self.grafts[i]
            x = torch.cat([self.seen[i][site] for site in graft.reads], -1).float()
            x_hat = graft.rebuild(x)
            shape = [len(x), sum(joined.widths(graft.target, self.known))]
            if list(x_hat.shape) != shape:
                raise ValueError(f"the reconstructions at {graft.target} should be {shape}, not {list(x_hat.shape)}")
            if not x_hat.isfinite().all():
                raise ValueError(f"the reconstructions at {graft.target} have NaN or infinite values")
            self.made[i] = joined.split(x_hat, graft.target, self.known)
        return self.made[i]
