"""As `cpu`, with bounds of what may be chosen by integers of 16 bits, of which AVX2 multiplies twice as many at once as
of floats: for processors without wider registers than it has.

The floor is half of torch's product; it takes 0.55 to 0.65 of it. Before that W is rounded and dealt out anew, 3 ns an
entry, which many rows must make up for.
Shapes: B rows, D width, F columns, P panels of `WIDTH` columns.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache
from threading import get_ident
from typing import Any, no_type_check

import llvmlite.binding as llvm
import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from unweave.dictionary.kernels import cpu, nominate
from unweave.dictionary.kernels.cpu import SHARE, by_feature, column_sums, dots, sums
from unweave.dictionary.kernels.nominate import UNSEEN
from unweave.dictionary.kernels.select import Above, Largest, LargestOfAll
from unweave.threads import in_parts

__all__ = ["SHARE", "Bounds", "by_feature", "column_sums", "dots", "entries", "possible", "sums"]

ROWS, VECTORS, LANES = 6, 2, 8
"""A tile of the product: as many sums as the processor's 16 registers hold beside what is multiplied."""
WIDTH = VECTORS * LANES
_LONGEST = 46_340  # the square of it is just below 2^31
_LARGEST = 32_767
_EPS = 2.0**-23


@cache
def possible() -> bool:
    """Whether this processor has the instructions, and no wider ones for floats, which are as fast."""
    features = llvm.get_host_cpu_features() if platform.machine() in ("x86_64", "AMD64") else {}
    return bool(features.get("avx2")) and not features.get("avx512f")


LEAST_ROWS, LEAST_ENTRIES, LEAST_SPREAD, LEAST_SPREAD_ABOVE = 1024, 1 << 20, 64, 32
"""Of x, of W, columns of W for each that is chosen, and for each that is above a floor: below these `cpu` is as fast.
A choice took 0.95 of its time among 4,096 columns of 256 for 1,024 rows, 0.85 among 4,096 of 512 for 4,096, 0.75 among
8,192 of 768 for 2,048; what is above a floor 1.01, 0.8 and 0.8 if that is one in 100, and as long if one in 20."""


def entries(
    x: Tensor, W: Tensor, shift: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]], by_row: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `cpu.entries`."""
    if len(x) < LEAST_ROWS or W.numel() < LEAST_ENTRIES or not _few(x, W, shift, select):
        return cpu.entries(x, W, shift, select, by_row)
    return nominate.entries(x, W, shift, select, by_row, Bounds)


def _few(x: Tensor, W: Tensor, shift: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]]) -> bool:
    if isinstance(select, Above):
        pre = cpu.some(x, W, shift)
        return LEAST_SPREAD_ABOVE * len(select(pre)[1]) <= pre.numel()
    return isinstance(select, Largest | LargestOfAll) and LEAST_SPREAD * select.k <= W.shape[1]


class Bounds(nominate.Bounds):
    """For x' and w' rounded to multiples of a step each, |x w - x' w'| <= |x - x'| |w| + |x'| |w - w'| (Cauchy and
    Schwarz). Steps are such that |x'| |w'| < 2^31 in units of theirs, so that no sum overflows: rounding is 3e-4 of
    |x| |w|, whatever D is."""

    extra = 8  # all rows are certain but one in a hundred at most (`python benchmarks/backends.py --nominate`)

    def __init__(self, W: Tensor, shift: Tensor) -> None:
        super().__init__(W, shift)
        d, n = W.shape
        pairs, panels = -(-d // 2), -(-n // WIDTH)
        self._packed = np.zeros((panels, pairs, WIDTH, 2), np.int16)
        self._steps, lengths, off, self._shifts = (np.zeros(panels * WIDTH, np.float32) for _ in range(4))
        table, longest = self.table.numpy(), _longest(d)

        def part(start: int, stop: int) -> None:
            _pack(table, longest, start, stop, self._packed, self._steps, lengths, off)

        in_parts(panels, _PART, part)
        self._shifts[:n] = shift.numpy()
        self._of_columns = lengths.max(), off.max(), np.abs(self._shifts).max()
        self._room: dict[int, np.ndarray] = {}  # each thread's

    def above(self, x: Tensor) -> Tensor:
        b, d = x.shape
        padded = -(-b // ROWS) * ROWS
        rounded = np.zeros((padded, 2 * self._packed.shape[1]), np.int16)
        steps, lengths, off = (np.zeros(padded, np.float32) for _ in range(3))
        _round(x.contiguous().numpy(), _longest(d), rounded, steps, lengths, off)
        longest, farthest, shift = self._of_columns
        with np.errstate(over="ignore", invalid="ignore"):  # then there is no bound, and all is computed in full
            slack = off * longest + (lengths + off) * farthest
            # What floats lose in a sum of D products, here and where the pre-activation itself is computed.
            slack += np.float32(_EPS) * ((2 * d + 8) * lengths * longest + 8 * shift)
        out = self._room.get(get_ident())
        if out is None or len(out) < padded:
            out = self._room[get_ident()] = np.empty((padded, len(self._shifts)), np.float32)
        _product(rounded, self._packed, steps, self._steps, slack, self._shifts, out)
        return torch.from_numpy(out)[:b, : len(self.shift)]


_PART = 64  # panels that a thread takes at once


def _longest(d: int) -> float:
    """How long a vector of D may be before it is rounded, in steps."""
    return _LONGEST - 1 - d**0.5 / 2


@intrinsic
def _tile(typing: Any, a: Any, row: Any, b: Any, panel: Any, scales: Any, out: Any) -> Any:
    """A tile of `out`: a[row : row + ROWS] @ b[panel] times the steps of both, the row's slack, the column's shift.

    scales: steps of rows, steps of columns, slack, shifts. One loop over D, all sums in registers, written once."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _write_tile(context, builder, signature.args, args)

    return types.void(a, row, b, panel, scales, out), code


_I16, _I32, _I64, _F32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_SUMS, _PAIRS, _FLOATS = ir.VectorType(_I32, LANES), ir.VectorType(_I16, 2 * LANES), ir.VectorType(_F32, LANES)


def _write_tile(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
    a, b, out = (context.make_array(kinds[i])(context, builder, args[i]) for i in (0, 2, 5))
    scales = [
        context.make_array(kind)(context, builder, scale).data
        for kind, scale in zip(kinds[4], cgutils.unpack_tuple(builder, args[4]), strict=True)
    ]
    row, panel = args[1], args[3]
    pairs, width = cgutils.unpack_tuple(builder, b.shape)[1], cgutils.unpack_tuple(builder, out.shape)[1]
    left = builder.gep(builder.bitcast(a.data, _I32.as_pointer()), [builder.mul(row, pairs)])
    right = builder.gep(b.data, [builder.mul(panel, builder.mul(pairs, _number(2 * WIDTH)))])
    rows = [builder.gep(left, [builder.mul(_number(r), pairs)]) for r in range(ROWS)]
    sums = _sums(builder, rows, right, pairs)
    first = builder.mul(panel, _number(WIDTH))
    columns = [builder.add(first, _number(LANES * v)) for v in range(VECTORS)]
    of_columns = [[_vector(builder, scales[i], at) for at in columns] for i in (1, 3)]
    for r in range(ROWS):
        at = builder.add(row, _number(r))
        step, slack = (_spread(builder, builder.load(builder.gep(scales[i], [at])), _FLOATS) for i in (0, 2))
        for v in range(VECTORS):
            value = builder.fmul(builder.sitofp(sums[r][v], _FLOATS), builder.fmul(step, of_columns[0][v]))
            value = builder.fadd(builder.fadd(value, slack), of_columns[1][v])
            to = builder.gep(out.data, [builder.add(builder.mul(at, width), columns[v])])
            builder.store(value, builder.bitcast(to, _FLOATS.as_pointer()), align=4)
    return context.get_dummy_value()


def _sums(builder: Any, rows: list, right: Any, pairs: Any) -> list[list]:
    """The loop: of each row of the tile and each vector of its columns, the sums of products, two at a time."""
    before, loop, after = builder.basic_block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    at = builder.phi(_I64)
    at.add_incoming(_number(0), before)
    sums = [[builder.phi(_SUMS) for _ in range(VECTORS)] for _ in rows]
    zero = ir.Constant(_SUMS, [0] * LANES)
    here = builder.gep(right, [builder.mul(at, _number(2 * WIDTH))])
    vectors = [_vector(builder, here, _number(2 * LANES * v), _PAIRS) for v in range(VECTORS)]
    added = []
    for row, of_row in zip(rows, sums, strict=True):
        x = builder.bitcast(_spread(builder, builder.load(builder.gep(row, [at]), align=4), _SUMS), _PAIRS)
        added.append([builder.add(s, _products(builder, x, w)) for s, w in zip(of_row, vectors, strict=True)])
        for s, new in zip(of_row, added[-1], strict=True):
            s.add_incoming(zero, before)
            s.add_incoming(new, loop)
    more = builder.add(at, _number(1))
    at.add_incoming(more, loop)
    builder.cbranch(builder.icmp_signed("<", more, pairs), loop, after)
    builder.position_at_end(after)
    return added


def _products(builder: Any, x: Any, w: Any) -> Any:
    """x[2i] w[2i] + x[2i + 1] w[2i + 1]: written so that LLVM makes one instruction of it (vpmaddwd)."""
    wide = ir.VectorType(_I32, 2 * LANES)
    product = builder.mul(builder.sext(x, wide), builder.sext(w, wide))
    halves = (ir.Constant(_SUMS, [2 * i + odd for i in range(LANES)]) for odd in (0, 1))
    even, odd = (builder.shuffle_vector(product, ir.Constant(wide, ir.Undefined), half) for half in halves)
    return builder.add(even, odd)


def _number(n: int) -> Any:
    return ir.Constant(_I64, n)


def _vector(builder: Any, data: Any, at: Any, kind: Any = _FLOATS) -> Any:
    return builder.load(builder.bitcast(builder.gep(data, [at]), kind.as_pointer()), align=2)


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    """The same value in every lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(_SUMS, [0] * LANES))


@njit(cache=True, nogil=True)
@no_type_check
def _product(rounded, packed, steps, column_steps, slack, shifts, out):
    scales = (steps, column_steps, slack, shifts)
    for panel in range(len(packed)):
        for row in range(0, len(rounded), ROWS):
            _tile(rounded, row, packed, panel, scales, out)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
@no_type_check
def _step(largest, squares, longest):
    """The step in which a vector is neither too long nor any of its entries too large."""
    step = max(np.sqrt(squares) / longest, largest / _LARGEST)
    return max(step, np.float32(1e-30))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
@no_type_check
def _round(x, longest, rounded, steps, lengths, off):
    """Each row of `x [B, D]` in its own step. off: how far it is moved by that. A little more than both are, as they
    are rounded themselves."""
    for b in range(len(x)):
        row, to = x[b], rounded[b]
        largest, squares = np.float32(0), np.float32(0)
        for i in range(len(row)):
            largest = max(largest, abs(row[i]))
            squares += row[i] * row[i]
        step, moved = np.float32(_step(largest, squares, longest)), np.float32(0)
        per = np.float32(1) / step
        for i in range(len(row)):
            near = np.rint(row[i] * per)
            to[i] = np.int16(near)
            away = row[i] - near * step
            moved += away * away
        steps[b], lengths[b], off[b] = step, 1.001 * np.sqrt(squares) + UNSEEN, 1.001 * np.sqrt(moved) + UNSEEN


@njit(cache=True, nogil=True)
@no_type_check
def _pack(table, longest, start, stop, packed, steps, lengths, off):
    """The same of each row of `table [F, D]`, dealt into the panels from `start` to before `stop`."""
    n = len(table)
    rounded = np.zeros((WIDTH, 2 * packed.shape[1]), np.int16)
    for panel in range(start, stop):
        first = panel * WIDTH
        last = min(first + WIDTH, n)
        _round(table[first:last], longest, rounded, steps[first:last], lengths[first:last], off[first:last])
        for pair in range(packed.shape[1]):
            for column in range(last - first):
                packed[panel, pair, column, 0] = rounded[column, 2 * pair]
                packed[panel, pair, column, 1] = rounded[column, 2 * pair + 1]
