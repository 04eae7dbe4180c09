"""Seconds to score a readout against the truth of 59,000 positions, as large as half of a real evaluation.

Run: python benchmarks/auroc.py [--threads 2]. Wall time, and processor time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from unweave.evaluation.auroc import auroc
from unweave.evaluation.coverage import count, precise, predict
from unweave.evaluation.ground_truth import BoardLabels
from unweave.evaluation.probes import fit
from unweave.evaluation.readout import SparseColumns, linear
from unweave.evaluation.truth import score

N, WIDTH, FEATURES, ACTIVE = 59_000, 256, 1024, 64


def labels(n: int, draw: np.random.Generator) -> BoardLabels:
    """As dense as on real boards: half of the squares empty, 8.6 legal moves."""
    board = draw.choice(3, (n, 64), p=[0.5, 0.25, 0.25]).astype(np.int8)
    return BoardLabels(board, draw.random((n, 64)) < 8.6 / 64, np.arange(n) % 59)


def activations(n: int, features: int, active: int, draw: np.random.Generator) -> SparseColumns:
    chosen = draw.integers(0, features // active, (n, active)) + np.arange(active) * (features // active)
    offsets = np.arange(n + 1) * active
    return SparseColumns.from_rows(offsets, chosen.ravel(), draw.random(n * active, np.float32), features)


def timed(name: str, work: Callable[[], Any]) -> Any:
    wall, used = time.perf_counter(), time.process_time()
    result = work()
    print(f"{name:44}{time.perf_counter() - wall:8.2f} s{time.process_time() - used:8.2f} s of processor", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    draw = np.random.default_rng(0)

    small = labels(500, draw)
    x = draw.standard_normal((500, WIDTH)).astype(np.float32)
    weight = draw.standard_normal((WIDTH, FEATURES)).astype(np.float32)
    for readout in (activations(500, FEATURES, ACTIVE, draw), linear(x, weight)):
        timed("compiling, or reading from the cache", lambda readout=readout: score(readout, small, readout, small))

    truth = labels(N, draw)
    timed("labels: lists, bits and strata", lambda: (truth.lists, truth.bits, truth.strata))
    x = draw.standard_normal((N, WIDTH)).astype(np.float32)
    dense, sparse = linear(x, weight), activations(N, FEATURES, ACTIVE, draw)
    for name, readout in (("sparse", sparse), ("dense", dense)):
        timed(f"{name}: AUROC pooled and within position", lambda readout=readout: auroc(readout, truth))
        counts = timed(f"{name}: counts at ten thresholds", lambda readout=readout: count(readout, truth))
        keep = precise(counts) | np.uint64(1)
        timed(f"{name}: predictions", lambda r=readout, c=counts, k=keep: predict(r, c.f_max, k))
        timed(f"{name}: a whole score, both halves", lambda readout=readout: score(readout, truth, readout, truth))
    thin = activations(60_000, FEATURES, 26, draw)
    more = labels(60_000, draw)
    _ = more.lists, more.strata
    timed("sparse 60,000 x 1,024 of which 2.5 % active: AUROC", lambda: auroc(thin, more))
    timed("linear probes", lambda: fit(torch.from_numpy(x), truth))


if __name__ == "__main__":
    main()
