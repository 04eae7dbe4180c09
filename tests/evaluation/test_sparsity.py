"""L0, density and dead features, against numpy on the whole sample at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float, Int
from torch import Tensor

from unweave.dictionary.codes import Sparse, sparse
from unweave.evaluation.sparsity import Sparsity


def codes(n: int, d_sae: int, seed: int) -> Tensor:
    """About a third active, some negative, the first feature never active."""
    made = torch.randn(n, d_sae, generator=torch.Generator().manual_seed(seed))
    made[made.abs() < 0.5] = 0
    made[:, 0] = -made[:, 0].abs()
    return made


def test_against_numpy() -> None:
    made = codes(50, 7, 0)
    seen = Sparsity(7, "embed")
    seen.update(made)
    active = made.numpy() > 0
    assert seen.result() == pytest.approx(
        {
            "l0/1": active.sum(1).mean(),
            "density_median/1": np.median(active.mean(0)),
            "dead/1": 1 / 7,
        }
    )
    np.testing.assert_allclose(seen.density.numpy(), active.mean(0))
    np.testing.assert_array_equal(seen.max.numpy(), np.maximum(made.numpy().max(0), 0))
    assert isinstance(seen.density, Float[Tensor, "7"])
    assert isinstance(seen.count, Int[Tensor, "7"])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 99), st.booleans())
def test_batches_and_forms_do_not_matter(sizes: list[int], seed: int, as_sparse: bool) -> None:
    made = codes(sum(sizes) + 1, 6, seed)
    whole, parts = Sparsity(6, "embed"), Sparsity(6, "embed")
    whole.update(made)
    for part in made.split([*sizes, 1]):
        parts.update(sparse(part) if as_sparse else part)
    assert parts.result() == whole.result()
    assert torch.equal(parts.max, whole.max)
    assert torch.equal(parts.count, whole.count)


def test_an_entry_of_0_is_not_active() -> None:
    seen = Sparsity(4, "embed")
    seen.update(Sparse(torch.tensor([0, 2, 3]), torch.tensor([1, 3, 3]), torch.tensor([0.0, 2.0, 5.0]), 4))
    assert seen.count.tolist() == [0, 0, 0, 2]
    assert seen.max.tolist() == [0, 0, 0, 5]
    assert seen.result()["l0/1"] == 1


def test_bad_input() -> None:
    seen = Sparsity(3, "resid_post.2")
    with pytest.raises(ValueError, match=r"resid_post\.2 was counted: the sample is empty"):
        seen.result()
    with pytest.raises(ValueError, match=r"4 features at resid_post\.2, where 3"):
        seen.update(torch.zeros(2, 4))
    for bad in (float("nan"), float("inf")):
        made = torch.zeros(2, 3)
        made[1, 1] = bad
        with pytest.raises(ValueError, match=r"at resid_post\.2 have NaN or infinite values"):
            seen.update(made)
    assert seen.n == 0
