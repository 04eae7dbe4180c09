"""Work on as many threads as torch may use: kernels let go of Python's lock, so plain threads run side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def in_parts(n: int, size: int, work: Callable[[int, int], object]) -> None:
    """Call `work(start, stop)` for every part of at most `size` of range(n); no two may write to the same place.

    Raises what a part raises.
    """
    starts = range(0, n, size)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for done in [pool.submit(work, start, min(start + size, n)) for start in starts]:
            done.result()


def side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What each task returns, each run in a single thread: jobs that are part kernel and part Python fill the
    processor better next to each other than with threads of their own, and add up in the same order however many there
    are. Raises what a task raises.
    """
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(lambda task: task(), tasks))
