"""The plain sparse autoencoder: a ReLU, with an L1 penalty or with none."""

from __future__ import annotations

from torch import Tensor

from unweave.dictionary.core import Linear, Method, Pointwise, method
from unweave.dictionary.kernels.select import Above, positive
from unweave.dictionary.terms import error, l1_by_norm
from unweave.dictionary.terms import l1 as sum_of_codes


class ReLU(Pointwise):
    @property
    def choice(self) -> Above:
        return positive

    def values(self, pre: Tensor, features: Tensor | None = None) -> Tensor:
        return pre.relu()


@method
def none() -> Method:
    """codes = relu(pre), no penalty: what an overcomplete autoencoder does when nothing asks it to be sparse."""
    return Method(source="-", coder=lambda W_dec: Linear(W_dec, ReLU()), losses={"error": (1.0, error)})


@method
def relu(l1: float = 1.0, by_norm: bool = False) -> Method:
    """codes = relu(pre); error + l1 * sum over F of the codes, mean over the batch.

    Args: by_norm: count each code times its decoder row's norm, for decoders that are not kept at unit norm.
    """
    if l1 < 0:
        raise ValueError(f"relu: l1 is a penalty's weight, so it cannot be negative ({l1})")
    penalty = l1_by_norm if by_norm else sum_of_codes
    return Method(
        source="Bricken et al. 2023, transformer-circuits.pub/2023/monosemantic-features; by_norm: Conerly et al. 2024",
        coder=lambda W_dec: Linear(W_dec, ReLU()),
        losses={"error": (1.0, error)},
        penalties={"l1": (l1, penalty)},
    )
