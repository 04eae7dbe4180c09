"""What a subject predicts on whole sequences, as it is and with something else in an activation's place.

One code for what evaluation measures and what training through the subject's output lowers. Only what dictionaries
learn from is read and edited; only padding is not counted. Shapes: G sequences, S positions, R positions that are read,
N counted positions, D width of a site, single or joined, V alphabet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from unweave.rows import Rows
from unweave.subject import joined
from unweave.subject.base import Edit, Subject


class Sequences:
    """inputs: `[G, S]`, what the subject reads: all tokens but each sequence's last. learn: `[G, S] bool`, the R
    positions that dictionaries learn from; counted: `[G, S] bool`, the N positions whose next token is not padding;
    next: `[N] int64`, those tokens."""

    def __init__(self, subject: Subject, rows: Rows) -> None:
        """rows: `[G, S + 1]`. Raises ValueError for fewer than two positions in a row."""
        tokens = rows.tokens
        if tokens.ndim != 2 or tokens.shape[1] < 2:
            raise ValueError(f"tokens should be [G, S + 1], at least two in a row, not {list(tokens.shape)}")
        self.subject, self.inputs = subject, tokens[:, :-1]
        self.learn, self.counted = rows.learn[:, :-1], rows.there[:, 1:]
        self.next = tokens[:, 1:][self.counted]

    def read(self, sites: Sequence[str]) -> dict[str, Tensor]:
        """By site the activations `[R, D]`, sequence by sequence, without gradient. Raises ValueError for an unknown
        site."""
        found = joined.read(self.subject, self.inputs, sites)
        return {site: self.take(x) for site, x in found.items()}

    def log_probs(self, instead: Mapping[str, Tensor] | None = None) -> Tensor:
        """`[N, V]`, float32 or wider: the next token's log-probabilities at the counted positions, with `instead`
        (by site `[R, D]`) in the activations' place; with gradient where the caller has it on. Raises ValueError for an
        unknown site."""
        known = self.subject.sites()
        parts = {part: y for site, x in (instead or {}).items() for part, y in joined.split(x, site, known).items()}
        return self.edited({site: partial(self.put, y) for site, y in parts.items()})

    def edited(self, edits: Mapping[str, Edit]) -> Tensor:
        """As `log_probs`, with any edits of single sites."""
        logits = self.subject.run(self.inputs, edits)
        counted = logits[self.counted.to(logits.device)]
        return counted.log_softmax(-1, dtype=torch.promote_types(counted.dtype, torch.float32))

    def take(self, x: Tensor) -> Tensor:
        """What of `x [G, S, D]` dictionaries learn from: `[R, D]`."""
        return x[self.learn.to(x.device)]

    def put(self, y: Tensor, x: Tensor) -> Tensor:
        """An edit of `x [G, S, D]`: `y [R, D]` where dictionaries learn from it, and x elsewhere."""
        return x.masked_scatter(self.learn.to(x.device).unsqueeze(-1), y.to(x))
