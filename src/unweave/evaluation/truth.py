"""One readout, scored completely against the true state of the board.

Features, labels and thresholds are chosen on half A of the held-out games, and every number is of half B.
Shapes: F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from unweave.evaluation import classifiers
from unweave.evaluation.auroc import auroc
from unweave.evaluation.coverage import coverage
from unweave.evaluation.ground_truth import BoardLabels
from unweave.evaluation.readout import Readout


@dataclass(frozen=True)
class TruthScores:
    """scores: by metric, e.g. "pairs/1"; auroc, auroc_within: `[F, 252] float64` of half B, NaN where undefined;
    best_feature: `[252] int64`, each label's best feature on half A, -1 where undefined; label_of: `[F] int64`, each
    feature's best label there, -1 for a feature that is above .5 for none.
    """

    scores: dict[str, float]
    auroc: np.ndarray
    auroc_within: np.ndarray
    best_feature: np.ndarray
    label_of: np.ndarray


def score(readout_a: Readout, labels_a: BoardLabels, readout_b: Readout, labels_b: BoardLabels) -> TruthScores:
    """Every ground-truth metric of a readout, given on both halves of the held-out games.

    Raises ValueError when readouts and labels do not fit together, or a readout has NaN or infinite values.
    """
    covered = coverage(readout_a, labels_a, readout_b, labels_b)
    found = classify(readout_a, labels_a, readout_b, labels_b)
    return replace(found, scores=found.scores | covered.scores())


def classify(readout_a: Readout, labels_a: BoardLabels, readout_b: Readout, labels_b: BoardLabels) -> TruthScores:
    """What AUROC says, without coverage and reconstruction: all that there is to say of values that may be negative."""
    pooled_a, within_a = auroc(readout_a, labels_a)
    pooled_b, within_b = auroc(readout_b, labels_b)
    counts = classifiers.count(pooled_a, pooled_b) | classifiers.count(within_a, within_b, "_within")
    best = classifiers.best_features(pooled_a), classifiers.best_labels(pooled_a)
    return TruthScores(counts, pooled_b, within_b, *best)
