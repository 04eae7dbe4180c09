"""The last three points of the agenda, on small models of the study's own: a Mamba, the way of a training, and the
experts of a mixture. Shapes: N positions, F features, E experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unweave.activations.corpus import corpus
from unweave.activations.harvest import harvest
from unweave.config import RunConfig
from unweave.dictionary import Dictionary
from unweave.dictionary.codes import dense
from unweave.evaluation.evaluate import defined
from unweave.evaluation.language.baselines import untrained
from unweave.evaluation.match import correlated, nearest, share
from unweave.evaluation.routing import by_token, told
from unweave.studies.agenda.lab import Lab, row
from unweave.studies.agenda.models import checkpoints, last
from unweave.subject import mixture
from unweave.subject.text_model import ACTIVE

# Held-out rows that features are compared on, for each that dictionaries are scored on.
_TIMES = 4


def mamba(lab: Lab) -> dict[str, Any]:
    """Dictionaries of a Mamba, beside those of a Transformer and of the same Mamba with its weights shuffled.

    alike: how far the Mamba's features are found again elsewhere, by the correlation of their codes with the best
    feature's on the same held-out tokens: in the dictionary of another seed, in the Transformer, in the Mamba with its
    weights shuffled, and in the Transformer on other tokens, which is chance.
    """
    subject = last(lab, "mamba")
    kinds = {"Mamba": subject, "Transformer": last(lab, "gpt2"), "shuffled Mamba": f"control(of={subject!r}, seed=0)"}
    rows, codes = [], {}
    for name, call in kinds.items():
        configs = _seeds(lab, call, "resid_post")
        rows += [each | {"is_control": name == "shuffled Mamba"} for each in lab.compare({name: configs})]
        codes[name] = _trained_codes(lab, configs)
    own, n = codes["Mamba"], lab.study.seeds
    order = torch.randperm(len(own[0]), generator=torch.Generator().manual_seed(0))
    there = {
        "the Mamba, another seed": [*own[1:], own[0]] if n > 1 else [],
        "the Transformer": codes["Transformer"],
        "the shuffled Mamba": codes["shuffled Mamba"],
        "the Transformer, other tokens": [each[order] for each in codes["Transformer"]],
    }
    alike = [
        row(name, [_matched(correlated(_alive(a), b)) for a, b in zip(own, each, strict=True)])
        for name, each in there.items()
        if each
    ]
    for each in alike[-2:]:
        each["is_control"] = True
    return {"subject": subject, "site": lab.middle("resid_post", subject), "rows": rows, "alike": alike}


def dynamics(lab: Lab) -> dict[str, Any]:
    """A dictionary at each kept step of a Transformer's training, all with the same seeds.

    Of each row: the features that fire, and how many of their decoder rows have one near them in the dictionary of the
    last step: that of the same seed, which began with the same weights, and that of the next seed. ceiling and floor
    are the last step's with the next seed, and random directions.
    """
    steps = checkpoints(lab, "gpt2")
    configs = {step: _seeds(lab, call, "resid_post") for step, call in steps.items()}
    rows = {step: lab.compare({f"step {step:,}": each})[0] for step, each in configs.items()}
    made = {step: [run.dictionary() for run in lab.train(each)] for step, each in configs.items()}
    end, n = [dictionary.W_dec.detach() for dictionary in made[max(made)]], lab.study.seeds
    for step, each in rows.items():
        for seed, scores in enumerate(each["seeds"]):
            fires = _codes(lab, configs[step][seed], made[step][seed]).amax(0) > 0
            W = made[step][seed].W_dec.detach()[fires]
            scores |= defined(_matched(nearest(W, end[seed])))
            if n > 1:
                other = _matched(nearest(W, end[(seed + 1) % n]))
                scores |= defined({f"{key}_other": value for key, value in other.items()})
    draw = torch.Generator().manual_seed(2**31)  # none of the seeds that dictionaries begin from
    floor = [_matched(nearest(torch.randn(W.shape, generator=draw), W)) for W in end]
    return {
        "subject": steps[max(steps)],
        "site": configs[max(steps)][0].site,
        "rows": [*rows.values(), row("random directions", floor, is_control=True)],
    }


def experts(lab: Lab) -> dict[str, Any]:
    """How well one feature of what a mixture's router reads tells whether an expert is chosen, beside the same
    dictionary before its training, what the token alone tells, and a router whose choices are shuffled."""
    subject = last(lab, "mixtral")
    of, configs = lab.subject(subject), _seeds(lab, subject, "mlp_in")
    (scores,) = lab.compare({"dictionary": configs})
    site = configs[0].site
    router = site.replace("mlp_in", "router")
    found = harvest(of, lab.rows(configs[0], _TIMES), [router])
    chosen = _chosen(found.vectors[router])
    order = _shuffle(len(chosen))
    trained = _trained_codes(lab, configs)
    fresh = [_codes(lab, config, _fresh(lab, config)) for config in configs]
    told_of = [
        row("dictionary", [told(codes, chosen) for codes in trained]),
        row("before its training", [told(codes, chosen) for codes in fresh], is_control=True),
        row("the token alone", [by_token(found.token, chosen, of.alphabet.size)], is_control=True),
        row("dictionary, shuffled router", [told(codes, chosen[order]) for codes in trained], is_control=True),
    ]
    used = chosen.double().mean(0).tolist()
    return {"subject": subject, "site": site, "rows": [scores], "told": told_of, "used": used}


def _chosen(logits: Tensor) -> Tensor:
    """`[N, E] bool`: which experts a router of logits `[N, E]` chooses."""
    _, which = mixture.chosen(logits, ACTIVE)
    return torch.zeros(logits.shape, dtype=torch.bool).scatter(1, which, True)


def _shuffle(n: int) -> Tensor:
    """An order of n positions in which those of each half stay in it."""
    draw, middle = torch.Generator().manual_seed(0), n // 2
    return torch.cat([torch.randperm(middle, generator=draw), middle + torch.randperm(n - middle, generator=draw)])


def _seeds(lab: Lab, subject: str, kind: str) -> list[RunConfig]:
    return lab.seeds(subject, lab.middle(kind, subject), context=lab.study.small.n_positions)


def _trained_codes(lab: Lab, configs: Sequence[RunConfig]) -> list[Tensor]:
    runs = lab.train(configs)
    return [_codes(lab, config, run.dictionary()) for config, run in zip(configs, runs, strict=True)]


@torch.no_grad()
def _codes(lab: Lab, config: RunConfig, dictionary: Dictionary) -> Tensor:
    """`[N, F]`, of the rows that features are compared on."""
    of, rows = lab.subject(config.subject), lab.rows(config, _TIMES)
    return dense(dictionary.encode(harvest(of, rows, [config.site]).vectors[config.site]))


def _fresh(lab: Lab, config: RunConfig) -> Dictionary:
    of = lab.subject(config.subject)
    return untrained(config, of, corpus(config.data, of))


def _alive(codes: Tensor) -> Tensor:
    return codes[:, codes.amax(0) > 0]


def _matched(likeness: Tensor) -> dict[str, float]:
    """matched: how many features have one like them; mean: of each its likeness to the one most like it."""
    return {"matched": share(likeness), "mean": float(likeness.mean())}
