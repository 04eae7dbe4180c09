"""TopK that is read with a leak: once trained, codes below the k-th largest keep a little of their value.

What a feature says is an order of inputs, and below the k-th there is one that TopK throws away. A leak in training
keeps it too, but is then used to reconstruct, and features blur (docs/LOG.md, "What leaks is information").
"""

from __future__ import annotations

from torch import Tensor

from unweave.dictionary.codes import Codes
from unweave.dictionary.core import Linear, Method, method
from unweave.dictionary.methods.leaky_topk import LeakyTopK
from unweave.dictionary.methods.topk import TopK, check_k
from unweave.dictionary.terms import error


class LeakyReadout(Linear):
    def __init__(self, W_dec: Tensor, k: int, epsilon: float) -> None:
        super().__init__(W_dec, TopK(k))
        self.read = LeakyTopK(k, epsilon, relative=True)

    def forward(self, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> tuple[Codes, Tensor | None]:
        return self.through(self.activation if self.training else self.read, x, W_dec, b_dec)


@method
def leaky_readout(k: int = 32, epsilon: float = 0.001) -> Method:
    """In training TopK; once trained codes = u where u >= b, else epsilon u, u = relu(pre), b its k-th largest; the
    error.

    Of the trained dictionary every feature whose pre-activation is above 0 counts as active: its L0 is not k.
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"leaky_readout: epsilon is a share, from 0 to 1, not {epsilon}")

    def coder(W_dec: Tensor) -> LeakyReadout:
        check_k("leaky_readout", k, W_dec)
        return LeakyReadout(W_dec, k, epsilon)

    return Method(
        source="Unweave's own; the readout is leaky top-k's (Quaisley 2024, report 001)",
        coder=coder,
        losses={"error": (1.0, error)},
    )
