"""What the experiments of the agenda have in common: a setting, a place for their runs, and the scores of several
seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from unweave import runs
from unweave.activations.corpus import corpus
from unweave.config import DataConfig, RunConfig, TrainingConfig, override
from unweave.dictionary import Dictionary
from unweave.evaluation.brief import brief
from unweave.evaluation.evaluate import defined
from unweave.registry import parse
from unweave.rows import Rows
from unweave.runs import Report, Run
from unweave.subject import TextShape, load
from unweave.subject.base import ReadsText

# Held-out rows have a seed that training does not have.
_SEED = 1
_BATCH = 1024

_KEPT = ("fvu/1", "l0/1", "dead/1", "cosine/1", "l2_ratio/1", "shrinkage/1", "ce_score/1", "kl/1", "ce/1")

OnStage = Callable[[str, int], None]
"""Told what begins, and how many steps each of its trainings takes."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """folder: where its runs go. subject: what the first four experiments are on; text: what it reads if it reads text,
    and what the models of the other three are trained on. tokens: of each dictionary's training; ratio: features for
    each dimension of a site; seeds: of the dictionaries' first weights, 0 and up; held_out: rows that are scored.
    small: the shape of those models, whatever their kind; steps: of their training, each of 16 rows; keep: at how many
    of them the one that is taken apart along its training is kept."""

    folder: Path
    subject: str = "text()"
    text: str = "stdlib()"
    tokens: int = 300_000
    ratio: int = 4
    seeds: int = 3
    held_out: int = 64
    small: TextShape = field(
        default_factory=lambda: TextShape(n_layers=3, d_model=64, n_heads=2, n_positions=64, n_tokens=1024)
    )
    steps: int = 500
    keep: int = 6

    def __post_init__(self) -> None:
        for name in ("ratio", "seeds", "held_out", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.tokens < _BATCH:
            raise ValueError(f"{self.tokens} tokens are less than one batch of {_BATCH}")
        if self.keep < 2:
            raise ValueError(f"keep must be at least 2, not {self.keep}: a training is seen at its end and before")


class Lab:
    """A study under way."""

    def __init__(self, study: Study, on_stage: OnStage, on_report: Callable[[Report], None]) -> None:
        self.study, self._on_stage, self._on_report = study, on_stage, on_report
        self.subject = cache(load)

    @property
    def steps(self) -> int:
        """Of each dictionary's training."""
        return self.study.tokens // _BATCH

    def stage(self, what: str) -> None:
        self._on_stage(what, self.steps)

    def middle(self, kind: str, subject: str) -> str:
        """The site of that kind in the middle of a subject. Raises ValueError where it has none."""
        sites = [site for site in self.subject(subject).sites() if site.startswith(f"{kind}.")]
        if not sites:
            raise ValueError(f"{subject} has no site {kind}.0, which this study is about")
        return sites[(len(sites) - 1) // 2]

    def seeds(self, subject: str, site: str, *, context: int = 0, **settings: Any) -> list[RunConfig]:
        """The configs of a dictionary of a subject at a site, one a seed. context: of the rows it reads; 0: 256, or as
        many as the subject takes. settings: what differs from the others'.

        TopK with an eighth of the site's dimensions active, since their sparsity is then the same by construction.
        """
        of, study = self.subject(subject), self.study
        width, context = of.sites()[site], context or min(256, of.n_positions)
        base = RunConfig(
            subject=subject,
            site=site,
            method=f"topk(k={max(2, width // 8)})",
            d_sae=study.ratio * width,
            normalise="each",
            data=DataConfig(
                text=study.text if isinstance(of, ReadsText) else "", context=context, sequences=32_768 // context
            ),
            training=TrainingConfig(
                steps=self.steps,
                batch=_BATCH,
                lr=2e-3,
                warmup=self.steps // 10,
                log_every=max(1, self.steps // 20),
                checkpoint_every=max(1, self.steps // 4),
            ),
        )
        return [override(base, {**settings, "seed": seed}) for seed in range(study.seeds)]

    def train(self, configs: Sequence[RunConfig]) -> list[Run]:
        """Their runs, trained where they are not yet."""
        return runs.train({self._folder(config): config for config in configs}, self._on_report)

    def _folder(self, config: RunConfig) -> Path:
        name, _ = parse(config.method)
        return self.study.folder / "runs" / f"{config.site}-{name}-{config.hash}"

    def rows(self, config: RunConfig, times: int = 1) -> Rows:
        """Held-out rows of what a config's subject reads; so many times as many as are scored."""
        of = self.subject(config.subject)
        return corpus(config.data, of).sample("test", times * self.study.held_out, _SEED)

    def scored(self, like: RunConfig, placed: Sequence[tuple[Dictionary, str, str]]) -> list[dict[str, Any]]:
        """The scores of dictionaries, each with what it reads and what it writes, on the held-out rows of a config."""
        found = brief(self.subject(like.subject), self.rows(like), placed)
        return [{key: each[key] for key in _KEPT} for each in found]

    def compare(self, named: Mapping[str, Sequence[RunConfig]]) -> list[dict[str, Any]]:
        """A row for each name: the scores of its configs, which differ in their seeds; all of one subject and data."""
        configs = list(dict.fromkeys(config for each in named.values() for config in each))
        trained = self.train(configs)
        placed = [(r.dictionary(), c.site, c.target or c.site) for c, r in zip(configs, trained, strict=True)]
        scores = {
            config: score | {"core_seconds": _core_seconds(run)}
            for config, run, score in zip(configs, trained, self.scored(configs[0], placed), strict=True)
        }
        return [row(name, [scores[config] for config in each]) for name, each in named.items()]


def row(name: str, seeds: Sequence[Mapping[str, float]], *, is_control: bool = False) -> dict[str, Any]:
    """A row of a table: what was found with each seed. is_control: whether it is no dictionary in question, but what
    says what the others' scores are worth."""
    return {"name": name, "is_control": is_control, "seeds": [defined(each) for each in seeds]}


def _core_seconds(run: Run) -> float:
    """Of its own steps, without the harvest of the activations."""
    return run.metrics()[-1]["core_seconds"]
