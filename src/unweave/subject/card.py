"""What a finished OthelloGPT is published as: its weights in bfloat16, and a card that says how it was made and how
good it is."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from unweave import files
from unweave.othello import games
from unweave.precision import has_bfloat16
from unweave.subject import disk
from unweave.subject.legality import score
from unweave.subject.othello import ALPHABET
from unweave.subject.othello_training import OthelloTraining
from unweave.subject.pretrain import weights
from unweave.subject.training_folder import finished, log, settings

_TEST_GAMES = 2000


def export(folder: Path, device: torch.device | str = "cpu", *, n_games: int = _TEST_GAMES) -> dict[str, Any]:
    """Write `model.safetensors` (bfloat16), `card.json` and `card.md` of the training in `folder`; what card.json
    holds.

    The figures are those of the rounded model, on test games that no training sees. Raises ValueError if the
    training has steps to go, FileNotFoundError if there is none in `folder`.
    """
    config = settings(OthelloTraining, folder)
    model = disk.build(config.gpt, weights(finished(folder, config.how)), str(folder), ALPHABET)
    written = disk.save(model, folder)
    figures = score(disk.saved(str(folder)).to(device), games.sample("test", n_games, seed=0, device=device))
    rows = log(folder)
    before = _card_of(config.start)
    hours = rows[-1]["seconds"] / 3600 if rows else None
    card = {
        "command": config.command,
        "start": before,
        "gpt": asdict(config.gpt),
        "pretraining": asdict(config.how),
        "batch": config.batch,
        "targets": config.targets,
        "games_seen": config.how.steps * config.batch + (before["games_seen"] if before else 0),
        "hours": None if hours is None else round(hours + ((before and before["hours"]) or 0), 2),
        "machine": machine(torch.device(device)),
        "figures": {**asdict(figures), "split": "test", "seed": 0},
        "files": hashes(written),
    }
    files.write_json(folder / "card.json", card)
    files.write_text(folder / "card.md", text(card))
    return card


def _card_of(start: str) -> dict[str, Any] | None:
    """The card beside the weights that a training started from, if there is one."""
    path = Path(start) / "card.json" if Path(start).is_dir() else Path(start).with_name("card.json")
    return files.read_json(path) if start and path.exists() else None


def hashes(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files, by name."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in paths
    }


def machine(device: torch.device) -> str:
    """The kind of machine, in words: processor or GPU, threads, precision of the matrix products, torch's version."""
    kind = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if device.type == "cuda":
        kind = torch.cuda.get_device_name(device)
    elif cpuinfo.exists() and (found := re.search(r"model name\s*: (.+)", cpuinfo.read_text())):
        kind = f"{found[1]}, threads: {torch.get_num_threads()}"
    precision = "bfloat16 autocast" if has_bfloat16(device) else "float32"
    return f"{kind}, {precision}, torch {torch.__version__}"


def text(card: dict[str, Any]) -> str:
    """A card as Markdown."""
    gpt, score = card["gpt"], card["figures"]
    hours = f", {card['hours']} hours" if card["hours"] is not None else ""
    commands, before = [card["command"]], card["start"]
    while before:
        commands, before = [before["command"], *commands], before.get("start")
    made = "\n".join(f"    {command}" for command in commands)
    return f"""# OthelloGPT, {gpt["n_layers"]} layers of width {gpt["d_model"]}

Predicts the next move of Othello games in which every legal move is equally likely.
{gpt["n_heads"]} heads, {gpt["n_positions"]} positions, {gpt["n_tokens"]} tokens (Li et al. 2022's alphabet),
pre-LayerNorm, exact GELU, untied head, weights in bfloat16.

Made by

{made}

from {card["games_seen"]:,} games, each seen once (target: {card["targets"]} next move){hours}.
Machine: {card["machine"]}.

On {score["games"]:,} held-out games ({score["positions"]:,} positions, split "{score["split"]}", seed {score["seed"]}),
the rounded weights:

| | |
|---|---|
| top-1 illegal rate | {score["illegal_rate"]:.3%} |
| illegal probability mass | {score["illegal_mass"]:.3%} |
| cross-entropy of the exact next-move distribution | {score["cross_entropy"]:.4f} nats |
| its entropy, the floor | {score["entropy"]:.4f} nats |
| cross-entropy of the moves played | {score["cross_entropy_sampled"]:.4f} nats |

{listed(card["files"])}
"""


def listed(hashes: dict[str, dict[str, Any]]) -> str:
    """What `hashes` gave, as a list in Markdown."""
    return "\n".join(f"- `{name}`: {f['bytes']:,} bytes, sha256 `{f['sha256']}`" for name, f in hashes.items())
