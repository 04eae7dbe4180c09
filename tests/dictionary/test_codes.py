"""Sparse codes against their dense form."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from unweave.dictionary.codes import Sparse, combine, dense, fired, mean_l0, row_sum, sparse


@st.composite
def dense_codes(draw) -> Tensor:
    b, f = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return torch.randn(b, f, generator=g).relu()


@given(dense_codes())
def test_there_and_back(codes: Tensor) -> None:
    assert torch.equal(dense(sparse(codes)), codes)


@given(dense_codes())
def test_every_reading_agrees(codes: Tensor) -> None:
    s = sparse(codes)
    W = torch.randn(codes.shape[1], 5, generator=torch.Generator().manual_seed(1))
    assert isinstance(combine(s, W), Float[Tensor, f"{len(codes)} 5"])
    torch.testing.assert_close(combine(s, W), codes @ W)
    torch.testing.assert_close(row_sum(s), codes.sum(-1))
    torch.testing.assert_close(row_sum(s, W[:, 0]), codes @ W[:, 0])
    torch.testing.assert_close(row_sum(codes, W[:, 0]), codes @ W[:, 0])
    assert torch.equal(fired(s), (codes > 0).any(0))
    assert mean_l0(s) == mean_l0(codes) == (codes > 0).double().sum(-1).mean().item()


def test_an_entry_of_zero_is_not_active() -> None:
    s = Sparse(torch.tensor([0, 2]), torch.tensor([0, 2]), torch.tensor([1.0, 0.0]), 3)
    assert mean_l0(s) == 1
    assert fired(s).tolist() == [True, False, False]
    assert sparse(s).features.tolist() == [0]


def test_gradients_of_sparse_equal_dense() -> None:
    torch.manual_seed(0)
    pre, W = (
        torch.randn(4, 6, dtype=torch.float64, requires_grad=True),
        torch.randn(6, 3, dtype=torch.float64, requires_grad=True),
    )
    top = pre.topk(2, dim=-1)
    s = Sparse(torch.arange(0, 9, 2), top.indices.flatten(), top.values.flatten().relu(), 6)
    grads = [
        torch.autograd.grad(
            combine(codes, W).pow(3).sum() + row_sum(codes, W.norm(dim=1)).sum(), [pre, W], retain_graph=True
        )
        for codes in (s, dense(s))
    ]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)
