"""The agenda of report 003 (OpenMOSS 2024, "Agenda"), each point as a small experiment beside what it is to be better
than: KL-guided training, gate and magnitude apart (GLU), the cosine as objective, MLP outputs predicted from MLP inputs
(transcoders), a Mamba, dictionaries along a training, and features against the experts of a mixture.

The first four are on the study's subject; for the last three a Transformer, a Mamba and a mixture are trained here, all
small and alike. They are small experiments: a few hundred thousand tokens a dictionary, one subject, nothing tuned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from unweave import files
from unweave.config import to_dict
from unweave.runs import Report
from unweave.studies.agenda import objectives, others
from unweave.studies.agenda.lab import Lab, OnStage
from unweave.studies.agenda.lab import Study as Study
from unweave.studies.agenda.models import models

EXPERIMENTS: dict[str, Callable[[Lab], dict[str, Any]]] = {
    "kl": objectives.kl,
    "glu": objectives.glu,
    "cosine": objectives.cosine,
    "transcoder": objectives.transcoder,
    "models": models,
    "mamba": others.mamba,
    "dynamics": others.dynamics,
    "experts": others.experts,
}
"""In this order; "models" is no point of the agenda, but what the three after it are on."""


def carry_out(
    study: Study, on_stage: OnStage = lambda *_: None, on_report: Callable[[Report], None] = lambda report: None
) -> dict[str, Any]:
    """Train and score what each point needs; what study.json in its folder then holds.

    Begun again it goes on where it was: an experiment whose figures are there is not looked at again. Raises ValueError
    for a folder of a study with other settings, and a subject without a residual stream or MLPs.
    """
    settings = {name: value for name, value in to_dict(study).items() if name != "folder"}
    files.claim(study.folder / "settings.json", settings)
    lab, found = Lab(study, on_stage, on_report), {}
    for name, experiment in EXPERIMENTS.items():
        path = study.folder / f"{name}.json"
        if not path.exists():
            lab.stage(name)
            began = time.perf_counter()
            made = experiment(lab)
            files.write_json(path, {**made, "seconds": round(time.perf_counter() - began, 1)})
        found[name] = files.read_json(path)
    whole = {"version": 1, **settings, "steps_of_each": lab.steps, "experiments": found}
    files.write_json(study.folder / "study.json", whole)
    return whole
