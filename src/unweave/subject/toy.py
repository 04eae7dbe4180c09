"""A subject whose features are known: sparse sums of more directions than it has dimensions (Elhage et al. 2022,
transformer-circuits.pub/2022/toy_model). What a dictionary finds can be held against them one by one.

It reads any tokens; a position's features are drawn from a hash of the tokens up to there, so that the same tokens
give the same activations and different ones have nothing to do with each other.
Shapes: B sequences, S positions, F features, D width, V alphabet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unweave.subject.base import SUBJECTS, Alphabet, Edit
from unweave.subject.othello import ALPHABET
from unweave.subject.sites import resolve

SITE = "embed"


class Toy:
    """A `Subject` with one site. directions: `[F, D]`, of norm 1; independent: `[F] bool`, the features that are in no
    pair and no family."""

    def __init__(
        self, n_features: int, d: int, p: float, pairs: int, correlation: float, children: int, seed: int
    ) -> None:
        # Hashed, or a dictionary of the same seed and shape would start with these very directions.
        draw = torch.Generator().manual_seed(int(_hash(torch.tensor(seed))))
        directions = torch.randn(n_features, d, generator=draw)
        self.directions = directions / directions.norm(dim=1, keepdim=True)
        self.head = torch.randn(d, ALPHABET.size, generator=draw) / d**0.5
        self.p, self.pairs, self.correlation, self.children = p, pairs, correlation, children
        self.keys = torch.randint(-(2**62), 2**62, (3, n_features), generator=draw)
        self.independent = torch.ones(n_features, dtype=torch.bool)
        self.independent[: 2 * pairs] = False
        self.independent[n_features - 2 * children :] = False

    @property
    def alphabet(self) -> Alphabet:
        return ALPHABET

    @property
    def n_positions(self) -> int:
        return 59

    def sites(self) -> dict[str, int]:
        return {SITE: self.directions.shape[1]}

    def codes(self, tokens: Tensor) -> Tensor:
        """`[B, S, F]`: how much of each feature is at each position of `tokens [B, S]`: 0.5 to 1.5 where it is active.

        Each is active with probability p. The first 2 * pairs belong together by twos: the second does as the first
        with probability `correlation`, and else as it likes. Of the last 2 * children the first half are parents, the
        second half their children, active half of the times that the parent is, and never without it.
        """
        state = _hash(tokens.new_zeros(len(tokens)))
        states = []
        for column in tokens.unbind(1):
            state = _hash(state ^ _hash(column + 1))
            states.append(state)
        at = torch.stack(states, 1).unsqueeze(-1)
        fires, follows, size = (_uniform(_hash(at ^ key)) for key in self.keys)
        active = fires < self.p
        first, second = slice(0, 2 * self.pairs, 2), slice(1, 2 * self.pairs, 2)
        active[..., second] = torch.where(
            follows[..., second] < self.correlation, active[..., first], active[..., second]
        )
        n, c = len(self.directions), self.children
        if c:
            active[..., n - c :] = active[..., n - 2 * c : n - c] & (follows[..., n - c :] < 0.5)
        return active * (0.5 + size).float()

    def activations(self, tokens: Tensor) -> Tensor:
        """`[B, S, D]`."""
        return self.codes(tokens) @ self.directions

    def read(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        for site in sites:
            resolve(site, self.sites())
        return {site: self.activations(tokens) for site in sites}

    def run(self, tokens: Tensor, edits: Mapping[str, Edit] | None = None) -> Tensor:
        x = self.activations(tokens)
        for site, edit in (edits or {}).items():
            resolve(site, self.sites())
            edited = edit(x)
            if edited.shape != x.shape:
                raise ValueError(
                    f"the edit at {site} made {list(edited.shape)} of {list(x.shape)}: the shape must stay"
                )
            x = edited
        return x @ self.head


@SUBJECTS.register
def toy(
    n_features: int = 64,
    d: int = 32,
    p: float = 0.05,
    pairs: int = 0,
    correlation: float = 0.9,
    children: int = 0,
    seed: int = 0,
) -> Toy:
    """Planted features; see `Toy`. Raises ValueError for what cannot be drawn."""
    if n_features < 1 or d < 1 or not 0 < p < 1 or not 0 <= correlation <= 1:
        raise ValueError(
            "toy: n_features and d must be at least 1, p between 0 and 1, correlation from 0 to 1, "
            f"not n_features={n_features}, d={d}, p={p}, correlation={correlation}"
        )
    if pairs < 0 or children < 0 or 2 * pairs + 2 * children > n_features:
        raise ValueError(
            f"toy: {pairs} pairs and {children} parents with a child do not fit into {n_features} features"
        )
    return Toy(n_features, d, p, pairs, correlation, children, seed)


def _hash(x: Tensor) -> Tensor:
    """A 64-bit mixing of each entry of an int64 tensor (splitmix64; Steele et al. 2014, Sect. 4)."""
    x = x + _GOLDEN
    x = (x ^ _right(x, 30)) * _FIRST
    x = (x ^ _right(x, 27)) * _SECOND
    return x ^ _right(x, 31)


def _right(x: Tensor, by: int) -> Tensor:
    """Shifted right with zeros coming in, which int64 does not do by itself."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _uniform(x: Tensor) -> Tensor:
    """`float64` in [0, 1) from the upper 53 bits."""
    return _right(x, 11).double() * 2.0**-53


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x


_GOLDEN, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
