"""Filling a store: the chunks that are missing, one after the other, so that whatever ends it, they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unweave import files
from unweave.activations import shard
from unweave.activations.harvest import harvest
from unweave.activations.live import Live
from unweave.activations.plan import Plan, crew
from unweave.activations.store import asked_path, present, sample_path, shard_path
from unweave.rows import Rows


@dataclass(frozen=True)
class Filled:
    """How much of a store is there."""

    shards: int
    vectors: int


def fill(plan: Plan) -> Iterator[Filled]:
    """Harvest what is missing of a store; after each shard, how much is there. It can be left after any of them, and
    taken up by the same again; when it is through, the store is finished.

    Raises ValueError for more than the disk holds, a folder that another process fills, a store of other settings or of
    a model that has changed, what `harvest` does, and OSError when the disk is full after all.
    """
    plan.fit()
    order, folder = plan.order, plan.order.folder
    with files.held(folder), crew() as pool:
        files.claim(folder / "store.json", order.described())
        files.write_json(asked_path(folder), {"tokens": order.tokens})
        files.sweep(folder)
        _keep_sample(plan)
        held = {index: shard.size(shard_path(folder, index)) for index in present(folder)}
        for index, rows in _rows(order.live, _missing(held, order.tokens)):
            (folder / "finished.json").unlink(missing_ok=True)
            found = harvest(order.live.subject, rows, list(order.sites), pool.map)
            shard.write(shard_path(folder, index), found, order.dtype)
            held[index] = len(found.row)
            del found  # or it would be in memory beside the next
            yield Filled(len(held), sum(held.values()))
        if not held:
            raise ValueError(f"{folder} would hold nothing: say how many --tokens")
        files.write_json(folder / "finished.json", {"shards": len(held), "vectors": sum(held.values())})


def check(folder: Path) -> Iterator[tuple[Path, str]]:
    """Read all of a store; each file, and in a sentence what is wrong with it, if anything. What is damaged is removed,
    so that `fill` harvests it anew.

    Raises ValueError for a folder that another process fills.
    """
    with files.held(folder):
        for path in [sample_path(folder), *(shard_path(folder, index) for index in present(folder))]:
            try:
                shard.check(path)
            except ValueError as error:
                path.unlink()
                yield path, str(error)
            except FileNotFoundError:  # the sample; `fill` writes it
                continue
            else:
                yield path, ""


def _missing(held: dict[int, int], tokens: int) -> Iterator[int]:
    """The indices of shards that are to be harvested; `held` is what is there, and grows meanwhile."""
    index, last = 0, max(held, default=-1)
    while index <= last or sum(held.values()) < tokens:
        if index not in held:
            yield index
        index += 1


def _rows(live: Live, indices: Iterator[int]) -> Iterator[tuple[int, Rows]]:
    """The rows of each chunk. Going on is cheap in a stream; to begin in its middle may be slow."""
    stream, at = iter(()), -1
    for index in indices:
        if index != at:
            stream = live.corpus.stream("train", n=live.data.sequences, seed=live.data.seed, skip=index)
        yield index, next(stream)
        at = index + 1


def _keep_sample(plan: Plan) -> None:
    """Write the sample; where it is, it must be what the subject gives now, but for the rounding of another machine."""
    order, path = plan.order, sample_path(plan.order.folder)
    if not path.exists():
        shard.write(path, plan.first, order.dtype)
        return
    for site, before in shard.vectors(path, list(order.sites)).items():
        now = plan.first.vectors[site]
        if now.shape != before.shape or (now - before).norm() > 0.02 * before.norm():
            raise ValueError(
                f"{order.folder} was begun with another model: {order.live.call} gives other activations at {site} "
                "now; choose another folder, or delete it"
            )
