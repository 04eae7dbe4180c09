"""The k largest by bounds: bounds hold for whatever is given, and what they leave is the same choice."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.dictionary.encoder import ENCODERS
from unweave.dictionary.kernels import cpu, cpu_bf16, cpu_int16
from unweave.dictionary.kernels.nominate import Bounds, nominated
from unweave.dictionary.kernels.select import Above, Largest, LargestOfAll
from unweave.threads import on
from unweave.training.loop import Trainer

KINDS = pytest.mark.parametrize("kind", [cpu_bf16.Bounds, cpu_int16.Bounds])


@pytest.fixture(autouse=True)
def however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds are used where they gain nothing, too."""
    for least in ("LEAST_ROWS", "LEAST_ENTRIES", "LEAST_SPREAD", "LEAST_SPREAD_ABOVE"):
        monkeypatch.setattr(cpu_int16, least, 0)


def drawn(seed: int, b: int, d: int, f: int, size: float = 1.0, offset: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = size * (torch.randn(b, d, generator=g) + offset)
    return x, torch.randn(d, f, generator=g), torch.randn(f, generator=g)


SHAPES = st.tuples(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 40), st.integers(1, 70))


@KINDS
@example((1, 2, 1, 2), 1e-4, 0.0, 0, 1.0)  # the shift is so much more than the products that adding rounds them off
@given(
    SHAPES,
    st.sampled_from([0.0, 1e-30, 1e-4, 1.0, 1e15]),
    st.sampled_from([0.0, 30.0]),
    st.sampled_from([0, 1, 9e4]),
    st.sampled_from([0.0, 1e-4, 1.0, 1e4]),
)
def test_no_pre_activation_is_above_its_bound(
    kind: type[Bounds], shape: tuple[int, int, int, int], size: float, offset: float, lone: float, shifts: float
) -> None:
    """Of any width, of tiny and of huge inputs, where products cancel, where one entry is all there is, and where the
    shift is nothing or all."""
    x, W, shift = drawn(*shape, size, offset)
    shift *= shifts
    if lone:
        x[:, 0], W[0] = lone * size, lone
    above, exact = kind(W, shift).above(x), torch.addmm(shift.double(), x.double(), W.double())
    assert above.shape == exact.shape
    known = above.isfinite()
    assert bool(known.all()) or x.abs().max() > 1e18  # its square is none
    assert bool((above >= exact)[known].all())
    assert bool((above >= torch.addmm(shift, x, W))[known].all())
    if kind is cpu_int16.Bounds:
        longest = x.double().norm(dim=1, keepdim=True) * W.double().norm(dim=0).max()
        assert bool((above - exact <= 2e-3 * longest + 1e-5 * shift.abs().max() + 1e-10)[known].all())


@KINDS
@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0.0, 1.0, 30.0]), st.sampled_from([0.0, 5.0]))
def test_what_is_nominated_with_certainty_is_the_largest(
    kind: type[Bounds], seed: int, k: int, bias: float, offset: float
) -> None:
    """Also where biases are far larger than products, or products cancel."""
    x, W, shift = drawn(seed, 40, 12, 90, 1.0, offset)
    columns, values, certain = nominated(x, kind(W, bias * shift), k)
    exact = x.double() @ W.double() + bias * shift.double()
    least = exact.topk(k, dim=1).values[:, -1:]
    chosen = exact.gather(1, columns)
    assert bool((chosen >= least - 1e-4)[certain].all())
    torch.testing.assert_close(values.double(), chosen, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("by", "sure"), [(cpu_bf16, 0.9), (cpu_int16, 0.999)])
@pytest.mark.parametrize(("d", "f"), [(64, 2048), (33, 1000)])
def test_nominated_or_not_the_codes_are_the_same_and_most_rows_are_certain(by, sure: float, d: int, f: int) -> None:
    x, W, shift = drawn(0, 2000, d, f)
    ours, plain = by.entries(x, W, shift, Largest(16), True), cpu.entries(x, W, shift, Largest(16), True)
    assert torch.equal(ours[1], plain[1])
    torch.testing.assert_close(ours[2], plain[2])
    assert sure < nominated(x, by.Bounds(W, shift), 16)[2].float().mean() <= 1


@pytest.mark.parametrize("by", [cpu_bf16, cpu_int16])
@pytest.mark.parametrize("noticed", [False, True])
def test_of_a_whole_batch_the_same_are_the_largest(by, noticed: bool) -> None:
    x, W, shift = drawn(0, 1500, 33, 700)
    if noticed:
        x[77, 5] = math.nan
    ours, plain = by.entries(x, W, shift, LargestOfAll(5), False), cpu.entries(x, W, shift, LargestOfAll(5), False)
    assert len(plain[1]) == 7500
    assert torch.equal(ours[0], plain[0])
    assert torch.equal(ours[1], plain[1])
    torch.testing.assert_close(ours[2], plain[2], equal_nan=True)


@pytest.mark.parametrize("by", [cpu_bf16, cpu_int16])
def test_of_a_batch_in_which_too_few_are_above_0_all_those_are(by) -> None:
    x, W, shift = drawn(0, 1500, 33, 700)
    ours = by.entries(x, W, shift - 15, LargestOfAll(5), False)
    plain = cpu.entries(x, W, shift - 15, LargestOfAll(5), False)
    assert 0 < len(plain[1]) < 7500
    assert torch.equal(ours[1], plain[1])


@pytest.mark.parametrize("by", [cpu_bf16, cpu_int16])
@pytest.mark.parametrize("noticed", [False, True])
@pytest.mark.parametrize("each", [False, True])
def test_above_floors_are_the_same(by, each: bool, noticed: bool) -> None:
    x, W, shift = drawn(0, 1500, 33, 700)
    floor = torch.linspace(-10, 30, 700) if each else torch.tensor(9.0)
    if noticed:
        x[77, 5] = math.nan
    ours, plain = by.entries(x, W, shift, Above(floor), True), cpu.entries(x, W, shift, Above(floor), True)
    assert 0.03 < len(plain[1]) / 1500 / 700 < 0.3
    assert torch.equal(ours[0], plain[0])
    assert torch.equal(ours[1], plain[1])
    torch.testing.assert_close(ours[2], plain[2], equal_nan=True)


@pytest.mark.parametrize("by", [cpu_bf16, cpu_int16])
def test_rows_of_equal_entries_are_not_certain_and_the_first_are_taken(by) -> None:
    x, W, shift = torch.ones(3, 4), torch.ones(4, 60), torch.zeros(60)
    assert not nominated(x, by.Bounds(W, shift), 5)[2].any()
    assert by.entries(x, W, shift, Largest(5), True)[1].tolist() == 3 * [0, 1, 2, 3, 4]


@pytest.mark.parametrize("by", [cpu_bf16, cpu_int16])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["x", "W", "shift"])
@pytest.mark.parametrize("choice", [Largest(4), Above(torch.tensor(2.0))])
def test_what_is_not_finite_goes_on_to_where_it_is_noticed(by, value: float, where: str, choice) -> None:
    x, W, shift = drawn(0, 9, 7, 100)
    {"x": x, "W": W, "shift": shift}[where][(3,) * {"x": 2, "W": 2, "shift": 1}[where]] = value
    ours, plain = by.entries(x, W, shift, choice, True), cpu.entries(x, W, shift, choice, True)
    assert torch.equal(ours[1], plain[1])
    torch.testing.assert_close(ours[2], plain[2], equal_nan=True)


@pytest.mark.parametrize("by", [cpu_bf16, cpu_int16])
def test_more_precise_inputs_are_not_nominated_by_less_precise_bounds(by) -> None:
    x, W, shift = (each.double() for each in drawn(0, 9, 7, 100))
    ours, plain = by.entries(x, W, shift, Largest(4), True), cpu.entries(x, W, shift, Largest(4), True)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_where_it_gains_nothing_there_are_no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(cpu_int16, "Bounds", None)
    x, W, shift = drawn(0, 9, 7, 100)
    assert len(cpu_int16.entries(x, W, shift, Largest(1), True)[1]) == 9
    for least in ("LEAST_ROWS", "LEAST_ENTRIES"):
        monkeypatch.setattr(cpu_int16, least, 0)
    assert len(cpu_int16.entries(x, W, shift, Above(torch.tensor(0.0)), True)[1]) > 300


@pytest.mark.parametrize("threads", [1, 3])
def test_codes_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    x, W, shift = drawn(0, 1500, 33, 1900)
    with on(threads):
        found = cpu_int16.entries(x, W, shift, Largest(5), True)
    assert all(torch.equal(a, b) for a, b in zip(found, cpu_int16.entries(x, W, shift, Largest(5), True), strict=True))


@pytest.mark.parametrize("method", ["topk(k=3)", "batch_topk(k=3)", "jumprelu(threshold=2.0)"])
@pytest.mark.parametrize("encoder", list(ENCODERS))
def test_a_training_learns_by_bounds_what_it_learns_without(
    method: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where what is encoded has a gradient of its own."""

    monkeypatch.setattr(cpu_int16, "possible", lambda: True)

    def learnt(by: str) -> dict[str, Tensor]:
        config = RunConfig(method=method, d_sae=200, encoder=encoder, revive="none()")
        trainer = Trainer(override(config, {"training.backend": by, "training.steps": 5}), 12)
        x = drawn(0, 700, 12, 1)[0]
        trainer.fit_(x)
        for _ in range(5):
            trainer.update(x)
        return trainer.dictionary.state_dict()

    torch.testing.assert_close(learnt("cpu_int16"), learnt("cpu"), rtol=1e-3, atol=1e-4)
