"""The short way of a step, over active pairs alone, against the long one: dense matrices and torch's own gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.dictionary import METHODS
from unweave.dictionary.codes import Sparse, dense, mapped, of_features, of_rows, row_max, row_sum
from unweave.dictionary.core import Step
from unweave.dictionary.kernels import cpu, pairs, sparse
from unweave.dictionary.kernels.select import above, rest_of_rows
from unweave.training.loop import Trainer
from unweave.training.optimiser import Optimiser
from unweave.training.properties import fitting

D, F, B = 16, 64, 700  # more rows than are looked at at a time

# Codes with few above zero are what these are for.
BOTH_WAYS = (
    "none",
    "relu(by_norm=True)",
    "tanh",
    "smoothed_l0",
    "freshmans_dream(p=1.5)",
    "without_topk(k=4)",
    "without_topk(k=4, p=2.0)",
    "p_anneal",
    "gated",
    "gated_p_anneal",
    "jumprelu",
    "jumprelu_target",
    "jumprelu_tanh(bandwidth=0.5)",
)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sparse_trainer(method: str, dtype: torch.dtype, d_out: int | None = None, **settings: str) -> Trainer:
    """Before its first step; few pre-activations are above zero."""
    config = override(RunConfig(method=method, d_sae=F, revive="none()"), {"training.steps": 100, **settings})
    trainer = Trainer(config, D, d_out)
    trainer.fit_(2 * drawn(0, B, D) + 1, None if d_out is None else drawn(1, B, d_out))
    with torch.no_grad():
        for seed, (name, p) in enumerate(trainer.dictionary.coder.named_parameters()):
            p += 0.05 * drawn(seed, *p.shape) - (1.0 if name in ("b_enc", "b_gate") else 0.0)
    trainer.optimiser = Optimiser(trainer.dictionary.to(dtype), config.training)  # it remembers in that precision too
    return trainer


def taken(trainer: Trainer, by: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Step, dict[str, Tensor]]:
    """The step and the gradients by a backend, which takes the short way at any share of active pairs."""
    for module in (cpu, sparse):
        monkeypatch.setattr(module, "SHARE", 1.0)
    d = trainer.dictionary
    d.zero_grad()
    x = (2 * drawn(2, B, D) + 1).to(d.W_dec.dtype)
    with pairs.backend(by):
        step = trainer.look(x, drawn(3, B, d.d_out).to(x) if d.transcodes else None)
        torch.stack(list(trainer.parts(step).values())).sum().backward()
    return step, {name: p.grad.clone() for name, p in d.named_parameters() if p.grad is not None}


def agree(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, by: str = "cpu") -> tuple[Step, Step]:
    """Both ways' codes, losses and gradients are the same; the steps of both."""
    (short, ours), (long, plain) = taken(trainer, by, monkeypatch), taken(trainer, "reference", monkeypatch)
    torch.testing.assert_close(dense(short.codes), dense(long.codes))
    torch.testing.assert_close(trainer.parts(short), trainer.parts(long))
    assert ours.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-12)
    return short, long


@pytest.mark.parametrize("by", ["cpu", "sparse"])
@pytest.mark.parametrize("method", [*BOTH_WAYS, *(fitting(name) for name in METHODS)])
def test_both_ways_give_the_same_losses_and_gradients(method: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = agree(sparse_trainer(method, torch.float64), monkeypatch, by)
    if method in BOTH_WAYS:
        assert isinstance(short.codes, Sparse)
        assert isinstance(long.codes, Tensor)


@pytest.mark.parametrize("method", ["relu", "gated", "jumprelu"])
def test_both_ways_of_transcoders_and_of_deeper_encoders(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    agree(sparse_trainer(method, torch.float64, d_out=9), monkeypatch)
    agree(sparse_trainer(method, torch.float64, encoder="deep(width=8)"), monkeypatch)


@pytest.mark.parametrize("by", ["cpu", "sparse"])
@pytest.mark.parametrize("method", [*BOTH_WAYS, "topk(k=4)", "batch_topk(k=4)"])
def test_single_precision_stays_near_dense_double(method: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = taken(sparse_trainer(method, torch.float32), by, monkeypatch)
    _, exact = taken(sparse_trainer(method, torch.float64), "reference", monkeypatch)
    for name, gradient in exact.items():
        if "threshold" not in name:  # an entry at the edge of a window is counted or not
            assert (ours[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("method", ["relu", "gated", "jumprelu(bandwidth=0.01)"])
def test_the_way_follows_from_how_many_are_active(method: str) -> None:
    trainer = sparse_trainer(method, torch.float32)
    coder, x = trainer.dictionary.coder, drawn(5, B, D)
    bias = coder.b_gate if method == "gated" else coder.b_enc
    for shift, kind in ((-3.0, Sparse), (6.0, Tensor)):
        with torch.no_grad():
            bias += shift  # type: ignore[operator]
        assert isinstance(trainer.dictionary.encode(x), kind)


def test_a_training_goes_where_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(by: str) -> dict[str, Tensor]:
        monkeypatch.setattr(cpu, "SHARE", 1.0)
        trainer = sparse_trainer("relu(l1=0.1)", torch.float64, **{"training.backend": by})
        for step in range(30):
            trainer.update(drawn(step, 64, D).double())
        return trainer.dictionary.state_dict()

    torch.testing.assert_close(trained("cpu"), trained("reference"), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", ["relu", "jumprelu", "gated"])
def test_nan_is_noticed(method: str) -> None:
    trainer = sparse_trainer(method, torch.float32)
    with torch.no_grad():
        trainer.dictionary.coder.W_enc[0, 3] = torch.nan  # type: ignore[index, operator]
    with pytest.raises(FloatingPointError):
        trainer.update(drawn(0, B, D))


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 40), st.booleans())
def test_entries_above_a_floor(seed: int, rows: int, columns: int, each: bool) -> None:
    x = drawn(seed, rows, columns).round(decimals=1)
    floor = drawn(seed + 1, columns).round(decimals=1) if each else torch.tensor(0.0)
    offsets, features = above(x, floor)
    at = torch.repeat_interleave(torch.arange(rows), offsets.diff())
    assert torch.equal(torch.stack([at, features], 1), (x > floor).nonzero())


@given(st.integers(0, 10**6), st.integers(0, 9), st.integers(1, 6))
def test_the_rest_beyond_the_k_largest(seed: int, most: int, k: int) -> None:
    """With ties, and with rows that have fewer than k."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, most + 1, (6,), generator=g)
    values = torch.randint(0, 4, (int(lengths.sum()),), generator=g).float()
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    expected = []
    for row in values.split(lengths.tolist()):
        order = row.sort(descending=True, stable=True).indices
        expected.append(torch.ones(len(row), dtype=torch.bool).index_fill(0, order[:k], False))
    assert torch.equal(rest_of_rows(offsets, values, k), torch.cat(expected))


def test_readings_of_sparse_codes_equal_those_of_dense_ones() -> None:
    sparse_codes, dense_codes = (
        Sparse(torch.tensor([0, 2, 2, 3]), torch.tensor([0, 3, 1]), torch.tensor([2.0, 0.5, 3.0]), 4),
        torch.tensor([[2.0, 0, 0, 0.5], [0, 0, 0, 0], [0, 3.0, 0, 0]]),
    )
    of_row, of_feature = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 10.0, 100.0, 1000.0])
    for change in (
        lambda codes: mapped(codes, torch.tanh),
        lambda codes: of_rows(codes, of_row),
        lambda codes: of_features(codes, of_feature),
    ):
        assert torch.equal(dense(change(sparse_codes)), change(dense_codes))
    assert torch.equal(row_max(sparse_codes), row_max(dense_codes))
    assert torch.equal(row_sum(sparse_codes), row_sum(dense_codes))
