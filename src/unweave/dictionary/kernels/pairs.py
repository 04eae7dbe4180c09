"""Products in which only the active pairs of an input and a feature take part, by whichever backend there is for them.

A dense code matrix has B F entries, of which a few in a hundred are not zero. Dense, a step is five products of 2 B F D
operations; over n active pairs it is the encoder's, the floor of a step, and 8 n D operations beside it.
Shapes: B rows, D width, F features, n active pairs; the pairs lie row by row, those of row b from offsets[b] to
offsets[b + 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import Function

from unweave.dictionary.kernels import cpu, cpu_bf16, cpu_int16, has_triton, reference, sparse
from unweave.dictionary.kernels.select import Largest
from unweave.precision import has_bfloat16

Select = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From pre-activations `[B, F]` to the active pairs: offsets `[B + 1] int64`, features `[n] int64`."""


@runtime_checkable
class Backend(Protocol):
    """A module with the parts of a step over pairs, none of them differentiable. SHARE: of all pairs, the share up to
    which they take less time than dense products."""

    SHARE: float

    @staticmethod
    def entries(x: Tensor, W: Tensor, shift: Tensor, select: Select, by_row: bool) -> tuple[Tensor, Tensor, Tensor]: ...

    @staticmethod
    def sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor: ...

    @staticmethod
    def column_sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor: ...

    @staticmethod
    def dots(offsets: Tensor, features: Tensor, left: Tensor, right: Tensor) -> Tensor: ...

    @staticmethod
    def by_feature(offsets: Tensor, features: Tensor, weights: Tensor, d_sae: int) -> tuple[Tensor, Tensor, Tensor]: ...


BACKENDS = {"reference": None, "sparse": sparse, "cpu": cpu, "cpu_bf16": cpu_bf16, "cpu_int16": cpu_int16}
"""By name those that run anywhere, but "cuda"; None where there are no pairs, but dense products."""

_PROBE = 64  # rows that tell how many pairs there are

_asked: ContextVar[str] = ContextVar("backend", default="auto")


@contextmanager
def backend(name: str) -> Iterator[None]:
    """In this thread, leave products to the backend of that name; "auto", as outside, is the fastest that there is for
    what is given."""
    before = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(before)


def check(name: str, device: torch.device) -> None:
    """Raises ValueError for a backend that tensors on that device, or this machine, cannot have."""
    of = {"cpu": "cpu", "cpu_bf16": "cpu", "cpu_int16": "cpu", "cuda": "cuda"}.get(name, device.type)
    if of != device.type:
        raise ValueError(f'the backend {name} is not for tensors on {device}: leave training.backend at "auto"')
    if name == "cuda" and not has_triton():
        raise ValueError('the backend cuda needs triton: install it, or leave training.backend at "auto"')
    if name == "cpu_bf16" and not has_bfloat16(device):
        raise ValueError(
            "the backend cpu_bf16 needs a processor with units for bfloat16 (AVX512_BF16), and this one has none: "
            'leave training.backend at "auto"'
        )
    if name == "cpu_int16" and not cpu_int16.possible():
        raise ValueError(
            "the backend cpu_int16 is for processors with AVX2 and without AVX512, and this one is another: "
            'leave training.backend at "auto"'
        )


def backend_for(x: Tensor) -> Backend | None:
    """Which backend products with `x` are left to."""
    name = _asked.get()
    if name == "auto":
        name = x.device.type if x.dtype in (torch.float32, torch.float64) else "sparse"
        if name == "cpu" and cpu_int16.possible():
            name = "cpu_int16"
        elif not (name == "cpu" or (name == "cuda" and has_triton())):
            name = "sparse"
    if name == "cuda":  # only now: triton is there for GPUs alone
        from unweave.dictionary.kernels import cuda

        return cuda
    return BACKENDS[name]


@torch.no_grad()
def shorter(x: Tensor, W: Tensor, bias: Tensor, origin: Tensor, select: Select) -> bool:
    """Whether `encode` takes less time than dense products, by the share of pairs that `select` chooses in the first
    rows: it depends on nothing else, so that a resumed training goes the same way."""
    by = backend_for(x)
    if by is None:
        return False
    if isinstance(select, Largest):  # no need to look
        return select.k <= by.SHARE * W.shape[1]
    pre = torch.addmm(bias - origin @ W, x[:_PROBE], W)
    return len(select(pre)[1]) <= by.SHARE * pre.numel()


def encode(
    x: Tensor, W: Tensor, bias: Tensor, origin: Tensor, select: Select, by_row: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The entries that `select` chooses of (x - origin) W + bias, for `x [B, D]`, `W [D, F]`: offsets, features, values
    `[n]`.

    Values are differentiable in x, W, bias and origin; the choice is not. by_row: whether it may be made for some rows
    at a time.
    """
    by = backend_for(x)
    if by is None:
        return reference.encode(x, W, bias, origin, select)
    with torch.no_grad():
        offsets, features, values = by.entries(x, W, bias - origin @ W, select, by_row)
    return offsets, features, _Encode.apply(x, W, bias, origin, values, offsets, features, by)


def decode(offsets: Tensor, features: Tensor, values: Tensor, directions: Tensor) -> Tensor:
    """`[B, D]`: for each row the sum of its features' `directions [F, D]`, each times its value. Differentiable in
    values and directions."""
    by = backend_for(directions)
    if by is None:
        return reference.decode(offsets, features, values, directions)
    return _Decode.apply(values, directions, offsets, features, by)


class _Encode(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        W: Tensor,
        bias: Tensor,
        origin: Tensor,
        values: Tensor,
        offsets: Tensor,
        features: Tensor,
        by: Backend,
    ) -> Tensor:
        ctx.save_for_backward(x, W, origin, offsets, features)
        ctx.by = by
        return values.view_as(values)  # what comes in may not go out as it is

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, W, origin, offsets, features = ctx.saved_tensors
        (g,) = grads
        dx = ctx.by.sums(offsets, features, g, W.T) if ctx.needs_input_grad[0] else None
        dW = ctx.by.column_sums(*ctx.by.by_feature(offsets, features, g, W.shape[1]), x - origin)
        dbias = torch.bincount(features, g.double(), W.shape[1]).to(g.dtype)
        dorigin = -(W @ dbias) if ctx.needs_input_grad[3] else None
        return dx, dW, dbias, dorigin, None, None, None, None


class _Decode(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, directions: Tensor, offsets: Tensor, features: Tensor, by: Backend) -> Tensor:
        ctx.save_for_backward(values, directions, offsets, features)
        ctx.by = by
        return by.sums(offsets, features, values, directions)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, directions, offsets, features = ctx.saved_tensors
        (g,) = grads
        dvalues = ddirections = None
        if ctx.needs_input_grad[0]:
            dvalues = ctx.by.dots(offsets, features, g, directions)
        if ctx.needs_input_grad[1]:
            ddirections = ctx.by.sums(*ctx.by.by_feature(offsets, features, values, len(directions)), g)
        return dvalues, ddirections, None, None, None
