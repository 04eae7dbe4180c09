"""The freshman's dream (Quaisley, report 001), for p = 2 the Hoyer-square: how far (sum f)^p is from sum f^p."""

from __future__ import annotations

from torch import Tensor

from unweave.dictionary.codes import mapped, of_rows, row_max, row_sum
from unweave.dictionary.core import Linear, Method, Step, method
from unweave.dictionary.methods.relu import ReLU
from unweave.dictionary.terms import error


@method
def freshmans_dream(alpha: float = 200.0, p: float = 2.0) -> Method:
    """codes = relu(pre); error + alpha * (1/F) * (sum f)^p / sum f^p, which for n equal codes and p = 2 is n/F; 0 where
    no code is above zero.

    It does not change when all codes are scaled. The report's alpha, 1.2, belongs, as far as
    one can tell, to objective="unsquared(by_width=True)".
    """
    if not p > 1:
        raise ValueError(f"freshmans_dream: p must be above 1, where the ratio is smallest for one code, not {p}")

    def ratio(step: Step) -> Tensor:
        largest = row_max(step.codes)
        f = of_rows(step.codes, 1 / largest.clamp(min=1e-30))  # so that no power under- or overflows
        some, powers = largest > 0, row_sum(mapped(f, lambda f: f.pow(p)))
        return (row_sum(f).pow(p) / powers.where(some, 1)).where(some, 0).mean() / step.dictionary.d_sae

    return Method(
        source="Quaisley 2024, report 001, 'Freshman's dream'; p = 2: Yang et al. 2020, arXiv 1908.09979 (DeepHoyer)",
        coder=lambda W_dec: Linear(W_dec, ReLU()),
        losses={"error": (1.0, error)},
        penalties={"freshmans_dream": (alpha, ratio)},
    )
