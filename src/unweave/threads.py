"""Work on several threads: kernels and torch let go of Python's lock, so plain threads run side by side.

Work is dealt out in parts that do not depend on how many threads there are, and each part runs in one thread, so that
no result depends on it either.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass
class Team:
    """Threads that one piece of work may use; seconds: what they took of the processor, the asking thread's apart."""

    n: int
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seconds: float) -> None:
        with self._lock:
            self.seconds += seconds


_team: ContextVar[Team | None] = ContextVar("team", default=None)


@contextmanager
def on(n: int) -> Iterator[Team]:
    """In this thread, `in_parts` uses n threads; outside, as many as torch does."""
    team = Team(n)
    before = _team.set(team)
    try:
        yield team
    finally:
        _team.reset(before)


def in_parts(n: int, size: int, work: Callable[[int, int], object]) -> None:
    """Call `work(start, stop)` for every part of at most `size` of range(n); no two may write to the same place.

    Raises what a part raises.
    """
    team = _team.get() or Team(torch.get_num_threads())
    parts = [(start, min(start + size, n)) for start in range(0, n, size)]
    if team.n == 1 or len(parts) == 1:
        for part in parts:
            work(*part)
        return

    with_gradients = torch.is_grad_enabled()  # which each thread decides for itself

    def timed(part: tuple[int, int]) -> None:
        began = time.thread_time()
        with torch.set_grad_enabled(with_gradients):
            work(*part)
        team.add(time.thread_time() - began)

    for done in [_pool(team.n).submit(timed, part) for part in parts]:
        done.result()


def side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What each task returns, each run in a single thread: jobs that are part kernel and part Python fill the
    processor better next to each other than with threads of their own. Raises what a task raises.
    """
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(lambda task: task(), tasks))


@cache
def _pool(n: int) -> ThreadPoolExecutor:
    """Kept, since a step asks for it many times. In its threads torch has no others, and `in_parts` neither."""
    return ThreadPoolExecutor(n, "part", torch.set_num_threads, (1,))
