"""Report 003 (OpenMOSS 2024, "Open-sourcing dictionaries for GPT-2 small") done anew: a dictionary on every attention
output and every MLP output of a language model, pruned, then fine-tuned; and its two experiments on one MLP.

Its setting: 24,576 features, 32 for each of 768 dimensions, 1B tokens of OpenWebText in batches of 4,096, Adam at 1e-3
with betas 0 and .9999, inputs of norm sqrt(768) each, the error divided by the norm of the centred input, 1.2e-4 for
the sum of the codes, ghost gradients for what was silent for 5,000 steps, encoder and decoder independent, rows of norm
1 at most, no b_dec. What it counts in steps is here the same share of the steps; warm-up and cool-down are those of its
example. The penalty's weight is scaled to the width (`by_centred_norm`); the encoder starts as long as its own does.

By default all that is scaled down so that two cores need less than an hour for a model of 6 layers of width 256: with 8
features for each dimension a token costs a dictionary 10 * 256 * 2,048 = 5.2 million operations (two products forward,
three backward), all 14 of them 73 million and the model about 10; 2,000,000 tokens 1.7e14, or 40 minutes at 70 billion
a second, with some more for scores. `plan` measures what a machine makes of it.

What differs else: packed rows of text where the subject is small, since half of its texts would be too short; ghost
gradients do not end before the cool-down; the experiments have the learning rate of the main recipe, not 4e-4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from unweave import after, files, runs
from unweave.after import OnProgress
from unweave.config import DataConfig, RunConfig, TrainingConfig
from unweave.registry import parse
from unweave.runs import Report, Run
from unweave.subject import load
from unweave.training.finetune import Finetuning
from unweave.training.loop import Trainer
from unweave.training.prune import Rules

KINDS = ("attn_out", "mlp_out")
_WIDTH, _STEPS = 768, 1_000_000_000 // 4096  # the report's

EXPERIMENTS = {"no ghost gradients": {"revive": "none"}, "with b_dec": {"b_dec": "geometric_median"}}
"""What is left out or added at one MLP output, a third of the way up, beside the main recipe's dictionary there."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """folder: where its runs go. tokens: of the training; ratio: features for each dimension of a site; counted: tokens
    that pruning counts features on; held_out: rows that are scored; finetune: steps of it, as a share of the
    training's. context, packed: as in `DataConfig`; context 0: 256, or as many as the subject takes."""

    folder: Path
    subject: str = "text()"
    text: str = "stdlib()"
    tokens: int = 2_000_000
    ratio: int = 8
    batch: int = 1024
    context: int = 0
    packed: bool = True
    counted: int = 500_000
    held_out: int = 48
    finetune: float = 0.1
    rules: Rules = field(default_factory=Rules)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("tokens", "ratio", "batch", "counted", "held_out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.tokens < self.batch:
            raise ValueError(f"{self.tokens} tokens are less than one batch of {self.batch}")

    @property
    def steps(self) -> int:
        return self.tokens // self.batch

    def config(
        self, site: str, width: int, positions: int, *, revive: str = "ghost_elementwise", b_dec: str = "none"
    ) -> RunConfig:
        """The recipe at a site of that width, of a subject that takes so many positions."""
        context = self.context or min(256, positions)
        return RunConfig(
            subject=self.subject,
            site=site,
            method=f"relu(l1={_written(1.2e-4 * _WIDTH / width)})",
            d_sae=self.ratio * width,
            objective="by_centred_norm()",
            start=f"independent(scale={_written((2 / self.ratio) ** 0.5)})",
            normalise="each",
            b_dec=b_dec,
            revive=f"{revive}(after={max(1, self.tokens * 5000 // _STEPS)})",
            seed=self.seed,
            data=DataConfig(
                text=self.text,
                context=context,
                packed=self.packed,
                sequences=max(64, 4 * self.batch // context, 32_768 // context),
            ),
            training=TrainingConfig(
                steps=self.steps,
                batch=self.batch,
                optimiser="adam(beta1=0.0, beta2=0.9999)",
                lr=1e-3,
                warmup=self.steps * 5000 // _STEPS,
                decay=10_000 / _STEPS,
                lr_end=1 / 32,
                decoder_norm="bounded",
                log_every=max(1, self.steps // 100),
                checkpoint_every=max(1, self.steps // 20),
            ),
        )


def _written(value: float) -> str:
    """Six digits of it, as a literal that is no whole number."""
    return repr(float(f"{value:.6g}"))


GPT2: dict[str, Any] = {
    "subject": "huggingface(path='gpt2')",
    "text": "hub(name='Skylion007/openwebtext')",
    "tokens": 1_000_000_000,
    "ratio": 32,
    "batch": 4096,
    "context": 256,
    "packed": False,
    "counted": 10_000_000,
    "held_out": 160,
}
"""The report's own setting."""

OnStage = Callable[[str, int], None]
"""Told what begins, and how many steps each of its trainings takes."""


def carry_out(
    study: Study,
    on_stage: OnStage = lambda *_: None,
    on_report: Callable[[Report], None] = lambda report: None,
    on_progress: OnProgress = lambda done, of: None,
) -> dict[str, Any]:
    """Train, prune, fine-tune and score; what study.json in its folder then holds.

    Begun again it goes on where it was. Raises ValueError for a folder of a study with other settings, a subject
    without attention or MLP outputs, or rules that leave nothing of a dictionary.
    """
    named = {f.name: getattr(study, f.name) for f in fields(study) if f.name not in ("folder", "rules")}
    files.claim(study.folder / "settings.json", {**named, "rules": vars(study.rules)})
    subject = load(study.subject)
    sites, middle = _sites(subject.sites())
    width = {site: subject.sites()[site] for site in sites}
    trained = {site: study.folder / "runs" / site for site in sites}
    jobs = {path: study.config(site, width[site], subject.n_positions) for site, path in trained.items()}
    beside = {name: study.folder / "runs" / f"{middle}-{name.replace(' ', '-')}" for name in EXPERIMENTS}
    for name, path in beside.items():
        jobs[path] = study.config(middle, width[middle], subject.n_positions, **EXPERIMENTS[name])
    on_stage(f"training {len(jobs)} dictionaries on {study.tokens:,} tokens", study.steps)
    runs.train(jobs, on_report)
    pruned, tuned = ({site: study.folder / verb / site for site in sites} for verb in ("pruned", "finetuned"))
    on_stage(f"pruning, counted on {study.counted:,} tokens", 0)
    missing = {pruned[site]: Run(trained[site]) for site in sites if not Run(pruned[site]).trained}
    if missing:
        after.prune(missing, study.rules, tokens=study.counted, held_out=study.held_out, on_progress=on_progress)
    settings = Finetuning(steps=max(1, round(study.finetune * study.steps)))
    on_stage(f"fine-tuning for {settings.steps} steps", 0)
    missing = {tuned[site]: Run(pruned[site]) for site in sites if not Run(tuned[site]).trained}
    if missing:
        after.finetune(missing, settings, held_out=study.held_out, on_progress=on_progress)
    found = {
        "version": 1,
        **named,
        "steps": study.steps,
        "finetune_steps": settings.steps,
        "rules": vars(study.rules),
        "rows": [_row(site, width[site] * study.ratio, pruned[site], tuned[site]) for site in sites],
        "middle": middle,
        "curves": {name: _curve(path) for name, path in {"recipe": trained[middle], **beside}.items()},
    }
    files.write_json(study.folder / "study.json", found)
    return found


def _sites(known: Mapping[str, int]) -> tuple[list[str], str]:
    """Every attention output, then every MLP output; and the MLP output that the experiments are on: in the report that
    of layer 4 of 12."""
    sites = [site for kind in KINDS for site in known if site.partition(".")[0] == kind]
    ends = [site for site in sites if site.startswith("mlp_out")]
    if not ends or len(ends) == len(sites):
        raise ValueError("this subject has no attention outputs or no MLP outputs: the report is about both")
    return sites, ends[len(ends) // 3]


_SCORES = {
    "explained": "explained_variance_token/1",
    "l0": "l0/1",
    "ce_score": "ce_score/1",
    "ce_spliced": "ce_spliced/1",
    "l2_ratio": "l2_ratio/1",
    "shrinkage": "shrinkage/1",
    "features": "features",
}
"""What the report calls them, and what we do. Variance explained is its mean over tokens of each token's own."""


def _row(site: str, features: int, pruned: Path, tuned: Path) -> dict[str, Any]:
    """The figures of a site: trained, pruned and fine-tuned; `ce`, of the subject as it is."""
    first, second = files.read_json(pruned / "prune.json"), files.read_json(tuned / "finetune.json")

    def picked(scores: Mapping[str, Any]) -> dict[str, Any]:
        return {name: scores[key] for name, key in _SCORES.items()}

    return {
        "site": site,
        "features": features,
        "removed": first["removed"],
        "counted": first["tokens"],
        "trained": picked(first["before"]),
        "pruned": picked(second["before"]),
        "finetuned": picked(second["after"]),
        "ce": second["after"]["ce/1"],
    }


def _curve(path: Path) -> list[dict[str, float | int]]:
    """How a training went: tokens, loss, unexplained variance of a batch, L0 and the share of dead features."""
    run = Run(path)
    batch = run.config.training.batch
    return [
        {"tokens": line["step"] * batch, **{name: line[name] for name in ("loss", "fvu", "l0", "dead")}}
        for line in run.metrics()
    ]


def plan(study: Study, batch: int = 256) -> dict[str, Any]:
    """What carrying it out would take: of a subject on the hub only its config is read.

    hours: of training, by a step on `batch` random vectors, timed here, times all that a token costs; stored: the bytes
    of all activations as float32, if they were kept.
    """
    width, layers = _shape(study.subject)
    sites, dictionaries = 2 * layers, 2 * layers + len(EXPERIMENTS)
    config = study.config("mlp_out.0", width, study.context or 256)
    x = torch.randn(batch, width, generator=torch.Generator().manual_seed(0))
    trainer = Trainer(config, width)
    trainer.fit_(x)
    trainer.update(x)
    began = time.perf_counter()
    trainer.update(x)
    a_token = (time.perf_counter() - began) / batch
    of_dictionary, of_subject = 10 * width * config.d_sae, 24 * layers * width**2
    operations = study.tokens * (dictionaries * of_dictionary + of_subject)
    return {
        "subject": study.subject,
        "text": study.text,
        "sites": sites,
        "dictionaries": dictionaries,
        "width": width,
        "features": config.d_sae,
        "tokens": study.tokens,
        "steps": study.steps,
        "stored": 4 * study.tokens * sites * width,
        "operations": operations,
        "per_second": of_dictionary / a_token,
        "hours": operations / of_dictionary * a_token / 3600,
    }


def _shape(subject: str) -> tuple[int, int]:
    """Width and layers. Raises ValueError for a config on the hub that cannot be read."""
    is_call = "(" in subject
    name, arguments = parse(subject) if is_call else ("", {})
    if name != "huggingface":
        known = load(subject).sites()
        sites, _ = _sites(known)
        return known[sites[0]], len(sites) // 2
    from transformers import AutoConfig  # slow to import

    try:
        config = AutoConfig.from_pretrained(arguments["path"]).get_text_config()
    except OSError as error:
        raise ValueError(f"the config of {arguments['path']} cannot be read: {str(error).splitlines()[0]}") from None
    return config.hidden_size, config.num_hidden_layers
