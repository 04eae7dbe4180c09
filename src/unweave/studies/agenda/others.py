"""The last three points of the agenda, on small models of the study's own: a Mamba, the way of a training, and the
experts of a mixture. Shapes: N positions, F features, E experts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unweave.activations.corpus import corpus
from unweave.activations.harvest import harvest
from unweave.config import RunConfig
from unweave.dictionary import Dictionary
from unweave.dictionary.codes import dense
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
        configs = lab.seeds(call, lab.middle("resid_post", call))
        (scores,) = lab.compare({name: configs})
        rows.append(scores | {"is_control": name == "shuffled Mamba"})
        codes[name] = [
            _codes(lab, config, run.dictionary()) for config, run in zip(configs, lab.train(configs), strict=True)
        ]
    own, n = codes["Mamba"], lab.study.seeds
    other = torch.randperm(len(own[0]), generator=torch.Generator().manual_seed(0))
    pairs = {
        "another seed": [(own[i], own[(i + 1) % n]) for i in range(n)] if n > 1 else [],
        "the Transformer": [(own[i], codes["Transformer"][i]) for i in range(n)],
        "the shuffled Mamba": [(own[i], codes["shuffled Mamba"][i]) for i in range(n)],
        "the Transformer, other tokens": [(own[i], codes["Transformer"][i][other]) for i in range(n)],
    }
    alike = [
        row(
            name,
            [_likeness(correlated(_alive(a), b)) for a, b in each],
            is_control="other" in name or "shuffled" in name,
        )
        for name, each in pairs.items()
        if each
    ]
    return {"subject": subject, "site": lab.middle("resid_post", subject), "rows": rows, "alike": alike}


def dynamics(lab: Lab) -> dict[str, Any]:
    """A dictionary at each kept step of a Transformer's training, all with the same seeds.

    Of each row: the features that fire, and how many of their decoder rows have one near them in the dictionary of the
    last step: that of the same seed, which began with the same weights, and that of the next seed. ceiling and floor
    are the last step's with the next seed, and random directions.
    """
    steps = checkpoints(lab, "gpt2")
    configs = {step: lab.seeds(call, lab.middle("resid_post", call)) for step, call in steps.items()}
    rows = {step: lab.compare({f"step {step:,}": each})[0] for step, each in configs.items()}
    made = {step: [run.dictionary() for run in lab.train(each)] for step, each in configs.items()}
    end, n = made[max(made)], lab.study.seeds
    for step, each in rows.items():
        for seed, scores in enumerate(each["seeds"]):
            fires = _codes(lab, configs[step][seed], made[step][seed]).amax(0) > 0
            W = made[step][seed].W_dec.detach()[fires]
            same, other = nearest(W, end[seed].W_dec.detach()), nearest(W, end[(seed + 1) % n].W_dec.detach())
            scores |= {"matched": share(same), "mmcs": float(same.mean())}
            if n > 1:
                scores |= {"matched_other": share(other), "mmcs_other": float(other.mean())}
    draw = torch.Generator().manual_seed(0)
    chance = [nearest(torch.randn(d.W_dec.shape, generator=draw), d.W_dec.detach()) for d in end]
    floor = [{"matched": share(each), "mmcs": float(each.mean())} for each in chance]
    return {
        "subject": steps[max(steps)],
        "site": configs[max(steps)][0].site,
        "rows": [*rows.values(), row("random directions", floor, is_control=True)],
    }


def experts(lab: Lab) -> dict[str, Any]:
    """How well one feature of what a mixture's router reads tells whether an expert is chosen, beside the same
    dictionary before its training, what the token alone tells, and a router whose choices are shuffled."""
    subject = last(lab, "mixtral")
    of, site = lab.subject(subject), lab.middle("mlp_in", subject)
    configs = lab.seeds(subject, site)
    (scores,) = lab.compare({"dictionary": configs})
    rows = lab.rows(configs[0], _TIMES)
    router = site.replace("mlp_in", "router")
    found = harvest(of, rows, [router])
    chosen = _chosen(found.vectors[router])
    order = _shuffle(len(chosen))
    trained = [_codes(lab, config, run.dictionary()) for config, run in zip(configs, lab.train(configs), strict=True)]
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


def _likeness(of: Tensor) -> dict[str, float]:
    return {"matched": share(of), "mean": float(of.mean())}
