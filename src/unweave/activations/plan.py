"""What filling a store will come to, before it begins: vectors, disk, memory, and time as a short trial measures it."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unweave import files
from unweave.activations import shard
from unweave.activations.harvest import Harvest, harvest
from unweave.activations.live import Live
from unweave.activations.store import asked_path, described, present, shard_path
from unweave.config import DataConfig
from unweave.registry import nearest
from unweave.subject import joined

# Chunks in float32 that are in memory at the worst moment of a training: what is served, what is kept back of it, the
# next one read ahead, and its halves. `benchmarks/store.py` measures it.
_READ = 4


@dataclass(frozen=True)
class Order:
    """What a store is to hold: at `sites` (their widths by name) about so many vectors, by whole chunks."""

    folder: Path
    live: Live
    sites: dict[str, int]
    dtype: str
    tokens: int

    def described(self) -> dict[str, Any]:
        return described(self.live.call, self.sites, self.live.data, self.dtype, self.live.corpus.fingerprint)


@dataclass(frozen=True)
class Plan:
    """shards, vectors, bytes: of the whole store; there: vectors that it has already; missing, seconds: bytes that are
    to be written, and the time for that; free: bytes on the disk; writing, reading: bytes of memory, beside the
    subject's; first: the rows that were harvested for the trial."""

    order: Order
    first: Harvest
    shards: int
    vectors: int
    there: int
    bytes: int
    missing: int
    free: int
    writing: int
    reading: int
    seconds: float

    def fit(self) -> None:
        """Raises ValueError for more than the disk can hold."""
        if self.missing > self.free:
            raise ValueError(
                f"{self.order.folder} would need {self.missing / 1e9:.1f} GB, and its disk has {self.free / 1e9:.1f} "
                "GB free: ask for fewer tokens or sites, or for bfloat16"
            )


def order(folder: Path, subject: str, data: DataConfig, sites: Sequence[str], *, dtype: str, tokens: int) -> Order:
    """sites: under any of their names, joined ones taken apart; tokens: 0 for as many as were asked for before.

    Raises ValueError for what cannot be, and for a folder that was begun with other settings; what `Live` does.
    """
    if dtype not in shard.DTYPES:
        raise ValueError(f"a store has no dtype {dtype!r}{nearest(dtype, shard.DTYPES)}")
    if tokens < 0:
        raise ValueError(f"tokens must be at least 0, not {tokens}")
    if data.store:
        raise ValueError("a store is filled from a subject, not from another store: leave out data.store")
    live = Live(subject, data)
    known = live.subject.sites()
    wanted = {part for site in sites for part in joined.resolve(site, known).split("+")}
    if not tokens and asked_path(folder).exists():
        tokens = files.read_json(asked_path(folder))["tokens"]
    made = Order(folder, live, {site: width for site, width in known.items() if site in wanted}, dtype, tokens)
    if (folder / "store.json").exists():
        files.claim(folder / "store.json", made.described())
    elif not files.vacant(folder):
        raise ValueError(f"{folder} exists and is not a store of activations: choose another folder")
    return made


def plan(order: Order) -> Plan:
    """Harvest the first rows, write them aside, and reckon from that.

    Raises what `harvest` and `shard.write` do, and ValueError for a text that has nothing to learn from.
    """
    live, rows = order.live, order.live.first_rows()
    near = next(path for path in (order.folder, *order.folder.absolute().parents) if path.is_dir())
    began = time.perf_counter()
    with crew() as pool, tempfile.TemporaryDirectory(prefix=".trial-", dir=near) as aside:
        first = harvest(live.subject, rows, list(order.sites), pool.map)
        shard.write(Path(aside) / "sample.safetensors", first, order.dtype)
        size = (Path(aside) / "sample.safetensors").stat().st_size
    seconds, n = time.perf_counter() - began, len(first.row)
    if not n:
        raise ValueError(f"nothing to learn from in the first {len(rows)} rows of {live.data.text}")
    chunk = max(1, round(n * live.data.sequences / len(rows)))
    held = [shard.size(shard_path(order.folder, index)) for index in present(order.folder)]
    there = sum(held)
    to_come = math.ceil(max(0, order.tokens - there) / chunk)
    width, itemsize = sum(order.sites.values()), shard.DTYPES[order.dtype].itemsize
    return Plan(
        order,
        first,
        shards=len(held) + to_come,
        vectors=there + to_come * chunk,
        there=there,
        bytes=round((there + to_come * chunk) * size / n),
        missing=round(to_come * chunk * size / n),
        free=shutil.disk_usage(near).free,
        writing=chunk * width * (4 + (itemsize if itemsize < 4 else 0)),
        reading=_READ * chunk * width * 4,
        seconds=to_come * chunk * seconds / n,
    )


def crew() -> ThreadPoolExecutor:
    """As many threads as torch may use, one thread of torch's own in each, as in training: so that a store holds what
    training would harvest, to the bit."""
    return ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,))
