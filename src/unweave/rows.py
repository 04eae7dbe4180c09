"""Rows of tokens: what a subject reads at once, games and texts alike. Shapes: G rows, S positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """tokens: `[G, S] int64`, padded at the end. there: `[G, S] bool`, the positions that are not padding. learn:
    `[G, S] bool`, those of them whose activations a dictionary learns from, and stands in for.

    They differ in text: separators, and the first position of a row, whatever stands there, have activations that are
    many times as long as all others', and say nothing of the text.
    """

    tokens: Tensor
    there: Tensor
    learn: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice | Tensor) -> Rows:
        return Rows(self.tokens[rows], self.there[rows], self.learn[rows])

    def until(self, n: int) -> Rows:
        """The first n positions of each row."""
        return Rows(self.tokens[:, :n], self.there[:, :n], self.learn[:, :n])

    def split(self, n: int) -> Iterator[Rows]:
        """n rows at a time; at least one part, if an empty one."""
        return (self[start : start + n] for start in range(0, max(1, len(self)), n))
