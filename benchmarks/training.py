"""A training step of each method against the arithmetic's floor and against dense matrices; harvesting against its own.

Floor of a step: the encoder's product alone, 2 B D F operations, at the rate that torch reaches on that very product; a
dense step with gradients has five such products. Beside it, alternating with it, the same method's step by the
reference backend, with dense codes and torch's own gradients; how many pairs are active is set by the encoder's bias.
Times are this thread's on the processor, medians. Floor of a harvest: the subject's weights up to the site, 2
operations each a position. A step of an end-to-end objective stands beside one of the squared error on the same whole
games.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from drivers.floor import hold_density, product_ms
from torch import Tensor

from unweave.activations.batches import of_rows
from unweave.activations.corpus import of_games
from unweave.activations.harvest import harvest
from unweave.config import RunConfig, override
from unweave.dictionary.kernels import cpu
from unweave.othello import games
from unweave.subject import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.training.loop import Trainer

D, F, B = 256, 1024, 1024
METHODS = (
    "relu(l1=1.0)",
    "smoothed_l0",
    "freshmans_dream",
    "without_topk(k=32)",
    "p_anneal",
    "jumprelu",
    "gated",
    "topk(k=64)",
    "batch_topk(k=64)",
)
DENSITIES = (0.02, 0.06, 0.12, 0.2, 0.28)
SMALL = (128, 512, 1024), ("relu(l1=1.0)", "topk(k=32)"), DENSITIES
LARGE = (512, 4096, 4096), ("relu(l1=1.0)", "jumprelu", "topk(k=32)"), (0.01, 0.025, 0.12, 0.2, 0.28)


def with_density(method: str, x: Tensor, d_sae: int, density: float, backend: str) -> Trainer:
    """A trainer whose weights stay where they are, with that share of pre-activations above what lets them pass."""
    settings = {"training.lr": 1e-12, "training.warmup": 0, "training.steps": 10**6, "training.log_every": 10**6}
    config = override(RunConfig(method=method, d_sae=d_sae, revive="none()"), settings | {"training.backend": backend})
    trainer = Trainer(config, x.shape[1])
    trainer.fit_(x)
    hold_density(trainer, x, density)
    return trainer


def both_ways(method: str, x: Tensor, d_sae: int, density: float, rounds: int) -> list[float]:
    """Milliseconds of a step over active pairs, and of one with dense codes: medians of alternating ones."""
    trainers = [with_density(method, x, d_sae, density, backend) for backend in ("cpu", "reference")]
    took: list[list[float]] = [[], []]
    for turn in range(2 * rounds + 4):  # the first four warm up
        began = time.thread_time()
        trainers[turn % 2].update(x)
        took[turn % 2].append(1000 * (time.thread_time() - began))
    return [statistics.median(each[2:]) for each in took]


def steps(shape: tuple[int, int, int], methods: Sequence[str], densities: Sequence[float], rounds: int) -> None:
    """The table of one size."""
    d_in, d_sae, batch = shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 40, generator=generator) @ torch.randn(40, d_in, generator=generator)
    x = 0.3 * x + torch.randn(batch, d_in, generator=generator)
    product = product_ms(x, d_sae, rounds)
    rate = 2 * batch * d_in * d_sae / product / 1e6
    print(f"D {d_in}, F {d_sae}, B {batch}; encoder product {product:.1f} ms ({rate:.0f} GFLOP/s)")
    print("method              density  step ms  x the product  dense ms  dense / step")
    for method in methods:
        for density in densities if "topk(k=" not in method or method.startswith("without") else (None,):
            ours, plain = both_ways(method, x, d_sae, density or 0.5, rounds)
            share = f"{density:7.1%}" if density else "      k"
            print(f"{method:19} {share} {ours:8.1f} {ours / product:14.1f} {plain:9.1f} {plain / ours:13.2f}")


def median_ms(work: Callable[[], object], rounds: int = 15) -> float:
    times = []
    for _ in range(rounds + 2):  # the first two warm up
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times[2:])


def main() -> None:
    torch.set_num_threads(1)  # of which this thread's time is all there is
    cpu.SHARE = 1.0  # pairs at any density
    steps((D, F, B), METHODS, DENSITIES, 15)
    steps(*SMALL, 15)
    steps(*LARGE, 5)
    torch.manual_seed(0)
    x, encoder = torch.randn(B, D), torch.randn(D, F)
    rate = 2 * B * D * F / median_ms(lambda: x @ encoder) / 1e6
    subject, rows = GPT(GPTConfig(), ALPHABET).eval().requires_grad_(False), of_games(games.sample("train", 128, 0))
    weights = sum(p.numel() for p in subject.blocks[0].parameters())
    took = median_ms(lambda: harvest(subject, rows, ["resid_post.0"]), 5)
    n = 128 * 59
    least = 2 * weights * n / rate / 1e6
    print(f"harvest resid_post.0: {1000 * n / took:.0f} positions/s, {took / least:.1f} x the floor of {least:.0f} ms")
    for site in ("resid_post.0", "resid_post.5"):
        through(subject, site)


def through(subject: GPT, site: str) -> None:
    """What it costs to look through the subject to its output, from one of its sites."""
    rows = of_games(games.sample("train", round(B / 59), 0))
    batch, took = of_rows(subject, rows, [site]), {}
    for objective in ("squared()", "kl()"):
        trainer = Trainer(RunConfig(site=site, method="topk(k=64)", d_sae=F, objective=objective), D)
        trainer.fit_(batch.vectors[site])
        took[objective] = median_ms(lambda t=trainer: t.update(batch.vectors[site], None, batch.downstream[site]), 7)
    ready = median_ms(lambda: of_rows(subject, rows, [site]), 7)
    squared, kl = took["squared()"], took["kl()"]
    print(
        f"{site}: squared() {squared:.0f} ms a step, kl() {kl:.0f} ms, {kl / squared:.1f} x; its games {ready:.0f} ms"
    )


if __name__ == "__main__":
    main()
