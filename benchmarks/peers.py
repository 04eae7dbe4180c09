"""A training step here and in SAELens, dictionary_learning and sparsify: their released packages, driven through their
own trainers, on the same activations, in turns.

    python benchmarks/peers.py                     # every work, one core
    python benchmarks/peers.py topk relu --rounds 9
    python benchmarks/peers.py small --learn 1000  # what the same steps on the same batches learn

Each library lives in an environment of its own under .peers/, made here by pip. Times are of the processor (the machine
may do other things), medians over rounds; a ratio is the median of the rounds' own. `product` is the encoder's matrix
product alone, at the rate that torch reaches on it: no exact step can take less. Last, the libraries' size and how long
they take to import.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / ".peers"
OURS = "unweave"
PEERS = {  # what pip installs, and what is imported
    OURS: (str(HERE.parent), "unweave"),
    "sae_lens": ("sae-lens==6.54.12", "sae_lens"),
    "dictionary_learning": ("dictionary-learning==0.1.0", "dictionary_learning"),
    "sparsify": ("eai-sparsify==1.3.3", "sparsify"),
}


WARMUP = 3  # rounds that are not counted


@dataclass(frozen=True)
class Work:
    """d: width; n: features; batch: vectors a step; among: who can do it. density: our step alone costs less with fewer
    active features, so their share is held there; the others' steps cost the same at any."""

    name: str
    method: str
    n: int = 4096
    batch: int = 4096
    d: int = 512
    k: int = 32
    density: float = 0.0
    lr: float = 3e-4
    among: tuple[str, ...] = ("sae_lens", "dictionary_learning")
    rounds: int = 0

    def asked(self, **more: Any) -> str:
        names = ("method", "n", "batch", "d", "k", "density", "lr")
        return json.dumps({name: getattr(self, name) for name in names} | more)


WORKS = (
    Work("small", "topk", n=1024, batch=1024, d=256, lr=1e-3, among=tuple(PEERS)[1:]),
    Work("topk", "topk", among=tuple(PEERS)[1:]),
    Work("topk-32768", "topk", n=32768, batch=2048, rounds=3, among=tuple(PEERS)[1:]),
    Work("batch-topk", "batch_topk"),
    Work("jumprelu", "jumprelu", density=0.025),
    Work("relu", "relu", density=0.025),
    Work("relu-12", "relu", density=0.12),
    Work("relu-50", "relu", density=0.5),
)


@dataclass
class Running:
    """A library at work in its own process."""

    peer: str
    process: subprocess.Popen[str]
    steps: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, peer: str, asked: str, driver: str = "with") -> Running:
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        command = [str(python(peer)), str(HERE / "drivers" / f"{driver}_{peer}.py"), asked]
        log = open(ENVIRONMENTS / f"{peer}.log", "w")  # noqa: SIM115  the process writes there as long as it lives
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | limits
        )
        return cls(peer, process)

    def ask(self, word: str) -> dict[str, Any]:
        """Raises RuntimeError where the library has failed."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{self.peer} has failed: {ENVIRONMENTS / self.peer}.log says why")
        return json.loads(answer)


def python(peer: str) -> Path:
    return ENVIRONMENTS / peer / "bin" / "python"


def install(peer: str) -> None:
    """Make a library's environment where it is not there yet: torch as it is here, all else as pip chooses."""
    if (ENVIRONMENTS / peer / "made").exists():
        return
    print(f"making the environment of {peer}", file=sys.stderr)
    venv.create(ENVIRONMENTS / peer, with_pip=True)
    pinned = f"torch=={torch.__version__.partition('+')[0]}"
    command = [str(python(peer)), "-m", "pip", "install", "--quiet", pinned, PEERS[peer][0]]
    subprocess.run(command, check=True)
    # Nothing here uses it, and a build that is not for this torch breaks transformers.
    subprocess.run([str(python(peer)), "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"], check=True)
    (ENVIRONMENTS / peer / "made").touch()


def activations(work: Work, path: Path, batches: int) -> None:
    """Batches of sums of a few of many directions with exponential strengths, as activations are thought to be."""
    make = torch.Generator().manual_seed(0)
    n_true = 12 * work.d
    directions = torch.nn.functional.normalize(torch.randn(n_true, work.d, generator=make), dim=1)
    often = 1 / torch.arange(1, n_true + 1) ** 0.8
    often *= 24 / often.sum()
    parts = []
    for _ in range(batches):
        codes = (torch.rand(work.batch, n_true, generator=make) < often).float()
        codes *= -torch.rand(codes.shape, generator=make).clamp_min(1e-9).log()
        parts.append(codes @ directions + 0.02 * torch.randn(work.batch, work.d, generator=make))
    x = torch.cat(parts)
    np.save(path, (x / x.norm(dim=1).mean() * work.d**0.5).numpy())


def measure(work: Work, rounds: int, data: Path) -> None:
    """The table of a work: the steps of all who can do it, in turns."""
    asked = work.asked(data=str(data), floor=True)
    running = [Running.start(peer, asked) for peer in (OURS, *work.among)]
    for turn in range(rounds + WARMUP):
        for each in running:
            took = 1000 * each.ask("step")["seconds"]
            if turn >= WARMUP:
                each.steps.append(took)
    ends = {each.peer: each.ask("end") for each in running}
    product = ends[OURS]["product_ms"]
    share = f", {work.density:.1%} of the features active" if work.density else f", k {work.k}"
    print(f"\n{work.name}: {work.method}, d {work.d}, n {work.n}, B {work.batch}{share}; product {product:.0f} ms")
    print("                      step ms   x ours   x product   peak MB")
    for each in running:
        ratio = statistics.median(own / our for own, our in zip(each.steps, running[0].steps, strict=True))
        step = statistics.median(each.steps)
        peak = ends[each.peer]["peak_mb"]
        print(f"{each.peer:20} {step:8.0f} {ratio:8.1f} {step / product:11.2f} {peak:9,.0f}", flush=True)


def learn(work: Work, steps: int, data: Path) -> None:
    """What the same steps on the same batches have learnt: unexplained variance of held-out activations."""
    running = [Running.start(peer, replace(work, density=0.0).asked(data=str(data))) for peer in (OURS, *work.among)]
    marks = [steps * i // 5 for i in range(1, 6)]
    print(f"\n{work.name}: unexplained variance, learning rate {work.lr:g}, after so many steps of {work.batch}")
    print(" " * 20 + "".join(f"{mark:9}" for mark in marks))
    for each in running:
        found = []
        for step in range(1, steps + 1):
            each.ask("step")
            if step in marks:
                found.append(each.ask("score")["fvu"])
        each.ask("end")
        print(f"{each.peer:20}" + "".join(f"{fvu:9.4f}" for fvu in found), flush=True)


HARVEST = {"layers": 4, "d": 256, "context": 128, "held": 256, "batch": 4096, "batches": 8}


def harvesting(rounds: int) -> None:
    """Tokens a second of shuffled activations after half of the layers of a small GPT-2; no step but what is served."""
    running = [Running.start(peer, json.dumps(HARVEST), "harvest_with") for peer in (OURS, "sae_lens")]
    for turn in range(rounds + WARMUP):
        for each in running:
            answer = each.ask("step")
            if turn >= WARMUP:
                each.steps.append(answer["tokens"] / answer["seconds"])
    print("\nharvest: 4 layers, d 256, contexts of 128, after layer 2, in batches of 4,096 shuffled vectors")
    print("                     tokens/s   ours / this   peak MB")
    for each in running:
        rate = statistics.median(each.steps)
        ratio = statistics.median(our / own for own, our in zip(each.steps, running[0].steps, strict=True))
        print(f"{each.peer:20} {rate:8,.0f} {ratio:13.1f} {each.ask('end')['peak_mb']:9,.0f}", flush=True)


def footprint(peers: Sequence[str]) -> None:
    """What an installation takes beside torch and pip, and how long an import takes: the best of three."""
    print("\n                     import s   installed MB beside torch   distributions")
    for peer in peers:
        program = f"import time; t = time.perf_counter(); import {PEERS[peer][1]}; print(time.perf_counter() - t)"
        took = [
            float(
                subprocess.run(
                    [python(peer), "-c", program], capture_output=True, text=True, check=True
                ).stdout.split()[-1]
            )
            for _ in range(3)
        ]
        packages = next((ENVIRONMENTS / peer / "lib").glob("python*")) / "site-packages"
        beside = [
            path for path in packages.iterdir() if path.name.partition("-")[0] not in ("torch", "pip", "functorch")
        ]
        size = sum(file.lstat().st_size for path in beside for file in [path, *path.rglob("*")] if file.is_file())
        n = len([path for path in beside if path.suffix == ".dist-info"])
        print(f"{peer:20} {min(took):8.2f} {size / 1e6:18,.0f} {n:21}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "works", nargs="*", help=f"which: {', '.join(work.name for work in WORKS)}; all, if none is named"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--learn", type=int, default=0, metavar="STEPS", help="compare what so many steps learn instead"
    )
    arguments = parser.parse_args()
    known = {work.name: work for work in WORKS}
    if unknown := [name for name in arguments.works if name not in known]:
        parser.error(f"there is no work {unknown[0]}: there are {', '.join(known)}")
    works = [known[name] for name in arguments.works] or list(WORKS)
    ENVIRONMENTS.mkdir(exist_ok=True)
    peers = [OURS, *dict.fromkeys(peer for work in works for peer in work.among)]
    for peer in peers:
        install(peer)
    print(f"{platform.machine()}, torch {torch.__version__}; times of the processor")
    with tempfile.TemporaryDirectory() as folder:
        for work in works:
            data = Path(folder) / f"{work.d}-{work.batch}.npy"
            if not data.exists():
                activations(work, data, batches=1 + (arguments.learn or 8))
            if arguments.learn:
                learn(work, arguments.learn, data)
            else:
                measure(work, work.rounds or arguments.rounds, data)
    if arguments.learn:
        return
    if not arguments.works:
        harvesting(arguments.rounds)
    footprint(peers)


if __name__ == "__main__":
    main()
