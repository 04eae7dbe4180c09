"""Each method's formula against a plain form of it, written here from the paper or report."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.dictionary import Dictionary
from unweave.dictionary.codes import Sparse, dense
from unweave.dictionary.core import Step
from unweave.dictionary.methods.dimension_reduction import DimensionReduction, Geometric, sizes
from unweave.dictionary.methods.gated import Gated
from unweave.dictionary.methods.glu import GLU
from unweave.dictionary.methods.group_max import GroupMax
from unweave.dictionary.methods.jumprelu import JumpReLU
from unweave.dictionary.methods.leaky_topk import LeakyTopK
from unweave.dictionary.methods.matryoshka import of_range
from unweave.dictionary.methods.p_anneal import Anneal, power_sum
from unweave.training.loop import Trainer

D, F, B = 8, 12, 40


def inputs(seed: int = 0, n: int = B) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed)) * 2 + 1


def seen(method: str, step: int = 0, **settings: str) -> tuple[Trainer, Step]:
    """A trainer of `method` after its fit, and what it makes of a batch."""
    config = override(RunConfig(method=method, d_sae=F, revive="none()"), {"training.steps": 100, **settings})
    trainer = Trainer(config, D)
    trainer.fit_(inputs(1, 200))
    trainer.step = step
    return trainer, trainer.look(inputs())


def test_smoothed_l0_counts_zero_as_epsilon_and_delta_as_one_less() -> None:
    trainer, step = seen("smoothed_l0(alpha=1.0, delta=4.0, epsilon=0.05)")
    f = step.codes
    assert isinstance(f, Tensor)
    f.data[:] = torch.tensor([0.0, 4.0, 2.0] * 4)
    assert trainer.parts(step)["smoothed_l0"].item() == pytest.approx((0.05 + 0.95 + 0.5) / 3)


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_freshmans_dream_is_the_number_of_equal_codes(p: float) -> None:
    trainer, step = seen(f"freshmans_dream(alpha=1.0, p={p})")
    f = step.codes
    assert isinstance(f, Tensor)
    f.data[:] = 0
    f.data[0, :5] = 1e-20  # five equal codes in one row of 40, however small; none in the others
    assert trainer.parts(step)["freshmans_dream"].item() == pytest.approx(5 ** (p - 1) / F / B, rel=1e-4)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_without_topk_is_the_norm_of_the_rest(p: float) -> None:
    trainer, step = seen(f"without_topk(alpha=1.0, k=3, p={p})")
    f = dense(step.codes).detach()
    rest = [sorted(row)[: F - 3] for row in f.tolist()]
    expected = sum(sum(v**p for v in row) ** (1 / p) for row in rest) / B / F
    assert trainer.parts(step)["without_topk"].item() == pytest.approx(expected, rel=1e-5)


def test_tanh_and_l1_count_decoder_norms() -> None:
    trainer, step = seen("tanh(l0=2.0, c=3.0)")
    with torch.no_grad():
        trainer.dictionary.W_dec *= 1.5
    expected = 2 * sum(math.tanh(3 * 1.5 * v) for row in dense(step.codes).tolist() for v in row) / B
    assert trainer.parts(step)["tanh"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("relative", [True, False])
def test_leaky_topk(relative: bool) -> None:
    pre, found = torch.randn(B, F), LeakyTopK(3, 0.25, relative)
    for row, codes in zip(pre.clamp(min=0).tolist(), found(pre).tolist(), strict=True):
        b = sorted(row)[-3]
        scale = 0.25 if relative else 0.25 / b if b else 0.0
        assert codes == pytest.approx([v if v >= b else scale * v for v in row], rel=1e-5)


def test_a_leaky_readout_is_topk_in_training_and_leaks_after_it() -> None:
    trainer, _ = seen("leaky_readout(k=3, epsilon=0.25)")
    d, x = trainer.dictionary, inputs(3)
    plain = Dictionary(D, F, "topk(k=3)")
    plain.load_state_dict({n: v for n, v in d.state_dict().items() if "read" not in n})
    torch.testing.assert_close(dense(d.train().encode(x)), dense(plain.eval().encode(x)))
    for pre, codes in zip(d.pre(x).tolist(), dense(d.eval().encode(x)).tolist(), strict=True):
        u = [max(v, 0.0) for v in pre]
        b = sorted(u)[-3]
        assert codes == pytest.approx([v if v >= b else 0.25 * v for v in u], rel=1e-5)


def test_multi_topk_adds_an_eighth_of_the_error_at_four_k() -> None:
    trainer, step = seen("multi_topk(k=2)")
    wide = Dictionary(D, F, "topk(k=8)")
    wide.load_state_dict(trainer.dictionary.state_dict())
    wide.eval()
    x = inputs()
    expected = ((trainer.dictionary.input(x) - wide.input(wide(x))) ** 2).sum(-1).mean() / 8
    assert trainer.parts(step)["wide_error"].item() == pytest.approx(expected.item(), rel=1e-4)


def iterated(x: list[float], a: list[float]) -> int:
    """The report's algorithm, word for word: how many are left."""
    kept = list(x)
    while len(kept) > 1:
        n = len(kept)
        bound = (1 - a[n - 2] / a[n - 1]) * sum(kept)
        left = [v for v in kept if v >= bound]
        if len(left) == n:
            break
        kept = left
    return len(kept)


# From one grid, so that no comparison is decided by the last bit.
CODES = st.lists(st.integers(0, 1000).map(lambda v: v / 8), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(CODES, st.sampled_from([(0.15, 10), (0.49, 0)]))
def test_dimension_reduction_is_where_the_iteration_ends(x: list[float], how: tuple[float, int]) -> None:
    a = sizes(len(x), *how).tolist()
    ordered = torch.tensor(sorted(x, reverse=True), dtype=torch.float64)
    kept = DimensionReduction(len(x), 0.1, *how).double().kept(ordered.unsqueeze(0))
    assert kept.item() == iterated(x, a)


@settings(max_examples=200, deadline=None)
@given(CODES)
def test_geometric_dimension_reduction_is_the_best_ratio(x: list[float]) -> None:
    a = sizes(len(x), 0.15, 10).tolist()
    ordered = sorted(x, reverse=True)
    ratio = [sum(ordered[:k]) / a[k - 1] for k in range(1, len(x) + 1)]
    kept = Geometric(len(x), 0.1, 0.15, 10).kept(torch.tensor([ordered])).item()
    assert ratio[int(kept) - 1] == pytest.approx(max(ratio))


def test_dimension_reduction_by_the_reports_figures() -> None:
    a = sizes(1024, 0.15, 10)
    assert a[[1, 2, 9, 1023]].tolist() == pytest.approx([1.15, 1.2362, 1.5042, 26.508], abs=1e-3)
    constant = DimensionReduction(6, 0.01, 0.49, 0)
    for x, kept in (((60, 50, 40, 30, 9, 8), 4), ((60, 50, 15, 14, 14, 12), 2)):
        assert constant.kept(torch.tensor([x], dtype=torch.float32)).item() == kept
    x = torch.tensor([[17.88, 1.52, 1.32, 1.1, 0.01, 0.0]])
    assert DimensionReduction(6, 0.01, 0.15, 10).kept(x).item() == 4
    assert Geometric(6, 0.01, 0.15, 10).kept(x).item() == 1


def test_dimension_reduction_leaks_below_the_smallest_kept() -> None:
    found = DimensionReduction(4, 0.1, 0.49, 0)(torch.tensor([[-1.0, 10.0, 9.0, 0.5], [-1.0, -1.0, 0.0, -2.0]]))
    assert found[0].tolist() == pytest.approx([0, 10, 9, 0.5 * 0.1 / 9])
    assert found[1].tolist() == [0, 0, 0, 0]


def test_group_max_takes_one_of_each_group() -> None:
    pre = torch.randn(B, F)
    offsets, features = GroupMax(5, F).select(pre)
    for row, chosen in zip(pre.tolist(), features.view(B, 5).tolist(), strict=True):
        groups = [range(g, F, 5) for g in range(5)]
        assert chosen == sorted(max(group, key=row.__getitem__) for group in groups)
    assert offsets.tolist() == list(range(0, 5 * B + 1, 5))


def test_group_max_of_pruned_features_keeps_its_groups() -> None:
    pre, kept = torch.randn(B, F), [1, 2, 4, 6, 7, 11]  # of groups 0 and 3 nothing
    whole, some = GroupMax(5, F), GroupMax(5, len(kept))
    some.slot = whole.slot[kept]
    offsets, features = some.select(pre[:, kept])
    for row, chosen in zip(pre.tolist(), features.view(B, 3).tolist(), strict=True):
        groups = [[j for j in kept if j % 5 == g] for g in (1, 2, 4)]
        assert [kept[j] for j in chosen] == sorted(max(group, key=row.__getitem__) for group in groups)
    assert offsets.tolist() == list(range(0, 3 * B + 1, 3))


def test_matching_pursuit_word_for_word() -> None:
    d = Dictionary(D, F, "matching_pursuit(k=5)").double()
    x = inputs().double()
    for row, codes in zip(x, dense(d.encode(x)), strict=True):
        left, expected = row - d.b_dec, torch.zeros(F, dtype=torch.float64)
        for _ in range(5):
            products = d.W_dec @ left
            best = int(products.argmax())
            expected[best] += products[best].clamp(min=0)
            left = left - products[best].clamp(min=0) * d.W_dec[best]
        torch.testing.assert_close(codes, expected)


def test_matryoshka_adds_the_errors_of_the_first_features() -> None:
    trainer, step = seen("matryoshka(k=4, widths=(0.25, 0.5, 1.0))")
    d, f = trainer.dictionary, dense(step.codes)
    errors = [((f[:, :n] @ d.W_dec[:n] + d.b_dec - step.x) ** 2).sum(-1).mean() for n in (3, 6, 12)]
    assert trainer.parts(step)["nested_error"].item() == pytest.approx(sum(errors).item(), rel=1e-5)  # type: ignore[union-attr]
    assert isinstance(step.codes, Sparse)
    assert torch.equal(dense(of_range(step.codes, 3, 6)), f * ((torch.arange(12) >= 3) & (torch.arange(12) < 6)))


@pytest.mark.parametrize("chunk", [100, 5])
def test_orthogonal_is_the_nearest_features_squared_cosine(chunk: int) -> None:
    trainer, step = seen(f"orthogonal(k=4, weight=1.0, chunk={chunk})", step=3)
    W = trainer.dictionary.W_dec.detach()
    order = torch.arange(F) if chunk > F else torch.randperm(F, generator=torch.Generator().manual_seed(3))
    parts = order.chunk(1 if chunk > F else 3)
    nearest = [max((W[i] @ W[j]).item() for j in part if j != i) ** 2 for part in parts for i in part]
    assert trainer.parts(step)["cosine"].item() == pytest.approx(D * sum(nearest) / F, rel=1e-5)


def test_gated() -> None:
    trainer, step = seen("gated(l1=2.0)")
    d, coder = trainer.dictionary, trainer.dictionary.coder
    assert isinstance(coder, Gated)
    with torch.no_grad():
        for b in (coder.b_gate, coder.b_mag, coder.r, d.b_dec):
            b += 0.3 * torch.randn(b.shape, generator=torch.Generator().manual_seed(4))
    step = trainer.look(inputs())
    read = (step.x - d.b_dec) @ coder.W_enc
    gate, magnitude = read + coder.b_gate, read * coder.r.exp() + coder.b_mag
    torch.testing.assert_close(step.codes, torch.where(gate > 0, magnitude.clamp(min=0), 0))
    parts = trainer.parts(step)
    assert parts["gate_l1"].item() == pytest.approx(2 * gate.clamp(min=0).sum(1).mean().item(), rel=1e-4)
    parts["gate_error"].backward()
    assert d.W_dec.grad is None, "the gate's own error leaves the decoder alone"
    assert coder.b_gate.grad is not None
    assert coder.r.grad is None
    error = (gate.clamp(min=0) @ d.W_dec + d.b_dec - step.x).square().sum(1).mean()
    assert parts["gate_error"].item() == pytest.approx(error.item(), rel=1e-4)


def test_glu() -> None:
    d = Dictionary(D, F, "glu")
    coder = d.coder
    assert isinstance(coder, GLU)
    with torch.no_grad():
        for p in (coder.W_gate, coder.b_gate, coder.b_enc):
            p += torch.randn(p.shape, generator=torch.Generator().manual_seed(5))
    x = inputs()
    gate = 1 / (1 + torch.exp(-(x @ coder.W_gate + coder.b_gate)))
    torch.testing.assert_close(d.encode(x), (gate * (x @ coder.W_enc + coder.b_enc)).clamp(min=0))
    torch.testing.assert_close(coder.pre(x, d.W_dec, d.b_dec, torch.tensor([7, 2])), d.pre(x)[:, [7, 2]])


def test_jumprelu_by_the_papers_rule() -> None:
    pre, g = torch.randn(B, F, requires_grad=True), torch.randn(B, F)
    jump = JumpReLU(F, 0.3, 0.5)
    codes = jump(pre)
    assert torch.equal(codes, torch.where(pre > 0.3, pre, 0))
    (codes * g).sum().backward()
    near = ((pre - 0.3).abs() < 0.25).float()
    assert pre.grad is not None
    assert torch.equal(pre.grad, g * (pre > 0.3))
    torch.testing.assert_close(jump.threshold.grad, -(0.3 / 0.5) * (near * g).sum(0))
    jump.threshold.grad, pre.grad = None, None
    count = jump.count(pre)
    assert count == (pre > 0.3).sum()
    (3 * count).backward()
    assert pre.grad is None
    torch.testing.assert_close(jump.threshold.grad, -3 * near.sum(0) / 0.5)


def test_jumprelu_thresholds_stay_above_zero_and_lower_what_is_counted() -> None:
    def active(weight: float) -> float:
        config = override(RunConfig(method=f"jumprelu(l0={weight})", d_sae=F), {"training.steps": 300})
        trainer = Trainer(config, D)
        trainer.fit_(inputs(1, 200))
        last = [trainer.update(inputs(i)) for i in range(300)][-1]
        assert last is not None
        assert trainer.dictionary.coder.activation.threshold.min() >= 0  # type: ignore[union-attr, operator]
        return last["l0"]

    assert active(3.0) < active(0.0) - 1


def test_jumprelu_target_goes_where_it_is_asked_to() -> None:
    settings = {"training.steps": 600, "training.batch": 256}
    config = override(RunConfig(method="jumprelu_target(l0=3.0, weight=200.0, bandwidth=0.5)", d_sae=F), settings)
    trainer = Trainer(config, D)
    trainer.fit_(inputs(1, 500))
    last = [trainer.update(inputs(i, 256)) for i in range(600)][-1]
    assert last is not None
    assert last["l0"] == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize("p", [0.2, 0.5, 1.0])
def test_powers_of_codes_have_their_gradient_and_zeros_none(p: float) -> None:
    f = inputs().relu().requires_grad_()
    (gradient,) = torch.autograd.grad(power_sum(f, p), f)
    torch.testing.assert_close(gradient, torch.where(f > 0, p * f.pow(p - 1), 0) / len(f))


def test_p_annealing_leaves_the_penalty_as_large_as_it_was() -> None:
    """At each of its stages p falls by the same amount, and the penalty of a batch like the last ones stays."""
    f = torch.rand(B, F).clamp(min=0.4) - 0.4
    anneal, ps = Anneal(p_end=0.2, start=0.5, stages=4), []
    before = anneal.penalty(f).item()
    assert before == pytest.approx(f.sum(1).mean().item())
    for step in range(100):
        anneal.after(f, step, 100)
        ps.append(round(anneal.p(int(anneal.stage)), 4))
        assert anneal.penalty(f).item() == pytest.approx(before, rel=1e-4)
    assert [p for i, p in enumerate(ps) if i == 0 or p != ps[i - 1]] == [1.0, 0.8, 0.6, 0.4, 0.2]
    assert [ps.index(p) for p in (0.8, 0.6, 0.4, 0.2)] == [50, 63, 75, 88]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("smoothed_l0(epsilon=0.7)", "epsilon between 0 and 0.5"),
        ("freshmans_dream(p=1.0)", "p must be above 1"),
        ("without_topk(p=0.5)", "at least 1 for a norm"),
        ("without_topk(k=100)", "k must be 1 to 48"),
        ("leaky_topk(epsilon=2.0)", "at most 1 if it is relative"),
        ("leaky_readout(epsilon=1.5)", "a share, from 0 to 1"),
        ("leaky_readout(k=49)", "k must be 1 to 48"),
        ("multi_topk(k=0)", "k must be 1 to 48"),
        ("dimension_reduction(knee=1)", "knee 0 or at least 2"),
        ("geometric_dimension_reduction(p=1.0)", "p between 0 and 1"),
        ("jumprelu(bandwidth=0.0)", "must be above 0"),
        ("jumprelu_target(l0=0.0)", "so above 0"),
        ("tanh(c=0.0)", "c must be above 0"),
        ("gated(l1=-1.0)", "cannot be negative"),
        ("glu(l1=-1.0)", "cannot be negative"),
        ("p_anneal(p_end=0.0)", "p_end must be above 0"),
        ("matryoshka(widths=(0.5, 0.25, 1.0))", "ascending shares"),
        ("matryoshka(widths=(0.5,))", "the last of them 1"),
        ("group_max(k=49)", "k must be 1 to 48"),
        ("matching_pursuit(k=0)", "k must be 1 to 48"),
        ("orthogonal(chunk=1)", "two features at least"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(call: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        Dictionary(24, 48, call)
    assert "\n" not in str(refused.value)
