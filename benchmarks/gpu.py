"""A training step on a GPU here and in SAELens, dictionary_learning and sparsify, beside the floor, in one command.

    python benchmarks/gpu.py                      # both sizes, every method, float32 and TF32
    python benchmarks/gpu.py small --rounds 50

Made to be run where a GPU is; it has not been yet. Each library lives in an environment of its own under .peers/, made
by pip, is driven through its own trainer (`peers.py` says how) and has the GPU to itself, one after another. Times are
between two events of the GPU, medians over rounds, with the activations there already. The floor is the encoder's
product, at the rate that torch reaches on it at that precision, and Adam's bytes, as fast as the GPU copies: no exact
step that updates all weights takes less. Precision is set before every step, whatever a library sets itself; sparsify's
bfloat16 is switched off.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peers import ENVIRONMENTS, OURS, PEERS, WARMUP, Running, Work, activations, install

SIZES = {
    "small": Work("small", "topk", d=512, n=32768, batch=4096, k=32),
    "large": Work("large", "topk", d=4096, n=131072, batch=4096, k=64),
}
DENSITY = 0.002  # of the methods without a k: 66 and 262 active features
AMONG = {
    "topk": tuple(PEERS)[1:],
    "batch_topk": ("sae_lens", "dictionary_learning"),
    "jumprelu": ("sae_lens", "dictionary_learning"),
    "relu": ("sae_lens", "dictionary_learning"),
}
BATCHES = 5  # the last is held out


@dataclass(frozen=True)
class Measured:
    """step: milliseconds, the median; peak: MB of the GPU's memory; floor: milliseconds, of ours alone."""

    step: float
    peak: float
    floor: float


def measure(peer: str, work: Work, tf32: bool, rounds: int, data: Path) -> Measured:
    """Raises RuntimeError where the library fails, out of memory perhaps."""
    running = Running.start(peer, work.asked(data=str(data), device="cuda", tf32=tf32))
    try:
        steps = [1000 * running.ask("step")["seconds"] for _ in range(WARMUP + rounds)][WARMUP:]
        end = running.ask("end")
    finally:
        running.process.kill()
        running.process.wait()
    return Measured(statistics.median(steps), end["peak_mb"], end.get("product_ms", 0) + end.get("adam_ms", 0))


def table(work: Work, tf32: bool, rounds: int, data: Path) -> None:
    """What all who can do a work need for it at one precision."""
    share = f"{work.density:.1%} of the features active" if work.density else f"k {work.k}"
    print(f"\n{work.method}, d {work.d}, n {work.n}, B {work.batch}, {share}, {'TF32' if tf32 else 'float32'}")
    print("                      step ms   x ours   share of the floor   peak MB")
    ours = None
    for peer in (OURS, *work.among):
        try:
            found = measure(peer, work, tf32, rounds, data)
        except RuntimeError as error:
            print(f"{peer:20} {error}", flush=True)
            continue
        ours = found if peer == OURS else ours
        ratio = f"{found.step / ours.step:8.1f}" if ours else " " * 8
        floor = f"{ours.floor / found.step:20.1%}" if ours else " " * 20
        print(f"{peer:20} {found.step:8.2f} {ratio} {floor} {found.peak:9,.0f}", flush=True)


def works(names: Sequence[str]) -> list[Work]:
    """The sizes of these names, or all, with every method."""
    chosen = [SIZES[name] for name in names or SIZES]
    return [
        replace(size, method=method, among=among, density=0.0 if "topk" in method else DENSITY)
        for size in chosen
        for method, among in AMONG.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sizes", nargs="*", help=f"which: {', '.join(SIZES)}; all, if none is named")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.sizes if name not in SIZES]:
        parser.error(f"there is no size {unknown[0]}: there are {', '.join(SIZES)}")
    if not torch.cuda.is_available():
        sys.exit("There is no GPU here that torch can use, so there is nothing to measure.")
    ENVIRONMENTS.mkdir(exist_ok=True)
    for peer in PEERS:
        install(peer)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    with tempfile.TemporaryDirectory() as folder:
        for work in works(arguments.sizes):
            data = Path(folder) / f"{work.d}.npy"
            if not data.exists():
                activations(work, data, batches=BATCHES)
            for tf32 in (False, True):
                table(work, tf32, arguments.rounds, data)


if __name__ == "__main__":
    main()
