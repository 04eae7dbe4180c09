"""The first four points of the agenda, on one subject: what a dictionary is to be close in, how it finds the size of a
code, and what it is to predict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from unweave.activations.corpus import corpus
from unweave.activations.harvest import harvest
from unweave.config import RunConfig
from unweave.dictionary import Dictionary
from unweave.dictionary.normalise import normalisation
from unweave.evaluation.language.baselines import Moments
from unweave.studies.agenda.lab import Lab, row

L1 = {"relu": (0.5, 1.0, 2.0), "glu": (1.0, 2.0, 4.0)}
"""Weights of the sum of the codes, for several levels of sparsity. A GLU's gates begin at a half, and so its codes."""

# Training rows that the linear map is fitted to: many times as many positions as it has inputs.
_FITTING = 256


def kl(lab: Lab) -> dict[str, Any]:
    """KL-guided training: the divergence of the subject's predictions as another loss, in a batch of whole rows.

    Whole rows alone change a training, so the same error is lowered on them as well, with next to no weight on the
    divergence. Its weight is D: a nat is worth as much as a whole vector of squared norm D. It was not tuned.
    """
    subject, site = _place(lab, "resid_post")
    width = lab.subject(subject).sites()[site]
    rows = lab.compare(
        {
            "squared error": lab.seeds(subject, site),
            "squared error, whole rows": lab.seeds(subject, site, objective="kl(weight=1e-09, squared=1.0)"),
            "squared error and KL": lab.seeds(subject, site, objective=f"kl(weight={float(width)}, squared=1.0)"),
        }
    )
    return {"subject": subject, "site": site, "rows": rows}


def glu(lab: Lab) -> dict[str, Any]:
    """Gate and magnitude from two matrices (GLU), beside ReLU.

    matched: for each GLU dictionary how much better it is than the ReLU of its seed where that is as sparse, by
    interpolation in the logarithm of L0; those outside the ReLU's range are left out.
    """
    subject, site = _place(lab, "resid_post")
    calls = [f"{name}(l1={l1})" for name, weights in L1.items() for l1 in weights]
    rows = lab.compare({call: lab.seeds(subject, site, method=call) for call in calls})
    of = {name: [each["seeds"] for each in rows if each["name"].startswith(name)] for name in L1}
    compared = ("fvu/1", "ce_score/1", "shrinkage/1")
    matched = []
    for seed in range(lab.study.seeds):
        curve = [scores[seed] for scores in of["relu"]]
        for l1, scores in zip(L1["glu"], of["glu"], strict=True):
            gain = {key: ahead(scores[seed], curve, key) for key in compared}
            if None not in gain.values():
                matched.append({"seed": seed, "l1": l1, "l0/1": scores[seed]["l0/1"], **gain})
    return {"subject": subject, "site": site, "rows": rows, "matched": matched}


def ahead(scores: Mapping[str, Any], curve: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """How far scores[key] is above the curve at the same L0, linear between its points in log L0; None beyond its
    ends."""
    at = math.log(max(scores["l0/1"], 1e-9))
    points = sorted((math.log(max(point["l0/1"], 1e-9)), point[key]) for point in curve)
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= at <= x1:
            share = (at - x0) / (x1 - x0) if x1 > x0 else 0.0
            return scores[key] - (y0 + share * (y1 - y0))
    return None


def cosine(lab: Lab) -> dict[str, Any]:
    """The cosine as the objective: no length is asked of a reconstruction, and its input's is given to it.

    Beside it squared error, as it is and with the same lengths given. ReLU's penalty can then be had for nothing, by
    ever smaller codes; TopK has none.
    """
    subject, site = _place(lab, "resid_post")
    width = lab.subject(subject).sites()[site]
    apart: dict[str, Any] = {"objective": f"cosine(weight={float(2 * width)})", "normalise": "direction"}
    methods: dict[str, dict[str, Any]] = {"TopK": {}, "ReLU": {"method": f"relu(l1={L1['relu'][1]})"}}
    rows = []
    for name, method in methods.items():
        squared = lab.seeds(subject, site, **method)
        first, last = lab.compare(
            {
                f"{name}, squared error": squared,
                f"{name}, cosine": lab.seeds(subject, site, **method, **apart),
            }
        )
        given = [_with_length(run.dictionary()) for run in lab.train(squared)]
        scores = lab.scored(squared[0], [(d, site, site) for d in given])
        rows += [first, row(f"{name}, squared error, lengths given", scores), last]
    return {"subject": subject, "site": site, "rows": rows}


def _with_length(dictionary: Dictionary) -> Dictionary:
    """The same dictionary of lengthless inputs, with reconstructions as long as what they stand for."""
    dictionary.input = normalisation(dictionary.d_in, "direction")
    return dictionary


def transcoder(lab: Lab) -> dict[str, Any]:
    """An MLP's output predicted from its input, beside the output's own dictionary and the best linear map."""
    subject, target = _place(lab, "mlp_out")
    site = target.replace("mlp_out", "mlp_in")
    across: dict[str, Any] = {"target": target, "normalise": "centre"}
    own = lab.seeds(subject, target, normalise="centre")
    rows = lab.compare(
        {
            "dictionary of the output": own,
            "transcoder": lab.seeds(subject, site, **across),
            "transcoder with a skip": lab.seeds(subject, site, **across, skip=True),
        }
    )
    linear = lab.scored(own[0], [(_linear_map(lab, own[0], site, target), site, target)])
    return {
        "subject": subject,
        "site": f"{site} to {target}",
        "rows": [*rows, row("linear map", linear, is_control=True)],
    }


@torch.no_grad()
def _linear_map(lab: Lab, config: RunConfig, site: str, target: str) -> Dictionary:
    """The best one of training rows, as a dictionary whose features are the input's axes."""
    of = lab.subject(config.subject)
    rows = corpus(config.data, of).sample("train", _FITTING, config.data.seed)
    found: dict[str, Tensor] = harvest(of, rows, [site, target]).vectors
    moments = Moments(found[site].shape[1], found[target].shape[1])
    moments.update(found[site], found[target])
    return moments.components(found[site].shape[1], transcodes=True)


def _place(lab: Lab, kind: str) -> tuple[str, str]:
    return lab.study.subject, lab.middle(kind, lab.study.subject)
