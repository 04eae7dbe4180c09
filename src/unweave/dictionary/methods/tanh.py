"""The tanh penalty: it grows with a code while that is small and then stays, so that it does not shrink large codes."""

from __future__ import annotations

from unweave.dictionary.core import Linear, Method, method
from unweave.dictionary.methods.relu import ReLU
from unweave.dictionary.terms import error, saturating


@method
def tanh(l0: float = 1.0, c: float = 1.0) -> Method:
    """codes = relu(pre); error + l0 * sum of tanh(c f ||d||), about the number of active features for a large c.

    ||d||, the decoder row's norm, is the April update's; the February update has rows of norm 1.
    """
    if not c > 0:
        raise ValueError(f"tanh: c must be above 0, not {c}")

    return Method(
        source="Jermyn et al. 2024, transformer-circuits.pub, February update; Conerly et al. 2024, April update",
        coder=lambda W_dec: Linear(W_dec, ReLU()),
        losses={"error": (1.0, error)},
        penalties={"tanh": (l0, saturating(c))},
    )
