"""Smoothed L0 (Quaisley, report 001): a sigmoid counts a code as one feature once it is clearly above zero."""

from __future__ import annotations

import math

from torch import Tensor

from unweave.dictionary.codes import mapped, row_sum
from unweave.dictionary.core import Linear, Method, Step, method
from unweave.dictionary.methods.relu import ReLU
from unweave.dictionary.terms import error


@method
def smoothed_l0(alpha: float = 100.0, delta: float = 10.0, epsilon: float = 0.01) -> Method:
    """codes = relu(pre); error + alpha * (1/F) * sum of sigmoid(m (f - delta/2)), m = (2/delta) ln(1/epsilon - 1).

    A code of 0 counts as epsilon of a feature, one of delta as 1 - epsilon. delta is in the units of the inputs after
    normalisation; the report's alpha, .7, belongs, as far as one can tell, to
    objective="unsquared(by_width=True)" and inputs as they are.
    """
    if not (delta > 0 and 0 < epsilon < 0.5):
        raise ValueError(
            f"smoothed_l0: delta must be above 0 and epsilon between 0 and 0.5, not delta={delta}, epsilon={epsilon}"
        )
    steepness = 2 / delta * math.log(1 / epsilon - 1)

    def smoothed(step: Step) -> Tensor:
        above = mapped(step.codes, lambda f: (steepness * (f - delta / 2)).sigmoid() - epsilon)
        return epsilon + row_sum(above).mean() / step.dictionary.d_sae

    return Method(
        source="Quaisley 2024, report 001, 'Smoothed-L0'",
        coder=lambda W_dec: Linear(W_dec, ReLU()),
        losses={"error": (1.0, error)},
        penalties={"smoothed_l0": (alpha, smoothed)},
    )
