"""After training: dictionaries without the features that do nothing, or with a decoder trained once more.

Each makes a new run folder of a run, with what was done in `config.json` (`history`) and in a file of its own, beside
the same scores before and after. The run itself is left as it is. Shapes: F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from unweave import files
from unweave.activations.batches import Batch, from_everywhere, whole_rows
from unweave.activations.buffer import Place
from unweave.activations.corpus import Corpus, corpus
from unweave.activations.harvest import chunks, harvest
from unweave.config import RunConfig, to_dict
from unweave.dictionary import Dictionary, export
from unweave.dictionary.objective import OBJECTIVES
from unweave.evaluation.brief import brief
from unweave.evaluation.evaluate import defined
from unweave.evaluation.sparsity import Sparsity
from unweave.runs import Run
from unweave.subject import load
from unweave.subject.base import Subject
from unweave.training.finetune import Finetuner, Finetuning
from unweave.training.prune import Rules, pruned

# Held-out rows have a seed that training and tuning do not have.
_SEED = 1

OnProgress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def prune(
    jobs: Mapping[Path, Run],
    rules: Rules,
    *,
    tokens: int = 1_000_000,
    held_out: int = 256,
    on_progress: OnProgress = lambda done, of: None,
) -> list[dict[str, Any]]:
    """By the folder that each is to have, runs of one subject and data without the features that break a rule; what
    prune.json in it then holds.

    tokens: how many inputs of the training split features are counted on, in an order that training did not have.
    held_out: how many games or rows of the test split are scored before and after.

    Raises ValueError for runs that do not share subject and data, a folder that is there already, one that would have
    no features left; FileNotFoundError or ValueError for a run that is not trained or damaged.
    """
    shared = _Shared(jobs, held_out)
    if tokens < 1:
        raise ValueError(f"features are counted on at least 1 token, not {tokens}")
    counted = _count(shared, tokens, on_progress)
    made, found = [], []
    for (folder, run), old, sparsity in zip(jobs.items(), shared.dictionaries, counted, strict=True):
        broken = rules.broken(old, sparsity.max, sparsity.density)
        removed = torch.stack([*broken.values()]).any(0)
        try:
            made.append(pruned(old, ~removed))
        except ValueError as error:
            raise ValueError(f"{run.folder} cannot be pruned so: {error}") from None
        by_rule = {name: int(which.sum()) for name, which in broken.items()}
        about = {"rules": asdict(rules), "tokens": sparsity.n, "removed": {**by_rule, "any": int(removed.sum())}}
        kept = (~removed).nonzero().squeeze(1).tolist()
        found.append({"verb": "prune", "from": str(run.folder), "to": str(folder), **about, "kept": kept})
    return shared.write(jobs, made, found, "prune.json", short=("rules", "tokens", "removed"))


def _count(shared: _Shared, tokens: int, on_progress: OnProgress) -> list[Sparsity]:
    """What each dictionary's features do on so many inputs, or a few more."""
    counted = [Sparsity(d.d_sae, config.site) for d, config in zip(shared.dictionaries, shared.configs, strict=True)]
    data = shared.configs[0].data
    for rows in shared.corpus.stream("train", n=min(data.sequences, 256), seed=data.seed + 1):
        vectors = harvest(shared.subject, rows, shared.sites).vectors
        for sparsity, d, config in zip(counted, shared.dictionaries, shared.configs, strict=True):
            with torch.no_grad():
                for part in vectors[config.site].split(4096):
                    sparsity.update(d.encode(part))
        on_progress(min(counted[0].n, tokens), tokens)
        if counted[0].n >= tokens:
            break
    return counted


def finetune(
    jobs: Mapping[Path, Run],
    settings: Finetuning,
    *,
    held_out: int = 256,
    on_progress: OnProgress = lambda done, of: None,
) -> list[dict[str, Any]]:
    """By the folder that each is to have, runs of one subject and data with a decoder trained once more, on the
    training split in an order that training did not have; what finetune.json in it then holds.

    All learn from one stream of activations. Raises what `prune` does, and ValueError for runs of which some were
    trained end to end or with other batches, and methods without an encoder.
    """
    shared = _Shared(jobs, held_out)
    kinds = {(c.training.batch, OBJECTIVES.build(c.objective).end_to_end) for c in shared.configs}
    if len(kinds) > 1:
        raise ValueError("runs that are fine-tuned together must all have the same batch, and all or none end to end")
    tuners = [
        Finetuner(d, config.objective, settings, b_dec=config.b_dec != "none")
        for d, config in zip(shared.dictionaries, shared.configs, strict=True)
    ]
    curves = _train(shared, tuners, on_progress)
    found = [
        {"verb": "finetune", "from": str(run.folder), "to": str(folder), **asdict(settings), "curve": curve}
        for (folder, run), curve in zip(jobs.items(), curves, strict=True)
    ]
    return shared.write(jobs, [t.finish() for t in tuners], found, "finetune.json", short=("steps", "lr"))


def _train(shared: _Shared, tuners: Sequence[Finetuner], on_progress: OnProgress) -> list[list[dict[str, Any]]]:
    """What there is to report of each until all are done."""
    config, curves = shared.configs[0], [[] for _ in tuners]
    data = replace(config.data, seed=config.data.seed + 1)
    subject, of, sites, batch = shared.subject, shared.corpus, shared.sites, config.training.batch

    def update(i: int, batch: Batch) -> None:
        site, target = shared.configs[i].site, shared.configs[i].target
        y = batch.vectors[target] if target else None
        report = tuners[i].update(batch.vectors[site], y, batch.downstream.get(target or site))
        if report is not None:
            curves[i].append(report)

    with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        if tuners[0].objective.end_to_end:
            stream = whole_rows(subject, of, sites, data, batch=batch, start=Place(), pool=pool)
        else:
            source = chunks(subject, of, sites, data)
            stream = from_everywhere(source, data, batch=batch, start=Place(), pool=pool)
        while not tuners[0].done:
            _, served = next(stream)
            for step in [pool.submit(update, i, served) for i in range(len(tuners))]:
                step.result()
            on_progress(tuners[0].step, tuners[0].settings.steps)
    return curves


class _Shared:
    """Runs of one subject and data, with what they are counted, trained and scored on."""

    def __init__(self, jobs: Mapping[Path, Run], held_out: int) -> None:
        if not jobs:
            raise ValueError("name at least one run")
        for folder in jobs:
            if not files.vacant(folder):
                raise ValueError(f"{folder} exists already: choose another folder, or delete it")
        if held_out < 1:
            raise ValueError(f"at least 1 game or row must be held out, not {held_out}")
        self.held_out = held_out
        self.configs: list[RunConfig] = [run.config for run in jobs.values()]
        self.dictionaries: list[Dictionary] = [run.dictionary() for run in jobs.values()]
        first = self.configs[0]
        if any((config.subject, config.data) != (first.subject, first.data) for config in self.configs):
            raise ValueError("runs that are changed together must be of one subject and one set of data")
        self.subject: Subject = load(first.subject)
        self.corpus: Corpus = corpus(first.data, self.subject)
        self.sites = sorted({site for config in self.configs for site in (config.site, config.target) if site})

    def write(
        self,
        jobs: Mapping[Path, Run],
        made: Sequence[Dictionary],
        found: Sequence[dict[str, Any]],
        name: str,
        *,
        short: Sequence[str],
    ) -> list[dict[str, Any]]:
        """The new run folders, each with `found` and the scores before and after in a file of that name, of which
        `short` goes into its history."""
        places = [(config.site, config.target or config.site) for config in self.configs]
        compared = [(d, *place) for ds in (self.dictionaries, made) for d, place in zip(ds, places, strict=True)]
        found_in = brief(self.subject, self.corpus.sample("test", self.held_out, _SEED), compared)
        scores = [{"features": d.d_sae, **defined(each)} for (d, _, _), each in zip(compared, found_in, strict=True)]
        written = []
        for i, (folder, run) in enumerate(jobs.items()):
            sides = {"before": scores[i], "after": scores[len(made) + i]}
            written.append({**found[i], "held_out": self.held_out, **sides})
            step = {key: found[i][key] for key in ("verb", "from", *short)}
            step["scores"] = {key: sides["after"][key] for key in ("features", "l0/1", "fvu/1")}
            with files.whole(folder) as aside:
                files.write_json(aside / name, written[i])
                _write(aside, run, made[i], [*run.history, step])
        return written


def _write(folder: Path, run: Run, dictionary: Dictionary, history: list[dict[str, Any]]) -> None:
    """What makes a folder a run, without what was measured of the dictionary as it was."""
    config = run.config
    origin = {"config": to_dict(config), "hash": config.hash, "history": history}
    for kept in ("metrics.jsonl", "card.md"):
        if (run.folder / kept).exists():
            files.write_text(folder / kept, (run.folder / kept).read_text(encoding="utf-8"))
    card = (folder / "card.md").read_text(encoding="utf-8") if (folder / "card.md").exists() else ""
    said = "".join(f"- after training: {_said(step)}\n" for step in history[len(run.history) :])
    files.write_text(folder / "card.md", card + said)
    export.save(dictionary, folder / "sae.safetensors", origin)
    files.write_json(folder / "config.json", origin)


def _said(step: Mapping[str, Any]) -> str:
    if step["verb"] == "prune":
        return f"{step['removed']['any']} features were removed, counted on {step['tokens']:,} tokens ({step['rules']})"
    return f"decoder fine-tuned on the reconstruction alone for {step['steps']} steps at {step['lr']}"
