"""Read one layer and rebuild what the next layers read, beside rebuilding what was read: which knows more of the board?

docs/ahead.md has the same with five seeds and beside other methods.
"""

from __future__ import annotations

from pathlib import Path

from unweave import RunConfig, train
from unweave.config import override
from unweave.evaluation.context import Context
from unweave.evaluation.own import truth_scores

AHEAD = override(
    RunConfig(site="mlp_in.1", target="mlp_in.1+mlp_in.2+mlp_in.3", method="batch_topk(k=80)", d_sae=1024),
    {"training.lr": 8e-3, "training.steps": 2500, "data.passes": 8},
)
MEASURES = ("pairs/1", "pairs_within/1", "coverage_128/1", "reconstruction_128/1")


def main(folder: Path = Path("runs/layers-ahead"), ahead: RunConfig = AHEAD, games: int = 2000) -> list[str]:
    trained = train({folder / "ahead": ahead, folder / "itself": override(ahead, {"target": ""})})
    held_out = Context(ahead.subject, ahead.site, n_games=games)
    lines = []
    for run in trained:
        scores = truth_scores(run.dictionary(), held_out).scores
        lines.append(f"{run.name:8} " + ", ".join(f"{name} {scores[name]:.3g}" for name in MEASURES))
    return lines


if __name__ == "__main__":
    print("\n".join(main()))
