"""Train a dictionary on the bundled OthelloGPT, score it beside the controls, and write a page to look at."""

from __future__ import annotations

from pathlib import Path

from unweave import RunConfig, evaluate, report, train


def main(folder: Path = Path("runs/example"), config: RunConfig | None = None, games: int = 2000) -> Path:
    (run,) = train({folder: config or RunConfig(method="topk(k=64)", d_sae=1024)})
    for row in evaluate(run, n_games=games)["rows"]:
        print(f"{row['name']:24} {row['readout']:16} {row['scores']['pairs/1']}")
    return report(folder)


if __name__ == "__main__":
    print(main())
