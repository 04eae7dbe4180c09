"""A subject of games that writes small stores, and what two of them have in common."""

from pathlib import Path

import torch

from unweave.activations import shard
from unweave.activations.fill import fill
from unweave.activations.plan import Order, order, plan
from unweave.activations.store import Store, present, sample_path, shard_path
from unweave.config import DataConfig
from unweave.subject import disk
from unweave.subject.gpt import GPT, GPTConfig

DATA = DataConfig(sequences=32, seed=5)
SITES = ["resid_post.0", "mlp_act.1"]
CHUNK = 32 * 58  # vectors, at least: few games end early


def model(folder: Path, seed: int = 0) -> str:
    """A GPT with random weights, saved: what a subject is called by."""
    torch.manual_seed(seed)
    disk.save(GPT(GPTConfig(n_layers=2, d_model=16, n_heads=2)), folder)
    return str(folder)


def ordered(folder: Path, subject: str, shards: int = 3, **changes) -> Order:
    asked = {"data": DATA, "sites": SITES, "dtype": "float32", "tokens": shards * CHUNK} | changes
    return order(folder, subject, asked.pop("data"), asked.pop("sites"), **asked)


def filled(folder: Path, subject: str, shards: int = 3, **changes) -> Store:
    for _ in fill(plan(ordered(folder, subject, shards, **changes))):
        pass
    return Store(folder)


def sums(folder: Path) -> list[dict[str, str]]:
    """The checksums of a store's files: two stores that agree in them hold the same."""
    return [shard.checksums(path) for path in [sample_path(folder), *(shard_path(folder, i) for i in present(folder))]]
