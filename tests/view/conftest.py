"""Run folders with invented scores over real games, so that the page can be drawn and looked at without training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from unweave import files
from unweave.othello import games, labels
from unweave.othello.tokens import SQUARES

COUNTED = ("pairs", "pairs_mine", "pairs_theirs", "pairs_empty", "pairs_within", "features", "legal", "legal_within")
SHARES = ("coverage_128", "coverage_corrected", "reconstruction_128", "dead", "fvu", "ce_score", "kl")
CONTROLS = (
    ("linear probe", "logits", 0.98),
    ("position", "activations", 0.02),
    ("always on", "activations", 0.0),
    ("neurons mlp_act.0", "activations", 0.25),
    ("residual dimensions", "activations", 0.03),
    ("PCA", "activations", 0.02),
    ("shuffled subject", "activations", 0.0),
)


def scores(level: float, d_sae: int | None) -> dict[str, float | None]:
    """Invented scores; level 0..1 says how good. A control without d_sae has no sparsity or reconstruction."""
    pairs = round(188 * level)
    split = (round(pairs * 0.45), round(pairs * 0.4))
    found: dict[str, float | None] = {
        "pairs/1": pairs,
        "pairs_mine/1": split[0],
        "pairs_theirs/1": split[1],
        "pairs_empty/1": pairs - sum(split),
        "pairs_within/1": round(pairs * 0.85),
        "features/1": round(pairs * 1.3),
        "legal/1": round(20 * level),
        "legal_within/1": round(18 * level),
        "coverage_128/1": 0.41 + 0.5 * level,
        "coverage_corrected/1": 0.85 * level - 0.01,
        "reconstruction_128/1": 0.3 + 0.6 * level,
    }
    own = {"l0/1": 31.9 * (1 + level), "fvu/1": 0.2 - 0.3 * level, "ce_score/1": 0.97 + 0.05 * level, "dead/1": 0.012}
    return found | {name: value if d_sae else None for name, value in own.items()} | {"kl/1": 0.0123 if d_sae else None}


METRICS = {
    f"{name}/1": {
        "title": name.replace("_", " "),
        "definition": f"What {name} counts < or > than & in one sentence",
        "better": "lower" if name in ("l0", "fvu", "dead", "kl") else "higher",
        "null": "0",
    }
    for name in (*COUNTED, *SHARES, "l0")
}


def evaluation(name: str, method: str, d_sae: int, level: float, n_games: int = 24) -> dict:
    """What evaluation.json holds."""
    rows = [("dictionary", "activations", False, level), ("dictionary", "pre-activations", False, level * 1.1)]
    rows += [(control, readout, True, good) for control, readout, good in CONTROLS]
    return {
        "version": 1,
        "run": name,
        "subject": "othello()",
        "site": "resid_post.0",
        "method": method,
        "d_sae": d_sae,
        "games": {
            "split": "test",
            "seed": 1,
            "count": 2 * n_games,
            "positions": 2 * n_games * 59,
            "chosen_on": n_games,
            "scored_on": n_games,
        },
        "rows": [
            {"name": row, "readout": readout, "is_control": control, "scores": scores(good, None if control else d_sae)}
            for row, readout, control, good in rows
        ],
        "metrics": METRICS,
    }


def tensors(d_sae: int, level: float, n_games: int = 24) -> dict[str, torch.Tensor]:
    """What evaluation.safetensors holds: real games, invented AUROC, top positions where the label is mostly true."""
    draw = torch.Generator().manual_seed(round(1000 * level))
    moves = games.uniform_play(n_games, seed=7)
    truth = labels.label(moves)
    label_of = torch.randint(0, 252, (d_sae,), generator=draw)
    auroc = (0.5 + 0.12 * torch.randn(d_sae, 252, generator=draw)).clamp(0.02, 0.98)
    good = (0.72 + 0.3 * level + 0.1 * torch.randn(d_sae, generator=draw)).clamp(0.5, 0.999)
    auroc[torch.arange(d_sae), label_of] = good
    within = 0.5 + (auroc - 0.5) * 0.93
    for square in (27, 28, 35, 36):
        auroc[:, 128 + square] = within[:, 128 + square] = torch.nan
    density = 10 ** (-2.2 + 0.7 * torch.randn(d_sae, generator=draw)).clamp(max=-0.05)
    density[: d_sae // 40] = 0
    top_game, top_ply = (torch.full((d_sae, 12), -1, dtype=torch.int32) for _ in range(2))
    top_value = torch.full((d_sae, 12), -1.0)
    facts = torch.cat(
        [*((truth.board == state) for state in (1, 2, 0)), truth.legal[..., list(SQUARES)]], -1
    ) & ~truth.over.unsqueeze(-1)
    for feature, label in enumerate(label_of.tolist()):
        true = facts[:, :, label].nonzero()
        some = true[torch.randperm(len(true), generator=draw)[:12]]
        top_game[feature, : len(some)], top_ply[feature, : len(some)] = some.T.int()
        top_value[feature, : len(some)] = (9 * torch.rand(len(some), generator=draw).sqrt()).sort(descending=True)[0]
    return {
        "moves": moves,
        "density": density,
        "auroc": auroc,
        "auroc_within": within,
        "probe_auroc": (auroc[0] * 0 + 0.999 - 0.05 * torch.rand(252, generator=draw)),
        "best_feature": auroc.nan_to_num(0).argmax(0),
        "label_of": label_of,
        "top_game": top_game,
        "top_ply": top_ply,
        "top_value": top_value,
        "max": top_value[:, 0].clamp(min=0),
    }


def write_run(folder: Path, name: str, method: str = "topk(k=32)", d_sae: int = 96, level: float = 0.3) -> Path:
    """A run folder with everything that the report reads."""
    run = folder / "".join(c if c.isalnum() else "-" for c in name)
    files.write_json(
        run / "config.json", {"config": {"method": method, "d_sae": d_sae, "seed": 3, "data": {"seed": 0}}, "hash": "0"}
    )
    files.write_json(run / "evaluation.json", evaluation(name, method, d_sae, level))
    files.write_tensors(run / "evaluation.safetensors", tensors(d_sae, level))
    lines = [
        {
            "step": s,
            "loss": 9 / (1 + s / 90) + 2 - level,
            "fvu": 0.9 / (1 + s / 200) + 0.1 - 0.2 * level,
            "seconds": s / 30,
        }
        for s in range(50, 2001, 50)
    ]
    files.write_text(run / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs, the second of them the best."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        write_run(folder, "topk-64", d_sae=64, level=0.2),
        write_run(folder, "topk-96"),
        write_run(folder, "relu <b> & co", "relu(l1=0.1)", level=0.1),
    ]
