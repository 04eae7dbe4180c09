"""The scores that need no labels, of many dictionaries of one subject at once, on games and text alike.

Shapes: G rows of tokens, S positions.
"""

from __future__ import annotations

from collections.abc import Sequence

from unweave.activations.harvest import harvest
from unweave.dictionary import Dictionary
from unweave.evaluation.language.predictions import POSITIONS, Predictions, parts
from unweave.evaluation.language.rebuilt import Rebuilt
from unweave.rows import Rows
from unweave.subject import joined
from unweave.subject.base import Subject


def brief(subject: Subject, rows: Rows, dictionaries: Sequence[tuple[Dictionary, str, str]]) -> list[dict[str, float]]:
    """For each dictionary, which reads a site and writes a target: sparsity and reconstruction of what it learns from
    in `rows [G, S]`, and what the subject predicts with it spliced in.

    Raises ValueError for an unknown site, rows that have nothing to predict, or activations that are not finite.
    """
    known, predictions = subject.sites(), Predictions(subject, rows)
    placed = [(d, joined.resolve(site, known), joined.resolve(to, known)) for d, site, to in dictionaries]
    sites = list(dict.fromkeys(one for _, site, target in placed for one in (site, target)))
    mean = predictions.means(sites)
    rebuilt = [Rebuilt(d, site, target, mean[target]) for d, site, target in placed]
    for part in parts(predictions.rows, POSITIONS):
        found = harvest(subject, part, sites).vectors
        for each, (_, site, target) in zip(rebuilt, placed, strict=True):
            each.update(found[site], found[target])
    spliced = predictions.spliced([{(site, target): d} for d, site, target in placed])
    return [each.result() | scores for each, scores in zip(rebuilt, spliced, strict=True)]
