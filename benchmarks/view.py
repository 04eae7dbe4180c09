"""How long a view takes to build, how large it is, and how long the server and one feature of it take.

    python benchmarks/view.py --features 32768

The dictionary is random (topk, k active features), of the bundled OthelloGPT at mlp_in.1, so its features mean nothing;
each is active at a share of k / features of the positions. What a view costs depends on those numbers alone.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch

from unweave import files
from unweave.config import RunConfig, override, to_dict
from unweave.dashboards.build import build
from unweave.dashboards.reading import View
from unweave.dictionary import Dictionary, export
from unweave.runs import Run
from unweave.subject import load
from unweave.view.library import Library


def random_run(folder: Path, n_features: int, k: int) -> Run:
    config = override(RunConfig(), {"site": "mlp_in.1", "d_sae": n_features, "method": f"topk(k={k})"})
    width = load(config.subject).sites()[config.site]
    files.write_json(folder / "config.json", {"config": to_dict(config), "hash": config.hash})
    export.save(Dictionary(width, n_features, config.method).eval(), folder / "sae.safetensors")
    return Run(folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=32768)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--games", type=int, default=2000)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"random topk(k={arguments.k}) of {arguments.features:,} features, {arguments.games:,} games")
    with tempfile.TemporaryDirectory() as folder:
        run = random_run(Path(folder) / "run", arguments.features, arguments.k)
        spent: dict[str, float] = defaultdict(float)
        began, work = time.perf_counter(), time.process_time()
        last = began

        def tell(what: str, done: int, of: int) -> None:
            nonlocal last
            now = time.perf_counter()
            spent[what] += now - last
            last = now

        view = build(run, n_rows=arguments.games, on_progress=tell)
        took, work = time.perf_counter() - began, time.process_time() - work
        parts = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in spent.items())
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"built in {took:.1f} s ({parts}; {work:.1f} core-seconds), at most {most:,.0f} MB of memory")
        sizes = {path.name: path.stat().st_size for path in view.folder.iterdir() if path.is_file()}
        for name, size in sorted(sizes.items(), key=lambda each: -each[1]):
            print(f"{name:24} {size / 1e6:9.2f} MB")
        print(f"{'all':24} {sum(sizes.values()) / 1e6:9.2f} MB, {sizes['pages.bin'] / len(view):,.0f} bytes a page")
        began = time.perf_counter()
        for feature in range(0, len(view), max(1, len(view) // 200)):
            view.block(feature)
        each = (time.perf_counter() - began) / min(200, len(view))
        began = time.perf_counter()
        Library(folder).listing(live=True, lab=True)
        print(
            f"a page is read in {1e3 * each:.2f} ms, the list of runs in {1e3 * (time.perf_counter() - began):.0f} ms"
        )
        assert View(run.folder).stale() == ""


if __name__ == "__main__":
    main()
