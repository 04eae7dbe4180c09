"""One loop on as many threads as torch may use: kernels let go of Python's lock, so plain threads run side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_parts(n: int, size: int, work: Callable[[int, int], object]) -> None:
    """Call `work(start, stop)` for every part of at most `size` of range(n); no two may write to the same place.

    Raises what a part raises.
    """
    starts = range(0, n, size)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for done in [pool.submit(work, start, min(start + size, n)) for start in starts]:
            done.result()
