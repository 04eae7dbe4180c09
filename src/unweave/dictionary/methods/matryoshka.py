"""Matryoshka: the first features alone must reconstruct as well as they can, so that the general ones come first."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from unweave.dictionary.codes import Sparse, combine
from unweave.dictionary.core import Method, Step, method
from unweave.dictionary.methods.batch_topk import BatchTopK, track_threshold
from unweave.dictionary.methods.topk import of_k


def of_range(codes: Sparse, start: int, stop: int) -> Sparse:
    """The entries of the features from `start` to before `stop`."""
    at = ((codes.features >= start) & (codes.features < stop)).nonzero().squeeze(1)
    offsets = torch.searchsorted(at, codes.offsets)
    return Sparse(offsets, codes.features[at], codes.values[at], codes.d_sae)


@method
def matryoshka(k: int = 32, widths: tuple = (1 / 32, 3 / 32, 7 / 32, 15 / 32, 1.0)) -> Method:
    """BatchTopK; the sum, over widths, of the error of what the first width * F features reconstruct.

    The sum is the paper's; its code takes the mean, beside which a revival's loss weighs that much more.
    widths: shares of the features, ascending, the last 1; at least one feature each.
    """
    rising = all(a < b for a, b in itertools.pairwise(widths))
    if not (widths and rising and widths[0] > 0 and widths[-1] == 1):
        raise ValueError(f"matryoshka: widths are ascending shares of the features, the last of them 1, not {widths}")

    def nested_error(step: Step) -> Tensor:
        d = step.dictionary
        assert isinstance(step.codes, Sparse)
        errors, x_hat, start = [step.distance(step.x_hat, step.target)], None, 0
        for width in widths[:-1]:
            stop = max(1, round(width * d.d_sae))
            part = of_range(step.codes, start, stop)
            x_hat = d.decode_normalised(part, step.x) if x_hat is None else x_hat + combine(part, d.W_dec)
            errors.append(step.distance(x_hat, step.target))
            start = stop
        return torch.stack(errors).sum()

    return Method(
        source="Bussmann et al. 2025, arXiv 2503.17547, Sect. 3.1 (eq. 5)",
        coder=of_k("matryoshka", k, lambda _: BatchTopK(k)),
        losses={"nested_error": (1.0, nested_error)},
        after_step=(track_threshold,),
    )
