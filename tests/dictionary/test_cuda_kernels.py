"""The kernels for a GPU: in Triton's interpreter where there is none, and as they are with `-m gpu`."""

import os
import subprocess
import sys

import pytest
import torch
from jaxtyping import Int
from torch import Tensor

from unweave.dictionary.kernels import pairs, select

pytest.importorskip("triton")

from unweave.dictionary.kernels import cuda, cuda_select

# Where there is a GPU they are tested on it, by `-m gpu`; elsewhere in the interpreter.
THERE = torch.cuda.is_available()
pytestmark = [pytest.mark.gpu] if THERE else []


@pytest.fixture
def device() -> str:
    return "cuda" if THERE else "cpu"


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def several(seed: int, values: float, *shape: int) -> Tensor:
    """Whole numbers, of which with few `values` many are equal."""
    return (draw(seed, *shape) * values).round()


def by_sorting(x: Tensor, k: int) -> Tensor:
    return x.sort(dim=-1, descending=True, stable=True).indices[:, :k].sort(dim=-1).values


@pytest.mark.parametrize(
    ("columns", "k", "values"),
    [(300, 3, 1e9), (300, 3, 2), (70, 70, 5), (33, 1, 2), (700, 5, 20), (5, 2, 1), (1, 1, 1), (129, 64, 1e9)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_of_each_row_are_chosen_and_of_equal_ones_the_first(
    columns: int, k: int, values: float, dtype: torch.dtype, device: str
) -> None:
    x = several(columns, values, 4, columns).to(dtype)
    x[0, 1:], x[1] = -torch.inf, 0
    x[1, ::2] = -0.0  # which is equal to 0
    chosen = cuda_select.largest_of_rows(x.to(device), k)
    assert isinstance(chosen, Int[Tensor, f"4 {k}"])
    assert torch.equal(chosen.cpu(), by_sorting(x, k))
    assert torch.equal(chosen.cpu(), select.largest_of_rows(x, k))


def test_all_that_are_larger_are_chosen_before_the_first_of_many_equal_ones(device: str) -> None:
    """The largest stand in one group, and no other entry differs: more groups are as large as the bound than k."""
    x = torch.zeros(1, 640)
    groups, _ = cuda_select._groups(640, 5)
    x[0, [groups + 3, 2 * groups + 3]] = 1
    assert cuda_select.largest_of_rows(x.to(device), 5).tolist() == [[0, 1, 2, groups + 3, 2 * groups + 3]]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("nans", [1, 2, 3])
def test_nan_is_among_the_chosen(nans: int, sign: int, device: str) -> None:
    x = torch.zeros(1, 500)
    x[0, 3], x[0, -nans:] = torch.inf, torch.tensor(torch.nan).copysign(torch.tensor(float(sign)))
    chosen = cuda_select.largest_of_rows(x.to(device), 2).cpu()
    assert x[0, chosen[0]].isnan().sum() == min(nans, 2)


def test_what_no_program_can_hold_is_left_to_others() -> None:
    assert cuda_select.possible(torch.empty(1, 32768), 32)
    assert cuda_select.possible(torch.empty(1, 131072), 64)
    assert not cuda_select.possible(torch.empty(1, 131072), 40000)
    assert not cuda_select.possible(torch.empty(1, 4096, dtype=torch.bfloat16), 32)


@pytest.mark.parametrize("columns", [1, 70, 1500])
def test_entries_above_a_floor_and_entries_not_below_a_bound(columns: int, device: str) -> None:
    x = draw(columns, 3, columns).float()
    x[1], x[2, columns // 2] = -1, torch.nan
    floors = draw(0, columns).float(), torch.tensor(0.7), torch.tensor(-1.0)
    for floor in floors:
        for found, expected in zip(
            cuda_select.above(x.to(device), floor.to(device)), select.above(x, floor), strict=True
        ):
            assert torch.equal(found.cpu(), expected)
    for least in floors[1:]:
        found, expected = cuda_select.at_least(x.to(device), least.to(device)), select.at_least(x, least)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))


def ragged(device: str) -> tuple[Tensor, Tensor]:
    """Pairs of 5 rows and 9 features: rows with none, with few, and with more than are read at once."""
    lengths = torch.tensor([0, 3, 70, 0, 1])
    features = torch.randint(0, 8, (74,), generator=torch.Generator().manual_seed(0))  # the last is in no pair
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(device), features.to(device)


@pytest.mark.parametrize("width", [1, 5, 130])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_and_products_over_pairs_equal_those_on_a_processor(width: int, dtype: torch.dtype, device: str) -> None:
    offsets, features = ragged("cpu")
    weights, table, left = (draw(i, *shape).to(dtype) for i, shape in enumerate(((74,), (9, width), (5, width))))
    there = [each.to(device) for each in (offsets, features, weights, table, left)]
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    expected = torch.zeros(5, width, dtype=dtype)
    for row in range(5):
        at = slice(int(offsets[row]), int(offsets[row + 1]))
        expected[row] = (weights[at, None] * table[features[at]]).sum(0)
    torch.testing.assert_close(cuda.sums(*there[:4]).cpu(), expected, **near)
    torch.testing.assert_close(cuda.column_sums(*there[:4]).cpu(), expected.T, **near)
    rows = torch.repeat_interleave(torch.arange(5), offsets.diff())
    found = cuda.dots(there[0], there[1], there[4], there[3]).cpu()
    torch.testing.assert_close(found, (left[rows] * table[features]).sum(1), **near)


def test_nothing_to_sum(device: str) -> None:
    none, table = torch.zeros(1, dtype=torch.int64, device=device), torch.ones(4, 3, device=device)
    empty = none[:0], table[:0, 0]
    assert cuda.sums(none, *empty, table).shape == (0, 3)
    assert cuda.column_sums(none, *empty, table).shape == (3, 0)
    assert cuda.dots(none, none[:0], table[:0], table).shape == (0,)


@pytest.mark.parametrize("k", [1, 3, 9])
@pytest.mark.parametrize("by_row", [True, False])
def test_gradients_equal_those_of_dense_matrices(k: int, by_row: bool, device: str) -> None:
    shapes = ((6, 5), (5, 9), (9,), (5,), (9, 5))  # x, W_enc, bias, origin, W_dec
    leaves = [draw(k + i, *shape).to(device).requires_grad_() for i, shape in enumerate(shapes)]
    x, W, bias, origin, directions = leaves
    pre = (x - origin) @ W + bias
    chosen = by_sorting(pre.detach().cpu(), k).to(device)

    def these(part: Tensor) -> tuple[Tensor, Tensor]:
        offsets = torch.arange(0, k * len(part) + 1, k, device=device)
        return offsets, cuda_select.largest_of_rows(part, k).flatten()

    with pairs.backend("cuda"):
        offsets, features, values = pairs.encode(x, W, bias, origin, these, by_row)
        ours = pairs.decode(offsets, features, values, directions)
    assert torch.equal(features, chosen.flatten())
    torch.testing.assert_close(values, pre.gather(1, chosen).flatten())
    codes = torch.zeros_like(pre).scatter(1, chosen, pre.gather(1, chosen))
    plain = codes @ directions
    torch.testing.assert_close(ours, plain)
    found = torch.autograd.grad(ours.pow(3).sum(), leaves)
    for a, b in zip(found, torch.autograd.grad(plain.pow(3).sum(), leaves), strict=True):
        assert (a - b).norm() <= 1e-10 * b.norm()


def test_single_precision_stays_near_dense_double(device: str) -> None:
    """Rows at a time, of which some have no pair, as on a processor."""
    shapes = ((70, 33), (33, 40), (40,), (33,), (40, 33))
    exact = [draw(i, *shape).requires_grad_() for i, shape in enumerate(shapes)]
    leaves = [each.detach().float().to(device).requires_grad_() for each in exact]

    def loss(by: str, x: Tensor, W: Tensor, bias: Tensor, origin: Tensor, directions: Tensor) -> Tensor:
        floor = torch.full((), 8.0, device=x.device, dtype=x.dtype)
        above = cuda_select.above if by == "cuda" else select.above
        with pairs.backend(by):
            made = pairs.encode(x, W, bias - 2, origin, lambda pre: above(pre, floor))
            return pairs.decode(*made, directions).square().sum()

    found = torch.autograd.grad(loss("cuda", *leaves), leaves)
    for a, b in zip(found, torch.autograd.grad(loss("reference", *exact), exact), strict=True):
        assert (a.cpu() - b).norm() <= 1e-5 * b.norm()


COMPILE = """
from triton import compile
from triton.language import int32, int64
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from unweave.dictionary.kernels import cuda, cuda_select
P, I, N, C = "*fp32", "*i64", "i32", "constexpr"
for architecture in (80, 90):
    for kernel, types, constants in (
        (cuda._sums, (I, I, P, P, P, N, C, C), (32, 64)),
        (cuda._column_sums, (I, I, P, P, P, N, N, C, C, C), (32, 16, 64)),
        (cuda._dots, (I, I, P, P, P, N, C, C), (16, 64)),
        (cuda_select._count, (P, P, I, N, N, C, C), (True, 256)),
        (cuda_select._emit, (P, P, I, I, N, N, C, C), (False, 256)),
        (cuda_select._largest, (P, I, N, N, C, C, C, C, C, C), (64, 4, 4, 4, int32, 32)),
        (cuda_select._largest, ("*fp64", I, N, N, C, C, C, C, C, C), (64, 4, 4, 4, int64, 64)),
    ):
        signature = dict(zip(kernel.arg_names, types, strict=True))
        fixed = dict(zip([name for name in signature if signature[name] == C], constants, strict=True))
        made = compile(ASTSource(kernel, signature, constexprs=fixed), target=GPUTarget("cuda", architecture, 32))
        assert made.asm["cubin"]
"""


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu() -> None:
    """Which needs none, only what comes with triton."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=os.environ | {"TRITON_INTERPRET": "0"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
