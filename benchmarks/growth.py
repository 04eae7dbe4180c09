"""How a training step of TopK grows with its shape and with threads, beside the encoder's product, which is its floor.

    python benchmarks/growth.py docs/growth.svg

Wall-clock medians on one thread, in turns with the product alone; it wants an idle machine. The picture has a panel for
each of F, D, k, B and the threads, the others held.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from unweave import threads
from unweave.cards.markup import Markup, tag
from unweave.config import RunConfig, override
from unweave.training.loop import Trainer
from unweave.view.axis import logarithmic
from unweave.view.charts import chart, rules

STYLE = """
svg { font: 11px system-ui, sans-serif; background: #fffefb; } text { fill: #5d6269; } .title { fill: #1b1d20; }
.rule { stroke: #dfdcd3; } .axis { stroke: #8c8f94; } path { fill: none; }
.step { stroke: #0a5c9e; stroke-width: 2; } .dot { fill: #0a5c9e; } .floor { stroke: #c2571a; stroke-dasharray: 5 4; }
.name { fill: #0a5c9e; } .floor-name { fill: #c2571a; }
"""
WIDTH, HEIGHT = 260, 220  # of a panel


@dataclass(frozen=True)
class Shape:
    """d: width; n: features; k: active ones; b: vectors a step."""

    d: int = 256
    n: int = 4096
    k: int = 32
    b: int = 2048
    threads: int = 1


PANELS = (
    ("n", "F: features", (512, 1024, 2048, 4096, 8192, 16384)),
    ("d", "D: width", (64, 128, 256, 512, 1024)),
    ("k", "k: active features", (4, 8, 16, 32, 64, 128, 256)),
    ("b", "B: vectors a step", (256, 512, 1024, 2048, 4096)),
)


def times(shape: Shape, rounds: int) -> tuple[float, float]:
    """Milliseconds of a step, and of the encoder's product alone on one thread."""
    config = RunConfig(method=f"topk(k={shape.k})", d_sae=shape.n, revive="none()")
    trainer = Trainer(override(config, {"training.steps": 10**6, "training.log_every": 10**6}), shape.d)
    draw = torch.Generator().manual_seed(0)
    x, W = torch.randn(shape.b, shape.d, generator=draw), torch.randn(shape.d, shape.n, generator=draw)
    out = torch.empty(shape.b, shape.n)
    trainer.fit_(x)
    step, product = [], []
    with threads.on(shape.threads):
        for _ in range(rounds + 2):  # the first two warm up
            step.append(_seconds(lambda: trainer.update(x)))
            product.append(_seconds(lambda: torch.mm(x, W, out=out)))
    return 1000 * statistics.median(step[2:]), 1000 * statistics.median(product[2:])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def panel(title: str, sizes: Sequence[int], found: Sequence[tuple[float, float]], left: int) -> list[Markup]:
    x = logarithmic(list(sizes), left + 46, left + WIDTH - 12)
    y = logarithmic([ms for pair in found for ms in pair], HEIGHT - 40, 30)
    parts = [rules(y, x.start, x.end), tag("path", class_="axis", d=f"M{x.start} {y.start}H{x.end}")]
    names = [f"{size // 1024}k" if size >= 8192 else str(size) for size in sizes]
    parts += [
        tag("text", name, x=x.at(size), y=HEIGHT - 24, text_anchor="middle")
        for name, size in zip(names, sizes, strict=True)
    ]
    parts.append(tag("text", f"{title} →", class_="title", x=x.end, y=HEIGHT - 6, text_anchor="end"))
    parts.append(tag("text", "↑ ms a step", class_="title", x=left + 8, y=14))
    for kind, line in zip(("step", "floor"), zip(*found, strict=True), strict=True):
        places = [(x.at(size), y.at(ms)) for size, ms in zip(sizes, line, strict=True)]
        parts.append(tag("path", class_=kind, d="M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)))
        if kind == "step":
            parts += [
                tag("circle", tag("title", f"{title} {size}: {ms:.3g} ms"), class_="dot", cx=a, cy=b, r=3.5)
                for (a, b), size, ms in zip(places, sizes, line, strict=True)
            ]
    return parts


def picture(panels: Sequence[list[Markup]]) -> str:
    """Standalone SVG."""
    key = [
        tag("text", "step", class_="name", x=100, y=14),
        tag("text", "product alone", class_="floor-name", x=132, y=14),
    ]
    inside = [tag("style", Markup(STYLE)), *key, *(part for parts in panels for part in parts)]
    drawn = chart(WIDTH * len(panels), HEIGHT, inside, "Time of a training step by its shape")
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", nargs="?", type=Path, help="an SVG file to write")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    panels = []
    powers = [2**i for i in range(cores.bit_length()) if 2**i <= cores]
    for name, title, sizes in (*PANELS, ("threads", "threads", (*powers, *({cores} - set(powers))))):
        found = [times(replace(Shape(), **{name: size}), arguments.rounds) for size in sizes]
        print(f"\n{title}; the others {Shape()}")
        for size, (step, product) in zip(sizes, found, strict=True):
            print(f"{size:8,} {step:9.1f} ms, {step / product:5.2f} x the product", flush=True)
        panels.append(panel(title, sizes, found, WIDTH * len(panels)))
    if arguments.picture:
        arguments.picture.write_text(picture(panels))


if __name__ == "__main__":
    main()
