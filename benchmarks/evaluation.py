"""What a full evaluation costs, part by part: a dictionary of 1,024 features on 2,000 held-out games of OthelloGPT.

    python benchmarks/evaluation.py

The dictionary (topk, so its L0 is k) and its control are trained for a few hundred steps in a temporary folder; what
they mean does not matter. First the whole on several threads; seconds of the wall mean something only where nothing
else runs. Then on one thread, each part's seconds of the processor, without what it calls of the other parts: of the
dictionary alone, and of all that `unweave evaluate` does.

Floor: the products that a part cannot do without, at the rate that torch reaches on a large product of the same kind.
"""

from __future__ import annotations

import argparse
import functools
import platform
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unweave import files, runs
from unweave.config import RunConfig, override
from unweave.evaluation import context, controls, evaluate, fidelity, own, probes, truth
from unweave.evaluation.context import Context
from unweave.evaluation.controls import Controls
from unweave.evaluation.faithfulness import Faithfulness
from unweave.evaluation.ground_truth import N_LABELS, N_LISTED, BoardLabels
from unweave.evaluation.readout import Dense, SparseColumns
from unweave.evaluation.reconstruction import Reconstruction
from unweave.evaluation.sparsity import Sparsity
from unweave.othello import games, labels
from unweave.runs import Run
from unweave.subject import GPT
from unweave.subject.sites import parse
from unweave.threads import side_by_side


class Clock:
    """Seconds of the processor by part. Wraps functions where they are called from; right only while one thing runs at
    a time, which one thread of torch's sees to."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.floor: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._inner: list[float] = []

    def watch(self, owner: Any, name: str, part: str, floor: Callable[..., float] | None = None) -> None:
        """Time the attribute `name` of a module or class under `part`; floor: its least seconds, from its arguments."""
        there = vars(owner)[name]
        work = there.func if isinstance(there, functools.cached_property) else there

        @functools.wraps(work)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            began = time.process_time()
            try:
                return work(*args, **kwargs)
            finally:
                took = time.process_time() - began
                self.spent[part] += took - self._inner.pop()
                self.calls[part] += 1
                self.floor[part] += floor(*args) if floor else 0
                if self._inner:
                    self._inner[-1] += took

        if isinstance(there, functools.cached_property):
            there.func = timed
        else:
            setattr(owner, name, timed)

    def taken(self) -> tuple[dict[str, float], dict[str, float], Counter[str]]:
        """Seconds, floors and calls so far; and start anew."""
        found = dict(self.spent), dict(self.floor), Counter(self.calls)
        for each in (self.spent, self.floor, self.calls):
            each.clear()
        return found


def seconds_per_operation(dtype: torch.dtype) -> float:
    """Of torch's product of large matrices, on one thread: the least of several."""
    x, y = torch.randn(2048, 1024, dtype=dtype), torch.randn(1024, 1024, dtype=dtype)
    took = []
    for _ in range(8):
        began = time.thread_time()
        torch.mm(x, y)
        took.append(time.thread_time() - began)
    return min(took) / (2 * 2048 * 1024 * 1024)


class Floor:
    """The least seconds of parts, from their arguments: those of their products."""

    def __init__(self) -> None:
        self.single, self.double = (seconds_per_operation(dtype) for dtype in (torch.float32, torch.float64))

    def reading(self, subject: GPT, rows: Any, sites: list[str]) -> float:
        layers = max((parse(part)[1] or 0) + 1 for site in sites for part in site.split("+"))
        weights = layers * sum(p.numel() for p in subject.blocks[0].parameters())
        return 2 * weights * int(rows.learn[:, : subject.n_positions].sum()) * self.single

    def running(self, whole: Faithfulness, x_hat: torch.Tensor | None) -> float:
        subject, n_games = whole._parts[0].subject, sum(len(part.inputs) for part in whole._parts)
        assert isinstance(subject, GPT)
        weights = sum(p.numel() for p in (*subject.blocks.parameters(), subject.head.weight))
        if x_hat is not None and len(x_hat) == n_games * subject.n_positions:
            each = x_hat.unflatten(0, (n_games, -1))
            if bool((each == each[:1]).all()):
                n_games = len(whole._parts)  # alike from the site on: one of each pass is run
        return 2 * weights * n_games * subject.n_positions * self.single

    def coding(self, d: Any, x: torch.Tensor, *_: Any) -> float:
        return 2 * len(x) * d.d_in * d.d_sae * self.single

    def ranking(self, readout: Any, _: Any) -> float:
        if isinstance(readout, SparseColumns):
            return 0
        return 2 * readout.n * N_LISTED * (readout.width // (1 + readout.mirrored)) * self.double

    def solving(self, _: Any, x: torch.Tensor) -> float:
        return 2 * x.numel() * x.shape[1] * self.double  # of as many features as there are dimensions

    def probing(self, x: torch.Tensor, *_: Any) -> float:
        return 4 * probes._STEPS * probes._BATCH * x.shape[1] * N_LABELS * self.single


def watched() -> Clock:
    """A clock on every part of an evaluation."""
    clock, floor = Clock(), Floor()
    for owner, name in ((context, "load"), (Run, "dictionary")):
        clock.watch(owner, name, "loading")
    clock.watch(games, "sample", "playing the games")
    clock.watch(labels, "label", "labels")
    clock.watch(labels, "next_move_distribution", "labels")
    for name in ("matrix", "bits", "positives", "listed", "lists", "strata"):
        clock.watch(BoardLabels, name, "labels")
    for owner in (context, controls):
        clock.watch(owner, "harvest", "reading the subject", floor.reading)
    clock.watch(own, "_activations", "encoding", floor.coding)
    clock.watch(own, "_strongest", "strongest examples")
    clock.watch(Dense, "columns", "dense readouts, as they are read")
    clock.watch(truth, "auroc", "AUROC", floor.ranking)
    clock.watch(truth, "coverage", "coverage, F1 and rebuilt boards")
    clock.watch(Sparsity, "update", "sparsity")
    clock.watch(Reconstruction, "update", "reconstruction")
    clock.watch(fidelity.Fidelity, "update", "reconstruction")
    clock.watch(Faithfulness, "_run", "splicing: runs of the subject", floor.running)
    clock.watch(Faithfulness, "__init__", "splicing: what is left")
    clock.watch(Faithfulness, "spliced", "splicing: what is left")
    clock.watch(controls, "fit_decoder", "controls: decoders", floor.solving)
    clock.watch(controls, "fit_probes", "controls: probes", floor.probing)
    clock.watch(Controls, "_components", "controls: principal components")
    for name in ("write_tensors", "write_json"):
        clock.watch(files, name, "writing")
    return clock


def both(run: Run, n: int) -> Controls:
    config = run.config
    found = Context(config.subject, config.site, config.target, n_games=n)
    return Controls(found, evaluate.train_control(run))


def alone(run: Run, n: int) -> None:
    """What of an evaluation is about the dictionary."""
    found, dictionary = both(run, n).context, run.dictionary()
    found.prepare()
    scores = own.own_scores, own.pre_activation_scores
    side_by_side([functools.partial(each, dictionary, found) for each in scores])


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the processor, and of the wall."""
    used, began = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - used, time.perf_counter() - began


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--games", type=int, default=2000)
    ask.add_argument("--features", type=int, default=1024)
    ask.add_argument("--k", type=int, default=64)
    ask.add_argument("--steps", type=int, default=300)
    ask.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = ask.parse_args()
    print(f"{platform.machine()}, torch {torch.__version__}, {asked.games:,} games")
    print(f"topk(k={asked.k}) of {asked.features:,} features, trained for {asked.steps} steps: its L0 is {asked.k}")
    settings = {"method": f"topk(k={asked.k})", "d_sae": asked.features, "training.steps": asked.steps}
    config = override(RunConfig(), {**settings, "training.warmup": asked.steps // 5})
    with tempfile.TemporaryDirectory() as folder:
        (run,) = runs.train({Path(folder) / "run": config})
        evaluate.evaluate(run, both(run, 20))  # kernels compiled, or read from the cache
        torch.set_num_threads(asked.threads)
        several_alone = seconds(lambda: alone(run, asked.games))
        several = seconds(lambda: evaluate.evaluate(run, both(run, asked.games)))
        torch.set_num_threads(1)
        clock = watched()
        of_alone = seconds(lambda: alone(run, asked.games))
        spent_alone, _, _ = clock.taken()
        of_all = seconds(lambda: evaluate.evaluate(run, both(run, asked.games)))
        spent, floor, calls = clock.taken()
    print(f"{'seconds of the processor':36}{'alone':>8}{'with controls':>15}{'calls':>8}{'floor':>8}")
    for part in sorted(spent, key=lambda part: -spent[part]):
        least = f"{floor[part]:8.2f}" if floor[part] else ""
        print(f"{part:36}{spent_alone.get(part, 0):8.2f}{spent[part]:15.2f}{calls[part]:8}{least}")
    rest = of_alone[0] - sum(spent_alone.values()), of_all[0] - sum(spent.values())
    print(f"{'all else':36}{rest[0]:8.2f}{rest[1]:15.2f}")
    print(f"{'all, on one thread':36}{of_alone[0]:8.2f}{of_all[0]:15.2f}{sum(floor.values()):16.2f}")
    print(f"of the wall, on one thread: {of_alone[1]:.1f} and {of_all[1]:.1f} s")
    print(f"of the wall, on {asked.threads} threads: {several_alone[1]:.1f} and {several[1]:.1f} s")


if __name__ == "__main__":
    main()
