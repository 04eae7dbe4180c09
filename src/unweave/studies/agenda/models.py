"""Small language models of the study's own: a Transformer, a Mamba and a mixture of experts, trained alike on its text.

Shapes: G rows, S positions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from unweave.activations.corpus import corpus
from unweave.config import DataConfig
from unweave.rows import Rows
from unweave.studies.agenda.lab import Lab
from unweave.subject import Subject, TextTraining, pretrain_text
from unweave.subject.pretrain import Pretraining
from unweave.subject.sequences import Sequences
from unweave.text import ngram

KINDS = ("gpt2", "mamba", "mixtral")
BATCH = 16

# Held-out rows that the models are scored on, for each that dictionaries are.
_TIMES = 4


def checkpoints(lab: Lab, kind: str) -> dict[int, str]:
    """By step the model of a kind at each step at which it was kept, the last at the end, as subjects; trained now, or
    to its end, if it is not yet. All kinds are trained alike, whatever would suit each best."""
    study, folder = lab.study, lab.study.folder / "models" / kind
    training = TextTraining(
        model=replace(study.small, kind=kind),
        how=Pretraining(steps=study.steps, warmup=max(1, study.steps // 10), micro_batch=BATCH),
        source=study.text,
        batch=BATCH,
        keep=study.keep,
    )
    paths = {step: folder / "checkpoints" / f"step-{step:06}" for step in training.kept}
    if not paths[study.steps].is_dir():
        lab.stage(f"training a small {kind} for {study.steps} steps")
        for _ in pretrain_text(folder, training):
            pass
    return {step: f"huggingface(path={str(path)!r})" for step, path in paths.items()}


def last(lab: Lab, kind: str) -> str:
    """The trained model of a kind, as a subject."""
    return checkpoints(lab, kind)[lab.study.steps]


def models(lab: Lab) -> dict[str, Any]:
    """Every kind's loss on held-out rows, beside n-gram models' of as many training rows as each has read."""
    study, context = lab.study, lab.study.small.n_positions
    subjects = {kind: lab.subject(last(lab, kind)) for kind in KINDS}
    of = subjects["gpt2"]  # the others have the same tokenizer: it was made from the same text
    text = corpus(DataConfig(text=study.text, context=context), of)
    rows = text.sample("test", _TIMES * study.held_out, 1)
    seen = text.sample("train", study.steps * BATCH, 0).tokens
    losses = {kind: loss(subject, rows) for kind, subject in subjects.items()}
    losses |= {
        name: ngram.fit(seen, of.alphabet.size, n=n).loss(rows.tokens) for name, n in (("5-gram", 5), ("unigram", 1))
    }
    read = study.steps * BATCH * context
    return {"tokens": read, "rows": [{"name": name, "loss": nats} for name, nats in losses.items()]}


@torch.no_grad()
def loss(subject: Subject, rows: Rows) -> float:
    """Nats a token, of all in `rows [G, S]` but the first of each."""
    total, n = 0.0, 0
    for part in rows.split(64):
        sequences = Sequences(subject, part)
        total -= float(sequences.log_probs().gather(1, sequences.next[:, None]).double().sum())
        n += len(sequences.next)
    return total / n
