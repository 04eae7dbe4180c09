"""The kernels of a training step against plain torch: sorting for the choice, dense autograd for the products."""

import math
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float, Int
from torch import Tensor

from unweave import threads
from unweave.config import BACKENDS, RunConfig, override
from unweave.dictionary.codes import Sparse, dense, row_sum
from unweave.dictionary.core import Dictionary, Linear
from unweave.dictionary.kernels import cpu, pairs
from unweave.dictionary.kernels.jump import given_back, near, passed
from unweave.dictionary.kernels.leak import first_at, leak
from unweave.dictionary.kernels.leak import plainly as on_any_device
from unweave.dictionary.kernels.pursuit import plainly, pursue
from unweave.dictionary.kernels.select import (
    LargestOfAll,
    at_least,
    descending,
    kth_largest,
    largest_of_all,
    largest_of_groups,
    largest_of_rows,
)
from unweave.threads import side_by_side
from unweave.training.loop import Trainer


@st.composite
def matrices(draw) -> Tensor:
    """With ties: drawn from so few values that some are equal."""
    b, f = draw(st.integers(1, 5)), draw(st.integers(1, 33))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    values = draw(st.sampled_from([3, 1000]))
    return torch.randint(-values, values, (b, f), generator=g).float() / 7


@given(matrices(), st.data())
def test_the_largest_of_each_row_are_chosen_and_of_equal_ones_the_first(x: Tensor, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, x.shape[1]))
    chosen = largest_of_rows(x, k)
    assert isinstance(chosen, Int[Tensor, f"{len(x)} {k}"])
    expected = x.sort(dim=-1, descending=True, stable=True).indices[:, :k].sort(dim=-1).values
    assert torch.equal(chosen, expected)


@given(st.integers(0, 10**6), st.integers(64, 400), st.integers(1, 6), st.sampled_from([1.0, 30.0, 1e9]))
def test_few_of_many_are_chosen_as_by_sorting(seed: int, columns: int, k: int, values: float) -> None:
    """Values from few to many, so that some are equal; the widest rows are those looked at by groups."""
    g = torch.Generator().manual_seed(seed)
    x = (torch.rand(4, columns, generator=g, dtype=torch.float64) * values).floor()
    x[0, 1:] = -torch.inf
    expected = x.sort(dim=-1, descending=True, stable=True).indices[:, :k].sort(dim=-1).values
    assert torch.equal(largest_of_rows(x, k), expected)


@given(matrices(), st.data(), st.booleans())
def test_the_largest_of_each_group_are_chosen_and_of_equal_ones_the_first(
    x: Tensor, data: st.DataObject, nan: bool
) -> None:
    k = data.draw(st.integers(1, x.shape[1]))
    if nan:
        x[0, -1] = torch.nan
    chosen = largest_of_groups(x, k)
    assert isinstance(chosen, Int[Tensor, f"{len(x)} {k}"])
    expected = [sorted(g + k * int(row[g::k].argmax()) for g in range(k)) for row in x]
    assert chosen.tolist() == expected


@given(matrices(), st.data())
def test_the_smallest_of_the_largest_of_all(x: Tensor, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, x.numel()))
    assert largest_of_all(x, n) == x.flatten().sort(descending=True).values[n - 1]


@given(matrices(), st.floats(-2, 2, width=32))
def test_entries_at_least_a_bound(x: Tensor, bound: float) -> None:
    offsets, columns = at_least(x, torch.tensor(bound))
    rows = torch.repeat_interleave(torch.arange(len(x)), offsets.diff())
    assert torch.equal(torch.stack([rows, columns], 1), (x >= bound).nonzero())


@pytest.mark.parametrize("columns", [5, 500])
@pytest.mark.parametrize("nans", [1, 2, 3])
def test_nan_is_among_the_chosen(columns: int, nans: int) -> None:
    x = torch.zeros(1, columns)
    x[0, -nans:] = torch.nan
    assert x[0, largest_of_rows(x, 2)[0]].isnan().sum() == min(nans, 2)
    x = torch.tensor([[1.0, 2.0, torch.nan, 3.0]])
    assert at_least(x, torch.tensor(2.5))[1].tolist() == [2, 3]


@pytest.fixture(params=[*(name for name, by in pairs.BACKENDS.items() if by is not None), "cpu in tiles"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each backend that works on pairs."""
    name, _, tiled = request.param.partition(" ")
    if tiled:
        monkeypatch.setattr(cpu, "_TILE", 200)  # bytes: one row to four
        monkeypatch.setattr(cpu, "_WORTH", 0)
    with pairs.backend(name):
        yield name


def drawn_pairs(pre: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """That share of all pairs, by chance; the first and the last row and feature have none."""
    chosen = torch.rand(pre.shape, generator=torch.Generator().manual_seed(0)) < share
    chosen[[0, -1]] = False
    chosen[:, [0, -1]] = False
    return torch.nn.functional.pad(chosen.sum(1).cumsum(0), (1, 0)), chosen.nonzero()[:, 1]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_gradients_at_every_density_are_those_of_dense_double_autograd(
    by: str, share: float, dtype: torch.dtype, error: float
) -> None:
    g = torch.Generator().manual_seed(0)
    shapes = ((530, 13), (13, 70), (70,), (13,), (70, 13))  # x, W_enc, bias, origin, W_dec; more rows than at a time
    leaves = [torch.randn(shape, generator=g, dtype=torch.float64, requires_grad=True) for shape in shapes]
    x, W, bias, origin, directions = leaves
    offsets, features = drawn_pairs(torch.empty(530, 70), share)
    rows = torch.repeat_interleave(torch.arange(530), offsets.diff())
    pre = (x - origin) @ W + bias
    codes = torch.zeros_like(pre).index_put((rows, features), pre[rows, features])
    plain = torch.autograd.grad((codes @ directions).pow(2).sum(), leaves)
    own = [leaf.detach().to(dtype).requires_grad_() for leaf in leaves]
    *at, values = pairs.encode(*own[:4], lambda pre: drawn_pairs(pre, share), by_row=False)
    assert isinstance(values, Float[Tensor, f"{len(features)}"])
    assert torch.equal(at[0], offsets)
    assert torch.equal(at[1], features)
    for ours, exact in zip(
        torch.autograd.grad(pairs.decode(*at, values, own[4]).pow(2).sum(), own), plain, strict=True
    ):
        assert (ours - exact).norm() <= error * exact.norm()


@pytest.mark.parametrize("k", [1, 3, 4, 7, 31, 32])
def test_codes_are_those_of_the_reference(by: str, k: int) -> None:
    d = Dictionary(24, 90, f"topk(k={k})")
    x = torch.randn(1100, 24, generator=torch.Generator().manual_seed(k))
    codes = dense(d.encode(x))
    with pairs.backend("reference"):
        torch.testing.assert_close(codes, dense(d.encode(x)))


@pytest.mark.parametrize("method", ["topk(k=5)", "batch_topk(k=5)", "relu(l1=10.0)", "gated"])
def test_no_bit_depends_on_the_number_of_threads(method: str) -> None:
    def trained(n: int) -> dict[str, Tensor]:
        trainer = Trainer(override(RunConfig(method=method, d_sae=300), {"training.steps": 20}), 24)
        x = torch.randn(1100, 24, generator=torch.Generator().manual_seed(0))
        trainer.fit_(x)
        with threads.on(n) as team:
            for _ in range(4):
                trainer.update(x)
        assert n > 1 or team.seconds == 0
        return trainer.dictionary.state_dict()

    one, *more = (side_by_side([partial(trained, n)])[0] for n in (1, 2, 5))
    for other in more:
        for name, kept in one.items():
            assert torch.equal(other[name], kept), name


@pytest.mark.parametrize("k", [1, 3, 40])
@pytest.mark.parametrize("rows", ["alike", "the probed are large", "the probed are small", "hardly any above 0"])
def test_the_largest_of_a_batch_are_those_of_all_its_pre_activations(by: str, k: int, rows: str) -> None:
    """Also where some rows say nothing of the others; 1,100 rows of which every 17th is probed, values with ties."""
    g = torch.Generator().manual_seed(k)
    x, W = torch.randint(-3, 4, (1100, 6), generator=g).float(), torch.randint(-3, 4, (6, 90), generator=g).float()
    if rows.startswith("the probed"):
        x[::17] *= 100 if rows.endswith("large") else 0.01
    bias = torch.full((90,), -30.0 if rows.startswith("hardly") else 0.0)
    offsets, features, values = pairs.encode(x, W, bias, torch.zeros(6), LargestOfAll(k), by_row=False)
    pre = x @ W + bias
    least = pre.flatten().sort(descending=True).values[k * len(x) - 1].clamp(min=torch.finfo(torch.float32).tiny)
    row, column = (pre >= least).nonzero().T
    assert torch.equal(torch.repeat_interleave(torch.arange(len(x)), offsets.diff()), row)
    assert torch.equal(features, column)
    assert torch.equal(values, pre[row, column])


def test_nan_is_among_the_largest_of_a_batch() -> None:
    x = torch.ones(600, 2)
    x[5, 0] = torch.nan
    offsets, _, values = pairs.encode(x, torch.eye(2), torch.zeros(2), torch.zeros(2), LargestOfAll(1), by_row=False)
    assert values[offsets[5] : offsets[6]].isnan().any()


def test_rows_and_features_without_a_pair(by: str) -> None:
    offsets, features = torch.tensor([0, 0, 2, 2]), torch.tensor([1, 4])
    values, directions = torch.tensor([2.0, 3.0], requires_grad=True), torch.randn(6, 4, requires_grad=True)
    x_hat = pairs.decode(offsets, features, values, directions)
    torch.testing.assert_close(
        x_hat, torch.stack([x_hat.new_zeros(4), 2 * directions[1] + 3 * directions[4], x_hat.new_zeros(4)])
    )
    x_hat.sum().backward()
    assert directions.grad is not None
    assert directions.grad[:, 0].tolist() == [0, 2, 0, 0, 3, 0]


@pytest.mark.parametrize("method", ["topk(k=3)", "batch_topk(k=3)"])
@pytest.mark.parametrize("training", [True, False])
def test_the_coder_takes_the_short_way_to_where_its_activation_leads(method: str, training: bool) -> None:
    d = Dictionary(8, 32, method).double().train(training)
    coder = d.coder
    assert isinstance(coder, Linear)
    x = torch.randn(20, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    short, long = coder(x, d.W_dec, d.b_dec)[0], coder.activation(coder.pre(x, d.W_dec, d.b_dec))
    torch.testing.assert_close(dense(short), dense(long))
    leaves = [coder.W_enc, coder.b_enc, d.b_dec]
    grads = [torch.autograd.grad(row_sum(codes).pow(2).sum(), leaves) for codes in (short, long)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 40))
def test_descending_equals_torchs_sort(seed: int, rows: int, columns: int) -> None:
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    assert torch.equal(descending(x), x.sort(dim=-1, descending=True).values)


@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0.0, 0.1, 1.0]))
def test_leak_equals_torchs_operators_and_so_do_its_gradients(seed: int, k: int, share: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    pre = torch.randn(7, 9, generator=draw, dtype=torch.float64).round(decimals=1).requires_grad_()
    least, shares = kth_largest(pre.detach(), k), (share * torch.rand(7, 1, generator=draw).double()).requires_grad_()
    assert torch.equal(least, pre.detach().topk(k, dim=1).values[:, -1:])
    plain, found = (scaled(pre, least, shares) for scaled in (on_any_device, leak))
    assert torch.equal(found, plain)
    weights = torch.randn(7, 9, generator=draw, dtype=torch.float64)
    expected = torch.autograd.grad((plain * weights).sum(), (pre, shares))
    gradients = torch.autograd.grad((found * weights).sum(), (pre, shares))
    torch.testing.assert_close(gradients, expected)


def test_where_a_row_first_has_a_value() -> None:
    pre = torch.tensor([[3.0, 1.0, 1.0], [1.0, 2.0, 3.0], [2.0, 2.0, math.nan]])
    assert first_at(pre, torch.tensor([[1.0], [5.0], [math.nan]])).tolist() == [[1], [0], [0]]


@given(st.integers(0, 10**6), st.sampled_from([1, 7, 600]), st.sampled_from([0.0, 0.3, 5.0]))
def test_what_passes_thresholds_and_what_is_near_them(seed: int, rows: int, half: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    pre, g = torch.randn(2, rows, 9, generator=draw, dtype=torch.float64).round(decimals=1)
    theta = torch.rand(9, generator=draw, dtype=torch.float64).round(decimals=1)
    assert torch.equal(passed(pre, theta), pre * (pre > theta))
    dpre, sums = given_back(g, pre, theta, half)
    assert torch.equal(dpre, g * (pre > theta))
    torch.testing.assert_close(sums, (((pre - theta).abs() < half) * g).sum(0))
    one_by_one = given_back(g.flatten(), pre.flatten(), theta.repeat(rows), half)
    torch.testing.assert_close((one_by_one[0].view(rows, 9), one_by_one[1].view(rows, 9).sum(0)), (dpre, sums))
    assert torch.equal(near(pre, theta, half), ((pre - theta).abs() < half).sum(0).double())
    assert torch.equal(near(pre.flatten(), theta.repeat(rows), half).view(rows, 9).sum(0), near(pre, theta, half))
    pre[0, 0] = math.nan
    assert passed(pre, theta)[0, 0].isnan()


@pytest.mark.parametrize("k", [1, 3, 12])
def test_pursuit_and_its_gradients_equal_those_of_the_rounds_written_out(k: int) -> None:
    """With 12 rounds over 7 features some are taken twice, and from the input of zeros none is."""
    g = torch.Generator().manual_seed(k)
    x = torch.randn(9, 4, generator=g, dtype=torch.float64)
    W = torch.nn.functional.normalize(torch.randn(7, 4, generator=g, dtype=torch.float64), dim=1)
    x[0] = 0
    found = []
    for rounds in (lambda *given: dense(Sparse(*pursue(*given), 7)), plainly):
        leaves = [x.clone().requires_grad_(), W.clone().requires_grad_()]
        codes = rounds(leaves[0] @ leaves[1].T, leaves[1] @ leaves[1].T, k)
        weights = torch.arange(codes.numel(), dtype=torch.float64).view_as(codes).sin()
        found.append((codes, *torch.autograd.grad((codes * weights).sum(), leaves)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert (found[0][0][1:] > 0).any(1).all()


@given(matrices())
def test_pursuit_takes_the_first_of_equals_and_passes_nan_on(x: Tensor) -> None:
    """In float32, with features that have nothing to do with one another: the largest above 0, one by one."""
    n = x.shape[1]
    codes = dense(Sparse(*pursue(x, torch.eye(n), 2), n))
    first = x.relu().sort(dim=1, descending=True, stable=True)
    assert torch.equal(codes, torch.zeros_like(x).scatter(1, first.indices[:, :2], first.values[:, :2]))
    x[0, -1] = -torch.nan
    assert dense(Sparse(*pursue(x, torch.eye(n), 2), n))[0].isnan().all()


def test_a_config_knows_the_backends_that_there_are() -> None:
    assert ("auto", *pairs.BACKENDS, "cuda") == BACKENDS
