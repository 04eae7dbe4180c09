"""A stream of activations that is driven from outside: a trainer that takes its batches from it trains step by step,
when told, and says what each step took. It needs torch and numpy alone, as every library's environment has them.

On standard input one word a line: `step` (a batch, please), `score` (how well are held-out activations rebuilt?),
`end`. On standard output one JSON object a line. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from clock import Clock
from torch import Tensor

_OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def asked() -> dict[str, Any]:
    """What is to be done: the first argument. device: where, the processor if nothing is said; tf32: whether products
    on a GPU may be in that."""
    return {"device": "cpu", "tf32": False} | json.loads(sys.argv[1])


class Gate:
    """Batches `[B, d]` of the activations in `work["data"]`, over and over; the last batch is held out.

    rebuild: activations to their reconstruction, however the library does that; about: anything to be told at the end.
    """

    def __init__(self, work: dict[str, Any], rebuild: Callable[[Tensor], Tensor], about: dict[str, Any] | None = None):
        torch.manual_seed(0)
        if work["device"] == "cpu":
            torch.set_num_threads(1)  # one thread's time of the processor is its time on an idle machine
        x = torch.from_numpy(np.load(work["data"])).to(work["device"])
        self.batches, self.held_out = list(x.split(work["batch"]))[:-1], x[-work["batch"] :]
        self.first = self.batches[0]
        self._rebuild, self._about = rebuild, {} if about is None else about
        self._turn, self._running, self._clock = 0, False, Clock(work["device"])
        self._work = work

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        if self._running:
            _tell({"seconds": self._clock.seconds()})
            self._running = False
        while (word := sys.stdin.readline().strip()) == "score":
            _tell({"fvu": self.score()})
        if word != "step":
            if self._work["device"] != "cpu":
                self._about["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
            _end(self._about)  # the trainer is in the midst of its loop, and is not asked what it thinks of that
        batch = self.batches[self._turn % len(self.batches)]
        self._turn += 1
        # Each time, as a library may have set it for itself: all are to be measured at one precision.
        torch.set_float32_matmul_precision("high" if self._work["tf32"] else "highest")
        self._running = True
        self._clock.begin()
        return batch

    @torch.no_grad()
    def score(self) -> float:
        """The share of the held-out variance that is not explained."""
        x = self.held_out
        return float((self._rebuild(x) - x).square().sum() / (x - x.mean(0)).square().sum())


def serve(step: Callable[[], int]) -> None:
    """The same for what is no trainer: each step does something with so many tokens."""
    torch.set_num_threads(1)
    while sys.stdin.readline().strip() == "step":
        began = time.process_time()
        tokens = step()
        _tell({"tokens": tokens, "seconds": time.process_time() - began})
    _end({})


def _end(about: dict[str, Any]) -> None:
    _tell({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **about})
    os._exit(0)


def _tell(said: dict[str, Any]) -> None:
    print(json.dumps(said), file=_OUT, flush=True)
