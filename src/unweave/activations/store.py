"""Activations on disk: the chunks that a training would harvest, written down in the order of its stream.

store.json                    what they are of
asked.json                    how many vectors of each site it is to hold
sample.safetensors            the rows in which a dictionary finds the middle and the scale of its inputs
shard-00000.safetensors ...   a chunk each
finished.json                 how many there are, once all are written

So a dictionary that is trained from a store of float32 has the same weights, to the bit, as one that is trained from
the subject. A store can be read while it grows: what is there is whole. Shapes: N vectors of a chunk, D width.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch

from unweave import files
from unweave.activations import shard
from unweave.activations.buffer import Vectors
from unweave.config import DataConfig
from unweave.subject import joined

VERSION = 1


def described(subject: str, sites: dict[str, int], data: DataConfig, dtype: str, corpus: str) -> dict[str, Any]:
    """What store.json holds. sites: with their widths; corpus: its fingerprint."""
    head = {"version": VERSION, "subject": subject, "sites": sites, "dtype": dtype, "corpus": corpus}
    return head | {"data": decisive(data)}


def decisive(data: DataConfig) -> dict[str, Any]:
    """Those of the settings that decide what the chunks hold."""
    names = ("text", "context", "packed", "specials") if data.text else ("text",)
    return {name: getattr(data, name) for name in (*names, "sequences", "seed")}


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05}.safetensors"


def asked_path(folder: Path) -> Path:
    return folder / "asked.json"


def sample_path(folder: Path) -> Path:
    return folder / "sample.safetensors"


def present(folder: Path) -> list[int]:
    """The indices of the shards that are there, in order."""
    return sorted(int(path.stem.removeprefix("shard-")) for path in folder.glob("shard-*.safetensors"))


class Store:
    """A store, to learn from. about: what store.json says."""

    def __init__(self, folder: Path | str, pause: Callable[[float], object] = time.sleep) -> None:
        """pause: waits so many seconds for a shard that is still to come; what is true ends the waiting.

        Raises FileNotFoundError for a folder that is no store, and ValueError for a damaged one or one of another
        version.
        """
        self.folder, self._pause = Path(folder), pause
        path = self.folder / "store.json"
        if not path.exists():
            raise FileNotFoundError(f"{folder} is no store of activations: `unweave harvest {folder}` makes one")
        self.about = files.read_json(path)
        if not isinstance(self.about, dict) or self.about.get("version") != VERSION:
            raise ValueError(f"{path} is not of a store of version {VERSION}: harvest it anew, into another folder")
        self._end: int | None = None
        self._sums: dict[int, dict[str, str]] = {}

    @property
    def sites(self) -> dict[str, int]:
        """The sites that it holds, and their widths."""
        return self.about["sites"]

    @property
    def end(self) -> int | None:
        """How many shards it has, once it is finished, and None before. It stays what it was when it was first known:
        where a stream begins again must not change while it is read."""
        path = self.folder / "finished.json"
        if self._end is None and path.exists():
            self._end = files.read_json(path)["shards"]
        return self._end

    def agree(self, subject: str, data: DataConfig) -> None:
        """Raises ValueError, which names what differs, if it is of another subject or of other data."""
        here = {"subject": subject, "data": decisive(data)}
        there = {name: self.about[name] for name in here}
        if differ := files.differences(there, here):
            raise ValueError(f"the store {self.folder} was harvested with other settings: {differ}")

    def width(self, site: str) -> int:
        """Of a single or joined site. Raises ValueError for one that is not in the store."""
        return sum(self.sites[part] for part in self._parts(site))

    def sample(self, sites: Sequence[str]) -> Vectors:
        """By site `[N, D]`, as `Live.sample`. Raises as `vectors` does."""
        return self._joined(sample_path(self.folder), sites)

    def vectors(self, index: int, sites: Sequence[str]) -> Vectors:
        """The vectors of a shard at `sites`, single or joined, `[N, D] float32`.

        Raises FileNotFoundError for a shard that is not there, ValueError for one that is damaged and for a site that
        is not in the store.
        """
        return self._joined(shard_path(self.folder, index), sites)

    def chunks(self, sites: Sequence[str]) -> Callable[[int], Iterator[Vectors]]:
        """A source for `buffer.shuffled`. After the last shard of a finished store comes the first again; a shard that
        is not there is waited for while a process fills the store.

        Raises ValueError where the store ends unfinished or with a gap and no process fills it, and as `vectors` does.
        """

        def source(start: int) -> Iterator[Vectors]:
            for chunk in count(start):
                yield self.vectors(self._whole(chunk), sites)

        return source

    def fingerprint(self, chunks: int) -> str:
        """Differs when the first so many chunks are not what they were: a store may have grown since then, if its end
        had not been passed."""
        found = hashlib.sha256(json.dumps(self.about, sort_keys=True).encode())
        for index in range(chunks if self.end is None else min(chunks, self.end)):
            path = shard_path(self.folder, index)
            if index not in self._sums and path.exists():
                self._sums[index] = shard.checksums(path)
            found.update(json.dumps(self._sums.get(index), sort_keys=True).encode())
        return found.hexdigest()[:16]

    def _whole(self, chunk: int) -> int:
        """The index of a chunk's shard, when it is there."""
        while not shard_path(self.folder, index := self._index(chunk)).exists():
            growing = files.in_use(self.folder)
            if shard_path(self.folder, self._index(chunk)).exists():  # it came before that was asked
                continue
            if not growing:
                raise ValueError(
                    f"the store {self.folder} has no shard {index}, and no process fills it: `unweave harvest` goes on "
                    "with it, or without --tokens lets it end where it does"
                )
            if self._pause(1.0):
                raise InterruptedError(f"no longer waiting for shard {index} of {self.folder}")
        return index

    def _index(self, chunk: int) -> int:
        return chunk if self.end is None else chunk % self.end

    def _joined(self, path: Path, sites: Sequence[str]) -> Vectors:
        parts = {site: self._parts(site) for site in sites}
        held = shard.vectors(path, sorted({part for of in parts.values() for part in of}))
        return {
            site: held[of[0]] if len(of) == 1 else torch.cat([held[p] for p in of], -1) for site, of in parts.items()
        }

    def _parts(self, site: str) -> list[str]:
        try:
            return joined.resolve(site, self.sites).split("+")
        except ValueError:
            raise ValueError(f"the store {self.folder} holds {', '.join(self.sites)}, and not {site}") from None
