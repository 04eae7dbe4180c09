"""How sparse codes are, and what of the subject is left when what they rebuild stands in the activations' place.

Dictionaries and controls are measured by this one code. Shapes: N positions of half B, B batch, F features, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.codes import Codes
from unweave.evaluation.context import Context
from unweave.evaluation.reconstruction import Reconstruction
from unweave.evaluation.sparsity import Sparsity

BATCH = 4096
"""Positions coded and rebuilt at a time: enough for fast products, few enough that dense codes stay small."""


class Fidelity:
    """Takes the codes of half B, one batch after another from its first position on, and what they rebuild."""

    def __init__(self, context: Context, d_sae: int) -> None:
        _, half = context.halves
        self.sparsity = Sparsity(d_sae, context.site)
        self._target, self._at = half.vectors[context.target], 0
        self._reconstruction = Reconstruction(self._target.shape[1], context.target)
        self._faithfulness, self._forward, self._spliced = context.faithfulness, context.forward, []

    def update(self, codes: Codes, x_hat: Tensor) -> None:
        """Add a batch: its codes `[B, F]` and reconstructions `[B, D]`.

        Raises ValueError for other shapes, NaN or infinite values.
        """
        part = slice(self._at, self._at + len(x_hat))
        self.sparsity.update(codes)
        self._reconstruction.update(self._target[part], x_hat)
        self._spliced.append(x_hat[self._forward[part]])
        self._at = part.stop

    def result(self) -> dict[str, float]:
        """Sparsity, reconstruction, and the subject's predictions as it is and spliced. Raises ValueError before all
        of half B has been added."""
        if self._at != len(self._target):
            raise ValueError(f"{self._at} of {len(self._target)} positions have been added")
        spliced = self._faithfulness.spliced(torch.cat(self._spliced))
        return self.sparsity.result() | self._reconstruction.result() | spliced | self._faithfulness.scores
