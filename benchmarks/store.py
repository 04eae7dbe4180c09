"""A store of activations, written and read back: MB/s against a plain file's, and memory over time.

    python benchmarks/store.py --gigabytes 20

Floor: the same bytes into plain files, flushed to the disk as a shard is, and back, after the system was asked to
forget them. The vectors are drawn at random, once. Reading is what a training does: shuffled batches, from chunks read
ahead.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from unweave import files
from unweave.activations import shard
from unweave.activations.batches import from_everywhere
from unweave.activations.buffer import Place
from unweave.activations.harvest import Harvest
from unweave.activations.store import Store, described, shard_path
from unweave.config import DataConfig

D, N, SITE, BATCH = 768, 65536, "resid_post.0", 4096
BARS = " ▁▂▃▄▅▆▇█"


class Memory:
    """What the process itself holds, mapped files left out, every 20 ms of a `with`."""

    def __enter__(self) -> Memory:
        self.seen, self.done = [self.now()], threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def watch(self) -> None:
        while not self.done.wait(0.02):
            self.seen.append(self.now())

    def now(self) -> int:
        resident, mapped = Path("/proc/self/statm").read_text().split()[1:3]
        return (int(resident) - int(mapped)) * os.sysconf("SC_PAGE_SIZE")

    def plot(self, width: int = 72) -> str:
        """The highest of each of `width` stretches of time, in eighths of the highest of all."""
        parts = [self.seen[i * len(self.seen) // width : (i + 1) * len(self.seen) // width] for i in range(width)]
        return "".join(BARS[round(8 * max(part) / max(self.seen))] for part in parts if part)


def forget(folder: Path) -> None:
    """Ask the system to keep none of the files' contents in memory."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(what: str, size: int, work: Callable[[], None]) -> None:
    before = Memory().now()
    with Memory() as memory:
        began = time.perf_counter()
        work()
        took = time.perf_counter() - began
    most = (max(memory.seen) - before) / (4 * D * N)
    print(f"{what:12} {size / took / 1e6:6.0f} MB/s, at most {most:.1f} chunks of float32  |{memory.plot()}|")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--gigabytes", type=float, default=0.5)
    ask.add_argument("--dtype", choices=shard.DTYPES, default="bfloat16")
    ask.add_argument("--folder", type=Path, default=None, help="on which disk")
    asked = ask.parse_args()
    root = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        bench(root, asked.gigabytes, asked.dtype)
    finally:
        shutil.rmtree(root)


def bench(root: Path, gigabytes: float, dtype: str) -> None:
    rows = torch.arange(N)
    found = Harvest({SITE: torch.randn(N, D)}, rows // 128, rows % 128, rows % 50257)
    shard.write(root / "one", found, dtype)
    size = (root / "one").stat().st_size
    shards = max(3, round(gigabytes * 1e9 / size))
    print(f"{shards} shards of {size / 1e6:.0f} MB, {dtype}; a chunk of float32 is {4 * D * N / 1e6:.0f} MB")
    data, store = (root / "one").read_bytes(), root / "store"
    (root / "plain").mkdir()

    def write_plain() -> None:
        for index in range(shards):
            files.replace(root / "plain" / str(index), lambda aside: aside.write_bytes(data))

    def read_plain() -> None:
        buffer = bytearray(size)
        for path in (root / "plain").iterdir():
            with open(path, "rb") as file:
                file.readinto(buffer)

    def write() -> None:
        for index in range(shards):
            shard.write(shard_path(store, index), found, dtype)
        files.write_json(store / "store.json", described("", {SITE: D}, DataConfig(), dtype, ""))
        files.write_json(store / "finished.json", {"shards": shards, "vectors": shards * N})

    def read() -> None:
        with ThreadPoolExecutor(1) as pool:
            source = Store(store).chunks([SITE])
            stream = from_everywhere(source, DataConfig(), batch=BATCH, start=Place(), pool=pool)
            while next(stream)[0].round < shards:
                pass

    measured("plain write", shards * size, write_plain)
    forget(root / "plain")
    measured("plain read", shards * size, read_plain)
    shutil.rmtree(root / "plain")
    measured("write", shards * size, write)
    forget(store)
    measured("read", shards * size, read)


if __name__ == "__main__":
    main()
