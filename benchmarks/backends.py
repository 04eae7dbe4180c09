"""A training step by each backend of products over pairs, at several shares of active pairs, and on several threads.

    python benchmarks/backends.py
    python benchmarks/backends.py --agree      # what 5,000 steps learn by the reference and by "auto", three seeds each
    python benchmarks/backends.py --nominate   # of how many rows the choice by bounds is not certain

Steps alternate between the backends; times are of this process on the processor (its kernels' threads too), of which
there is one but in the last table, which has wall-clock time and wants an idle machine. `product` is the encoder's
alone, the floor of an exact step; a dense one has five.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from itertools import product

import torch
from drivers.floor import hold_density, product_ms
from torch import Tensor

from unweave import threads
from unweave.activations.batches import of_rows
from unweave.activations.corpus import of_games
from unweave.config import RunConfig, override
from unweave.dictionary.codes import mean_l0
from unweave.dictionary.kernels import cpu, cpu_bf16, cpu_int16, pairs, sparse
from unweave.dictionary.kernels.nominate import nominated
from unweave.othello import games
from unweave.subject import load
from unweave.training.loop import Trainer

D, F, B, K = 512, 4096, 4096, 32
WORKS = ((f"topk(k={K})", None), ("relu(l1=1.0)", 0.01), ("relu(l1=1.0)", 0.05), ("relu(l1=1.0)", 0.12))
STILL = {"training.lr": 1e-12, "training.warmup": 0, "training.steps": 10**6, "training.log_every": 10**6}


def inputs() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    common = torch.randn(B, 40, generator=draw) @ torch.randn(40, D, generator=draw)
    return 0.3 * common + torch.randn(B, D, generator=draw)


def trainer_of(method: str, x: Tensor, density: float | None, backend: str = "auto") -> Trainer:
    """One whose weights stay where they are, with gradients clipped, as other libraries do."""
    config = RunConfig(method=method, d_sae=F, revive="none()")
    trainer = Trainer(override(config, STILL | {"training.gradient_norm": 1.0, "training.backend": backend}), D)
    trainer.fit_(x)
    if density:
        hold_density(trainer, x, density)
    return trainer


def steps(x: Tensor, rounds: int) -> None:
    """Whatever their share, pairs are worked on as pairs: where dense products are faster is seen by that."""
    cpu.SHARE = sparse.SHARE = 1.0
    names = [name for name in pairs.BACKENDS if _possible(name)]
    floor = product_ms(x, F)
    print(f"\nD {D}, F {F}, B {B}, one thread; encoder's product {floor:.0f} ms; ms a step (of the product)")
    print(f"{'':24}" + "".join(f"{name:>16}" for name in names))
    for method, density in WORKS:
        by = {name: trainer_of(method, x, density, name) for name in names}
        took: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds + 1):
            for name, trainer in by.items():
                began = time.process_time()
                trainer.update(x)
                took[name].append(1000 * (time.process_time() - began))
        title = method + (f" {density:.0%} active" if density else "")
        middle = {name: statistics.median(times[1:]) for name, times in took.items()}  # the first warms up
        print(f"{title:24}" + "".join(f"{ms:9.0f} ({ms / floor:4.2f})" for ms in middle.values()), flush=True)


def _possible(backend: str) -> bool:
    try:
        pairs.check(backend, torch.device("cpu"))
    except ValueError:
        return False
    return True


def on_threads(x: Tensor, rounds: int) -> None:
    trainer, n = trainer_of(f"topk(k={K})", x, None), torch.get_num_threads()
    took: dict[int, list[float]] = {1: [], n: []}
    torch.set_num_threads(1)
    for _ in range(rounds + 1):
        for count, times in took.items():
            with threads.on(count):
                began = time.perf_counter()
                trainer.update(x)
                times.append(1000 * (time.perf_counter() - began))
    middle = {count: statistics.median(times[1:]) for count, times in took.items()}
    faster = statistics.median(one / many for one, many in zip(took[1][1:], took[n][1:], strict=True))
    print(f"\ntopk(k={K}), ms a step: one thread {middle[1]:.0f}, {n} threads {middle[n]:.0f}, {faster:.2f} x as fast")


def agreement(n_steps: int, seeds: int) -> None:
    """The same batches in the same order; scored on games that no step has seen."""
    subject, site = load("othello()"), "resid_post.3"
    learnt, held_out = (
        of_rows(subject, of_games(games.sample(split, n, 0)), [site]).vectors[site]
        for split, n in (("train", 4000), ("test", 500))
    )
    print(f"\n{n_steps:,} steps of 512 vectors of {site} of the bundled OthelloGPT, F 512; held out, seed by seed")
    for method in (f"topk(k={K})", "jumprelu(l0=0.3)"):
        for backend in ("reference", "auto"):
            found = [_learnt(method, backend, seed, learnt, held_out, n_steps) for seed in range(seeds)]
            told = "".join(f"   FVU {fvu:.4f} L0 {l0:5.1f}" for fvu, l0 in found)
            print(f"{method:18} {backend:10}{told}", flush=True)


def nomination(rounds: int) -> None:
    """Of rows that no step has seen, as training goes on: those that are computed again in full."""
    subject, site = load("othello()"), "resid_post.3"
    x, held_out = (
        of_rows(subject, of_games(games.sample(split, n, 0)), [site]).vectors[site]
        for split, n in (("train", 1000), ("test", 100))
    )
    print(f"\n{len(held_out):,} rows of {site} of OthelloGPT, topk(k={K}): computed in full after so many steps")
    for d_sae, by in product((1024, 4096), (cpu_bf16, cpu_int16)):
        config = override(RunConfig(method=f"topk(k={K})", d_sae=d_sae), {"training.lr": 1e-3})
        trainer = Trainer(config, x.shape[1])
        trainer.fit_(x)
        told = []
        for step in range(rounds * 100 + 1):
            if step in (0, 25, *range(100, rounds * 100 + 1, 100)):
                d, own = trainer.dictionary, trainer.dictionary.input(held_out)
                with torch.no_grad():
                    shift = d.coder.b_enc - d.b_dec @ d.coder.W_enc
                    certain = nominated(own, by.Bounds(d.coder.W_enc.detach(), shift), K)[2]
                told.append(f"{step}: {1 - certain.float().mean():.2%}")
            trainer.update(x[(1024 * step) % (len(x) - 1024) :][:1024])
        print(f"F {d_sae:5}   {by.__name__.rpartition('.')[2]:9}   " + "   ".join(told), flush=True)


def _learnt(method: str, backend: str, seed: int, x: Tensor, held_out: Tensor, n_steps: int) -> tuple[float, float]:
    config = override(RunConfig(method=method, d_sae=512, seed=seed), {"training.batch": 512, "training.lr": 1e-3})
    trainer = Trainer(replace(config, training=replace(config.training, steps=n_steps, backend=backend)), x.shape[1])
    trainer.fit_(x[:20_000])
    draw = torch.Generator().manual_seed(seed)
    while not trainer.done:
        for at in torch.randperm(len(x), generator=draw).split(512):
            if len(at) == 512 and not trainer.done:
                trainer.update(x[at])
    with torch.no_grad():
        dictionary = trainer.dictionary.eval()
        spread = (held_out - held_out.mean(0)).square().sum()
        return float((dictionary(held_out) - held_out).square().sum() / spread), mean_l0(dictionary.encode(held_out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--agree", action="store_true")
    parser.add_argument("--nominate", action="store_true")
    parser.add_argument("--steps", type=int, default=5000, help="of --agree")
    parser.add_argument("--seeds", type=int, default=3, help="of --agree")
    arguments = parser.parse_args()
    if arguments.agree:
        agreement(arguments.steps, arguments.seeds)
        return
    if arguments.nominate:
        nomination(arguments.rounds)
        return
    x = inputs()
    on_threads(x, arguments.rounds)
    torch.set_num_threads(1)
    steps(x, arguments.rounds)


if __name__ == "__main__":
    main()
