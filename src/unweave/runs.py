"""A run: a folder that holds all there is to know about one dictionary, and the function that fills it.

config.json        what it was made from, and what was done to it after its training
checkpoint/        the state of an unfinished training
metrics.jsonl      what training reported
sae.safetensors    the dictionary, once trained; card.md says the same for people
evaluation.*       how it scored; report.html, what to look at
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave import files, threads
from unweave.activations.batches import Batch, from_everywhere, whole_rows
from unweave.activations.buffer import Place, Vectors
from unweave.activations.live import Live
from unweave.activations.store import Store
from unweave.cards.card import card
from unweave.config import RunConfig, from_dict, to_dict
from unweave.dictionary import METHODS, Dictionary, export
from unweave.dictionary.objective import OBJECTIVES
from unweave.registry import parse
from unweave.training import checkpoint, log
from unweave.training.loop import Trainer


@dataclass(frozen=True)
class Report:
    """News of one run in training: `values` is what metrics.jsonl gets."""

    run: Run
    values: dict[str, float | int]


class Run:
    """A run's folder, read lazily."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        return self.folder.name or self.folder.resolve().name  # "." has no name

    @property
    def config(self) -> RunConfig:
        """Raises FileNotFoundError when the folder is no run, ValueError when its config is damaged."""
        path = self.folder / "config.json"
        if not path.exists():
            raise FileNotFoundError(f"{self.folder} is not a run: it has no config.json")
        return read_config(path)

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was done to the dictionary after its training, in order: by which verb, from which run, and how."""
        return files.read_json(self.folder / "config.json").get("history", [])

    @property
    def trained(self) -> bool:
        return (self.folder / "sae.safetensors").exists()

    def dictionary(self) -> Dictionary:
        """The trained dictionary. Raises FileNotFoundError, or ValueError when the file is damaged."""
        if not self.trained:
            raise FileNotFoundError(
                f"{self.folder} holds no trained dictionary yet: finish it with "
                f"`unweave train {self.folder} --config {self.folder / 'config.json'}`"
            )
        return export.load(self.folder / "sae.safetensors")

    def metrics(self) -> list[dict[str, Any]]:
        return log.read(self.folder / "metrics.jsonl")

    def evaluation(self) -> dict[str, Any] | None:
        """What `unweave evaluate` found, or None if it has not run."""
        path = self.folder / "evaluation.json"
        return files.read_json(path) if path.exists() else None

    def _repr_html_(self) -> str:
        """A card for notebooks: what it was made from, and its scores."""
        config, found, last = self.config, self.evaluation(), (self.metrics() or [{}])[-1]
        facts = [
            ("method", config.method),
            ("site", config.site + (f" to {config.target}" if config.target else "")),
            ("features", f"{config.d_sae:,}"),
            ("subject", config.subject),
            ("steps", f"{last.get('step', 0):,} of {config.training.steps:,}"),
        ]
        if found is not None:
            own = next(row for row in found["rows"] if not row["is_control"])["scores"]
            metrics = found["metrics"]
            facts += [(metrics[key]["title"], f"{own[key]:.4g}") for key in metrics if own.get(key) is not None]
        return card(self.name, "run" if self.trained else "run, not trained yet", facts)


def read_config(path: Path) -> RunConfig:
    """What a run's config.json says. Raises FileNotFoundError, or ValueError for a file that is damaged or no run's."""
    held = files.read_json(path)
    if not (isinstance(held, dict) and isinstance(held.get("config"), dict)):
        raise ValueError(f"{path} is not the config of a run")
    return from_dict(RunConfig, held["config"])


def find(folder: Path | str) -> list[Run]:
    """Every run in a folder or below it, by path, damaged ones too. Raises FileNotFoundError when there is no such
    folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return [Run(path.parent) for path in sorted(folder.rglob("config.json")) if _may_be_a_run(path)]


def _may_be_a_run(config: Path) -> bool:
    """Other programs' folders have a config.json too; what cannot be read may have been a run's."""
    try:
        held = files.read_json(config)
    except ValueError:
        return True
    return isinstance(held, dict) and "config" in held


def train(jobs: Mapping[Path, RunConfig], on_report: Callable[[Report], None] = lambda report: None) -> list[Run]:
    """Train every dictionary of `jobs` (folder -> config) and return their runs.

    All are trained side by side, those with the same subject, data and batch size on one stream of activations, or of
    whole rows where the objective is end to end. Where `data.store` names a store, the stream is read from it, and
    begins again where it ends; one that is still being filled is waited for. A folder that holds an unfinished run of
    the same config is taken up where it was, a finished one is left as it is.
    `on_report` is called from several threads.
    Raises ValueError for a folder that holds anything else or that another process trains in, or a config that cannot
    be, before anything is written.
    """
    streams: dict[Any, list[_Job]] = {}
    for folder, config in jobs.items():
        run = _claim(Path(folder), config)
        if run.trained:
            shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)  # a kill came before that was done
        else:
            end_to_end = OBJECTIVES.build(config.objective).end_to_end
            key = (config.subject, config.data, config.training.batch, end_to_end)
            streams.setdefault(key, []).append(_Job(run, config))
    groups = [_Group(group) for group in streams.values()]
    with ExitStack() as stack:
        for folder in sorted({job.run.folder.resolve() for group in groups for job in group.jobs}):
            stack.enter_context(files.held(folder))
        _train(groups, on_report)
    return [Run(folder) for folder in jobs]


def _train(groups: Sequence[_Group], on_report: Callable[[Report], None]) -> None:
    # Each dictionary, and the harvest of the activations to come, gets a thread of its own, in which torch has no more;
    # where there are more threads than dictionaries, kernels work on their parts of a batch in several. So the weights
    # depend neither on what is trained beside them nor on the number of threads.
    n = torch.get_num_threads()
    jobs = [job for group in groups for job in group.jobs]
    for job in jobs:
        job.threads = max(1, n // len(jobs))
    with (
        ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ThreadPoolExecutor(max(1, len(groups))) as conductors,
    ):
        training = [conductors.submit(group.train, pool, on_report) for group in groups]
        try:
            for group in as_completed(training):
                group.result()
        finally:  # where all is done, this changes nothing
            for group in groups:
                group.stopped.set()


def _claim(folder: Path, config: RunConfig) -> Run:
    """The run in `folder`, which must be new, empty or of the same config."""
    run = Run(folder)
    if not (folder / "config.json").exists():
        if not files.vacant(folder):
            raise ValueError(f"{folder} exists and is not a run: choose another folder")
        return run
    if run.history:
        done = " and ".join(f"{step['verb']}d" for step in run.history)
        raise ValueError(f"{folder} holds a dictionary that was {done} after its training: choose another folder")
    if differ := files.differences(to_dict(run.config), to_dict(config)):
        raise ValueError(f"{folder} holds a run with other settings ({differ}): choose another folder, or delete it")
    return run


class _Job:
    """One run in training."""

    def __init__(self, run: Run, config: RunConfig) -> None:
        self.run, self.config, self.place = run, config, Place()
        self.state = run.folder / "checkpoint" / "state.safetensors"
        self.began = time.perf_counter()
        self.before = 0.0  # seconds of training in earlier sessions
        self.work = 0.0  # seconds of one core that its own steps took, those of earlier sessions too
        self.threads = 1  # that a step may use
        self.trainer: Trainer

    def prepare(self, trainer: Trainer, sample: Vectors, origin: Live | Store) -> None:
        self.trainer, self.origin = trainer, origin
        if self.state.exists():
            about = checkpoint.restore(trainer, self.state)
            self.place, self.before, self.work = Place(*about["place"]), about["seconds"], about["core_seconds"]
            if about["data"] != self._seen():
                data = self.config.data
                raise ValueError(
                    f"{self.run.folder} was begun on other data: {data.store or data.text} has changed since; put it "
                    "back, or delete the run"
                )
            log.rewind(self.run.folder / "metrics.jsonl", trainer.step)
            return
        trainer.fit_(*_of(sample, self.config))
        # First what makes the folder a run: whatever happens after that, the same command goes on here.
        files.write_json(self.run.folder / "config.json", {"config": to_dict(self.config), "hash": self.config.hash})
        files.write_text(self.run.folder / "metrics.jsonl", "")

    def _seen(self) -> str:
        """The fingerprint of what it has learnt from."""
        return self.origin.fingerprint(self.place.round + (self.place.batch > 0))

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    @property
    def left(self) -> int:
        """How many steps are still to be taken."""
        return self.config.training.steps - self.trainer.step

    def update(self, batch: Batch, after: Place, on_report: Callable[[Report], None]) -> None:
        if self.trainer.done or after <= self.place:  # another run of the group was further behind
            return
        began, at = time.thread_time(), self.config.target or self.config.site
        with threads.on(self.threads) as team:
            values = self.trainer.update(*_of(batch.vectors, self.config), batch.downstream.get(at))
        self.place = after
        self.work += time.thread_time() - began + team.seconds
        if values is not None:
            values |= {"seconds": round(self.seconds, 3), "core_seconds": round(self.work, 3)}
            log.append(self.run.folder / "metrics.jsonl", values)
            on_report(Report(self.run, values))
        if self.trainer.done:
            self.finish(batch.vectors[self.config.site])
        elif self.trainer.step % self.config.training.checkpoint_every == 0:
            spent = {"seconds": self.seconds, "core_seconds": self.work}
            place = {"data": self._seen(), "place": [after.round, after.batch]}
            checkpoint.save(self.trainer, self.state, place | spent)

    def finish(self, x: Any) -> None:
        dictionary = export.export(self.trainer.dictionary.cpu(), x.cpu())
        files.write_text(self.run.folder / "card.md", _card(self.config, self.seconds))
        export.save(  # last: with it, the run is trained
            dictionary, self.run.folder / "sae.safetensors", {"config": to_dict(self.config), "hash": self.config.hash}
        )
        shutil.rmtree(self.state.parent, ignore_errors=True)


class _Group:
    """Runs that read one stream, each step one batch."""

    def __init__(self, jobs: list[_Job]) -> None:
        """All trainers are made before any starts: a mistake in one config is told before hours have gone into
        another."""
        shared = jobs[0].config
        self.jobs, self.stopped = jobs, threading.Event()
        if shared.data.store:
            if OBJECTIVES.build(shared.objective).end_to_end:
                raise ValueError(f"{shared.objective} needs the subject itself, not a store: leave out data.store")
            self.origin = Store(shared.data.store, self.stopped.wait)
            self.origin.agree(shared.subject, shared.data)
        else:
            self.origin = Live(shared.subject, shared.data)
        self.sites = sorted({site for job in jobs for site in (job.config.site, job.config.target) if site})
        width = {site: self.origin.width(site) for site in self.sites}
        self.trainers = [Trainer(job.config, width[job.config.site], width.get(job.config.target)) for job in jobs]

    def train(self, pool: Executor, on_report: Callable[[Report], None]) -> None:
        """Until all are done or `stopped` is set, with the work itself in `pool`."""
        jobs, sample = self.jobs, pool.submit(self.origin.sample, self.sites).result()
        ready = [
            pool.submit(job.prepare, trainer, sample, self.origin)
            for job, trainer in zip(jobs, self.trainers, strict=True)
        ]
        for prepared in ready:
            prepared.result()
        stream = self._stream(pool)
        # The next batch is dealt out while the last is still at work, so that no core waits for the end of one.
        at_work: dict[_Job, Future[None]] = {}
        while not self.stopped.is_set() and self._unfinished(at_work):
            after, served = next(stream)
            for job in sorted(jobs, key=lambda job: -job.work):  # the longest first: at the end it would keep us
                if job in at_work:
                    at_work[job].result()
                at_work[job] = pool.submit(job.update, served, after, on_report)

    def _unfinished(self, at_work: Mapping[_Job, Future[None]]) -> bool:
        """Whether any is not done after the steps that are at work."""
        if any(job.left > (job in at_work and not at_work[job].done()) for job in self.jobs):
            return True
        for step in at_work.values():
            step.result()
        return not all(job.trainer.done for job in self.jobs)

    def _stream(self, pool: Executor) -> Iterator[tuple[Place, Batch]]:
        shared, origin, start = self.jobs[0].config, self.origin, min(job.place for job in self.jobs)
        data, batch = shared.data, shared.training.batch
        if isinstance(origin, Live) and self.trainers[0].objective.end_to_end:
            return whole_rows(origin.subject, origin.corpus, self.sites, data, batch=batch, start=start, pool=pool)
        return from_everywhere(origin.chunks(self.sites), data, batch=batch, start=start, pool=pool)


def _of(vectors: Vectors, config: RunConfig) -> tuple[Tensor, Tensor | None]:
    """What a run reads, and what it is to reconstruct, if that is of another site."""
    return vectors[config.site], vectors[config.target] if config.target else None


def _card(config: RunConfig, seconds: float) -> str:
    """card.md: what this dictionary is, for a person."""
    name, _ = parse(config.method)
    method = METHODS.build(config.method)
    t = config.training
    about = "about " if OBJECTIVES.build(config.objective).end_to_end else ""  # as many as whole rows have
    seen = f"{about}{t.steps * t.batch:,} activations ({t.steps} steps of {about}{t.batch})"
    to = f" to {config.target}" if config.target else ""
    return f"""# {config.method} on {config.site}{to} of {config.subject}

{config.d_sae} features, trained on {seen} in {seconds:.0f} s.

- method: {(METHODS[name].__doc__ or "").strip()}
- source: {method.source}
- loss: {" + ".join(f"{weight:g} * {term}" for term, (weight, _) in {**method.losses, **method.penalties}.items())}
- objective: {config.objective}; revival: {config.revive}; encoder: {config.encoder}
- units: it reads and writes the subject's own activations; normalisation: {config.normalise}
- seeds: weights {config.seed}, {"text" if config.data.text else "games"} {config.data.seed}
- config hash: {config.hash}; config.json beside this file makes it again: `unweave train FOLDER --config config.json`
"""
