"""A training step of each method against the arithmetic's floor, and harvesting against its own.

Floor of a step: the encoder's product alone, 2 B D F operations, at the rate that torch reaches on that very product; a
dense step with gradients has five such products. Floor of a harvest: the subject's weights up to the site, 2 operations
each a position. A step of an end-to-end objective stands beside one of the squared error on the same whole games.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from unweave.activations.batches import of_rows
from unweave.activations.corpus import of_games
from unweave.activations.harvest import harvest
from unweave.config import RunConfig
from unweave.othello import games
from unweave.subject import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.training.loop import Trainer

D, F, B = 256, 1024, 1024
METHODS = ("none", "relu(l1=1.0)", "topk(k=64)", "batch_topk(k=64)")


def median_ms(work: Callable[[], object], rounds: int = 15) -> float:
    times = []
    for _ in range(rounds + 2):  # the first two warm up
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times[2:])


def main() -> None:
    torch.manual_seed(0)
    x = torch.randn(B, 40) @ torch.randn(40, D)
    encoder = torch.randn(D, F)
    floor = median_ms(lambda: x @ encoder)
    rate = 2 * B * D * F / floor / 1e6
    print(
        f"{torch.get_num_threads()} threads; D {D}, F {F}, B {B}; encoder product {floor:.1f} ms ({rate:.0f} GFLOP/s)"
    )
    for method in METHODS:
        trainer = Trainer(RunConfig(method=method, d_sae=F), D)
        trainer.fit_(x)
        step = median_ms(lambda trainer=trainer: trainer.update(x))
        print(f"{method:18} {step:6.1f} ms a step, {step / floor:4.1f} x the product, {1000 * B / step:7.0f} vectors/s")
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
