"""How many features are classifiers of the board: counts of AUROC above .9, chosen on half A and scored on half B.

AUROC is not rectified: a feature that is low where the label holds does not count. Quaisley 2024 counts distinct
(square, state) pairs that have a classifier, Huben 2024 counts features. Of the 192 pairs 188 are defined: the centre
is never empty. Shapes: F features.
"""

from __future__ import annotations

import numpy as np

from unweave.evaluation.ground_truth import LEGAL, PAIRS

CLASSIFIER = 0.9

_KINDS = {
    "pairs{}/1": PAIRS,
    "pairs{}_mine/1": slice(0, 64),
    "pairs{}_theirs/1": slice(64, 128),
    "pairs{}_empty/1": slice(128, 192),
    "legal{}/1": LEGAL,
}


def best_features(auroc: np.ndarray) -> np.ndarray:
    """`[252] int64`: of `auroc [F, 252]`, each label's best feature, the first of equals; -1 where it is undefined."""
    return np.where(np.isnan(auroc).any(0), -1, np.nan_to_num(auroc, nan=-1.0).argmax(0))


def best_labels(auroc: np.ndarray) -> np.ndarray:
    """`[F] int64`: each feature's best label, the first of equals; -1 where it has none above .5, as a dead one."""
    known = np.nan_to_num(auroc, nan=-1.0)
    return np.where(known.max(1) > 0.5, known.argmax(1), -1)


def count(auroc_a: np.ndarray, auroc_b: np.ndarray, infix: str = "") -> dict[str, float]:
    """The counts of `auroc_a` and `auroc_b [F, 252]`, by name, e.g. "pairs/1"; infix "_within" where they are that.

    pairs and legal: labels whose best feature on half A has an AUROC above .9 on half B; features: those that have one
    above .9 on half B for what is their best pair on half A.
    """
    best = best_features(auroc_a)
    found = (best >= 0) & (auroc_b[best, np.arange(len(best))] > CLASSIFIER)
    counts = {key.format(infix): float(found[kind].sum()) for key, kind in _KINDS.items()}
    own = best_labels(auroc_a[:, PAIRS])
    classifiers = (own >= 0) & (auroc_b[np.arange(len(own)), own] > CLASSIFIER)
    return counts | {f"features{infix}/1": float(classifiers.sum())}
