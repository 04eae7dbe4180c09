"""The dictionary (sparse autoencoder) and the method that trains one.

A method is a value, never a subclass: how an input becomes codes, what to minimise, what to do after a step.
Shapes: B batch, D width (d_in), F features (d_sae).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from unweave.cards.card import card
from unweave.dictionary.codes import Codes, Encoded, combine
from unweave.dictionary.encoder import ENCODERS
from unweave.dictionary.kernels import pairs
from unweave.dictionary.kernels.select import Above
from unweave.dictionary.kernels.sparse import rows
from unweave.dictionary.normalise import normalisation
from unweave.registry import Registry

Distance = Callable[[Tensor, Tensor], Tensor]
"""How far a reconstruction `[B, D]` is from its target `[B, D]`: a scalar, mean over the batch."""


@dataclass(frozen=True)
class Step:
    """All that a loss term or an after-step may look at, in the dictionary's normalised units.

    x, target: `[B, D]` the input and what is to be reconstructed (the same, unless transcoding).
    codes, x_hat: what the dictionary made of x, and its reconstruction `[B, D]`.
    made: the pre-activations `[B, F]`, where the coder made those of all features on its way to the codes.
    silent: `[F] int64`, how many vectors ago each feature was last active.
    number, steps: how many steps were taken before this one, and how many there will be.
    distance: the objective that was chosen beside the method.
    forget: clears what the optimiser remembers of some features `[n] int64`, after their weights were set anew.
    """

    x: Tensor
    target: Tensor
    codes: Codes
    made: Tensor | None
    x_hat: Tensor
    dictionary: Dictionary
    silent: Tensor
    number: int
    steps: int
    distance: Distance
    forget: Callable[[Tensor], None]

    @property
    def progress(self) -> float:
        """0 at the first step, towards 1 at the last."""
        return self.number / self.steps

    def pre(self, features: Tensor | None = None) -> Tensor:
        """The pre-activations `[B, F]`, or those of some features only. Computed when asked for, with gradient."""
        return self._pre if features is None else self.dictionary.pre_normalised(self.x, features)

    @cached_property
    def _pre(self) -> Tensor:
        return self.dictionary.pre_normalised(self.x) if self.made is None else self.made

    def generator(self) -> torch.Generator:
        """Random numbers that belong to this step alone, so that a resumed training draws the same ones."""
        return torch.Generator().manual_seed(self.number)


Term = Callable[[Step], Tensor]
"""A scalar to minimise, mean over the batch."""


class Activation(nn.Module, ABC):
    """From pre-activations `[B, F]` to codes. What a pre-activation must exceed to pass, if not 0, is kept as
    `threshold`, a parameter or buffer, `[F]` or a scalar."""

    @abstractmethod
    def forward(self, pre: Tensor) -> Codes: ...

    def rescale_(self, factor: float) -> None:
        """Follow the pre-activations when all are multiplied by `factor`: a threshold is multiplied too."""


class Selection(Activation):
    """An activation that lets a few pre-activations pass, rectified, and nothing of the others: codes are sparse.

    by_row: whether what passes of an input does not depend on the others of its batch. either: whether codes are dense
    where many pass (`forward` makes them so): which of the two is a question of speed alone.
    """

    either = False

    @property
    def by_row(self) -> bool:
        return False

    @property
    def choice(self) -> pairs.Select:
        """`select` as a value, which may say more of itself."""
        return self.select

    @abstractmethod
    def select(self, pre: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs that pass of `pre [B, F]`, row by row: offsets `[B + 1] int64`, features `[n] int64`."""

    def values(self, pre: Tensor, features: Tensor | None = None) -> Tensor:
        """The codes of pre-activations that pass, `pre [n]` of the features `[n]`."""
        return pre.relu()

    def forward(self, pre: Tensor) -> Codes:
        offsets, features = self.select(pre.detach())
        return self.codes(offsets, features, pre[rows(offsets, len(features)), features], pre.shape[1])

    def codes(self, offsets: Tensor, features: Tensor, pre: Tensor, d_sae: int) -> Encoded:
        """What `select` let pass, with the pre-activations `[n]` of it."""
        return Encoded(offsets, features, self.values(pre, features), d_sae, pre)


class Pointwise(Selection):
    """An activation of each pre-activation by itself, of which nothing comes up to a floor."""

    either = True

    @property
    def by_row(self) -> bool:
        return True

    @property
    @abstractmethod
    def choice(self) -> Above:
        """Above what a pre-activation has a code, or a gradient."""

    @abstractmethod
    def values(self, pre: Tensor, features: Tensor | None = None) -> Tensor:
        """The codes of all `pre [B, F]`, or of `pre [n]` of the features `[n]`."""

    def select(self, pre: Tensor) -> tuple[Tensor, Tensor]:
        return self.choice(pre)

    def forward(self, pre: Tensor) -> Tensor:
        return self.values(pre)


class Coder(nn.Module, ABC):
    """How inputs become codes. It owns the encoder's weights, features on the last axis of each.

    reads_decoder: whether it has none of its own, and reads along the decoder's rows. folds: whether normalisation may
    be folded into it; not if its choices build on one another, so that another rounding of one changes those after it.
    """

    reads_decoder = False
    folds = True

    @abstractmethod
    def pre(self, x: Tensor, W_dec: Tensor, b_dec: Tensor, features: Tensor | None = None) -> Tensor:
        """Pre-activations `[B, F]` of x `[B, D]`, or only those of `features`."""

    @abstractmethod
    def forward(self, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> tuple[Codes, Tensor | None]:
        """The codes of x `[B, D]`, and the pre-activations `[B, F]` where those of all features were made on the way:
        a loss that looks at them need not make them again."""

    @abstractmethod
    def rescale_(self, factor: float) -> None:
        """Multiply every code by `factor` for inputs (and b_dec) that are multiplied by it."""

    @abstractmethod
    def follow_(self, by: Tensor) -> None:
        """Read as before where b_dec has moved by `by [D]`: every pre-activation stays as it is."""

    @abstractmethod
    def restart_(self, features: Tensor, directions: Tensor, size: float) -> None:
        """Let `features [n]` read along the unit `directions [n, D]` from now on, without bias, with weights `size`
        times as long as the average of the other features' (of their own, if they are all)."""


def length_of_others(W_enc: Tensor, features: Tensor) -> Tensor:
    """The mean norm of the columns of `W_enc [D, F]` that are not `features [n]`, or of all if those are all."""
    others = torch.ones(W_enc.shape[1], dtype=torch.bool, device=W_enc.device)
    others[features] = False
    return W_enc[:, others if others.any() else features].norm(dim=0).mean()


class Linear(Coder):
    """pre = (x - b_dec) W_enc + b_enc, codes = activation(pre): the coder of nearly every method.

    The encoder starts as the decoder's transpose, with no bias (Gao et al. 2024, arXiv 2406.04093, App. A.1).
    """

    def __init__(self, W_dec: Tensor, activation: Activation) -> None:
        super().__init__()
        self.W_enc = nn.Parameter(W_dec.T.contiguous())
        self.b_enc = nn.Parameter(W_dec.new_zeros(len(W_dec)))
        self.activation = activation

    def pre(self, x: Tensor, W_dec: Tensor, b_dec: Tensor, features: Tensor | None = None) -> Tensor:
        W, b = (self.W_enc, self.b_enc) if features is None else (self.W_enc[:, features], self.b_enc[features])
        # b_dec goes into the bias: taken from x, it would cost a product of the encoder's size in the backward pass.
        return torch.addmm(b - b_dec @ W, x, W)

    def forward(self, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> tuple[Codes, Tensor | None]:
        return self.through(self.activation, x, W_dec, b_dec)

    def through(self, activation: Activation, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> tuple[Codes, Tensor | None]:
        """`forward` with another activation of the same pre-activations."""
        affine = x, self.W_enc, self.b_enc, b_dec
        whole = not isinstance(activation, Selection)
        if whole or (activation.either and not pairs.shorter(*affine, activation.choice)):
            pre = self.pre(x, W_dec, b_dec)
            return activation(pre), pre
        made = pairs.encode(*affine, activation.choice, activation.by_row)
        return activation.codes(*made, len(self.b_enc)), None

    @torch.no_grad()
    def rescale_(self, factor: float) -> None:
        self.b_enc *= factor
        self.activation.rescale_(factor)

    @torch.no_grad()
    def follow_(self, by: Tensor) -> None:
        self.b_enc += by @ self.W_enc

    @torch.no_grad()
    def restart_(self, features: Tensor, directions: Tensor, size: float) -> None:
        self.W_enc[:, features] = size * length_of_others(self.W_enc, features) * directions.T
        self.b_enc[features] = 0


AfterStep = Callable[[Step], None]


@dataclass(frozen=True, kw_only=True)
class Method:
    """source: the paper, and where it says so; coder: from the initial `W_dec [F, D]` to the coder; losses: by name, a
    weight and a term (reconstruction included); penalties: the same, of those that ask for sparsity, which
    `training.penalty_warmup` brings in slowly; after_step: run in place after an optimiser step, without gradient;
    own_gradient: parameters whose gradient follows a rule that the method writes down, not the loss: a straight-through
    estimate where the true one is 0, or a term that holds them fixed."""

    source: str
    coder: Callable[[Tensor], Coder]
    losses: Mapping[str, tuple[float, Term]]
    penalties: Mapping[str, tuple[float, Term]] = field(default_factory=dict)
    after_step: tuple[AfterStep, ...] = field(default=())
    own_gradient: tuple[str, ...] = field(default=())


METHODS: Registry[Method] = Registry("method")
method = METHODS.register
"""Enters a function that returns a Method: its name is the method's, its arguments are the hyperparameters."""


class Dictionary(nn.Module):
    """The normalisation of what comes in, a lift where the encoder is deep, a coder and a decoder.

    x_hat = codes W_dec + b_dec, in normalised units; `encode` takes and `decode` gives the subject's own units.
    With a `d_out` it is a transcoder: x_hat is of another site than x (Dunefsky et al. 2024, arXiv 2406.11944), with a
    normalisation of its own and, with `skip`, x W_skip added (Paulo et al. 2025, arXiv 2501.18823).
    """

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        method: str,
        *,
        encoder: str = "affine()",
        normalise: str = "none",
        d_out: int | None = None,
        skip: bool = False,
        seed: int = 0,
    ) -> None:
        """Random unit decoder rows from `seed`. Raises ValueError for a width below 1, or a method, encoder or
        normalisation that cannot be."""
        super().__init__()
        if min(d_in, d_sae, 1 if d_out is None else d_out) < 1:
            raise ValueError(
                f"a dictionary needs at least one input and one feature, not d_in {d_in} and d_sae {d_sae}"
            )
        self.call, self.method = method, METHODS.build(method)
        self.encoder, self.normalise, self.skip = encoder, normalise, skip
        self.d_in, self.d_sae, self.d_out = d_in, d_sae, d_out or d_in
        self.transcodes = d_out is not None
        if self.transcodes and normalise in ("each", "direction"):
            raise ValueError(
                f'normalise="{normalise}" cannot be undone in a transcoder: its targets\' lengths are not known'
            )
        if skip and not self.transcodes:
            raise ValueError("a skip from a site to itself would copy it: it is for transcoders")
        generator = torch.Generator().manual_seed(seed)
        self.W_dec = nn.Parameter(_unit_rows(d_sae, self.d_out, generator))
        self.b_dec = nn.Parameter(torch.zeros(self.d_out))
        # A copy: what a coder makes of it must not be the decoder itself, as a transpose with one row or column would.
        reads = _unit_rows(d_sae, d_in, generator) if self.transcodes else self.W_dec.detach().clone()
        self.coder = self.method.coder(reads)
        if self.transcodes and self.coder.reads_decoder:
            raise ValueError(f"{method} reads inputs along its decoder's rows: it cannot transcode")
        self.lift = ENCODERS.build(encoder)(d_in, generator)
        self.input = normalisation(d_in, normalise)
        self.output = normalisation(self.d_out, normalise) if self.transcodes else None
        self.W_skip = nn.Parameter(torch.zeros(d_in, self.d_out)) if skip else None

    @property
    def origin(self) -> Tensor:
        """`[d_in]`: where inputs are read from, in normalised units: b_dec, but in a transcoder, where that is of
        another site, zero."""
        return self.b_dec.new_zeros(self.d_in) if self.transcodes else self.b_dec

    def pre(self, x: Tensor) -> Tensor:
        """Pre-activations `[B, F]` of `x [B, D]`."""
        return self.pre_normalised(self.input(x))

    def pre_normalised(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """Pre-activations `[B, F]` of inputs in normalised units, or those of some features only."""
        return self.coder.pre(self.lift(x, self.origin), self.W_dec, self.origin, features)

    def encode(self, x: Tensor) -> Codes:
        """The codes of `x [B, D]`. Raises ValueError when x is of another width."""
        if x.shape[-1] != self.d_in:
            raise ValueError(f"this dictionary reads vectors of width {self.d_in}, not {x.shape[-1]}")
        return self.encode_normalised(self.input(x))

    def encode_normalised(self, x: Tensor) -> Codes:
        """The codes of inputs in normalised units."""
        return self.codes_and_pre(x)[0]

    def codes_and_pre(self, x: Tensor) -> tuple[Codes, Tensor | None]:
        """The same, and the pre-activations `[B, F]` where the coder made those of all features for them."""
        return self.coder(self.lift(x, self.origin), self.W_dec, self.origin)

    def decode_normalised(self, codes: Codes, x: Tensor) -> Tensor:
        """The reconstruction `[B, d_out]` of codes of inputs `x [B, D]`, all in normalised units."""
        x_hat = combine(codes, self.W_dec).add_(self.b_dec)
        return x_hat if self.W_skip is None else x_hat + x @ self.W_skip

    def decode(self, codes: Codes, x: Tensor | None = None) -> Tensor:
        """The reconstruction `[B, d_out]` of codes. Only a dictionary that normalises each vector by itself, or has a
        skip, needs to know the inputs `x [B, D]` for it: it raises ValueError without."""
        if x is None and self.skip:
            raise ValueError("a part of what this transcoder writes skips the codes: to decode, give the inputs too")
        before = torch.empty(0) if x is None else self.input(x)
        return self.undo(self.decode_normalised(codes, before), x)

    def undo(self, x_hat: Tensor, x: Tensor | None) -> Tensor:
        """Reconstructions `[B, d_out]` in normalised units, of inputs `x [B, D]`, in the subject's own. Raises
        ValueError where each vector is normalised by itself and x is not given."""
        return (self.output or self.input).undo(x_hat, x)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x), x)

    def _repr_html_(self) -> str:
        """A card for notebooks."""
        n = sum(each.numel() for each in self.parameters())
        facts = [
            ("method", self.call),
            ("features", f"{self.d_sae:,}"),
            ("reads", f"width {self.d_in:,}"),
            ("writes", f"width {self.d_out:,}"),
            ("encoder", self.encoder),
            ("input", self.normalise),
            ("weights", f"{n:,}"),
        ]
        return card("Transcoder" if self.transcodes else "Dictionary", "", facts)


def _unit_rows(n: int, width: int, generator: torch.Generator) -> Tensor:
    rows = torch.randn(n, width, generator=generator)
    return rows / rows.norm(dim=1, keepdim=True)
