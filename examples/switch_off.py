"""What one feature does: take it out of the activations in the middle of a game and see which moves change."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unweave.dictionary.codes import dense
from unweave.othello import games, notation, tokens
from unweave.runs import Run
from unweave.subject import load


def main(folder: Path = Path("runs/example"), ply: int = 20) -> list[str]:
    """The five moves whose probability changes most when the strongest feature at `ply` of a test game is removed."""
    run = Run(folder)
    subject, dictionary = load(run.config.subject), run.dictionary()
    game = tokens.encode(games.sample("test", 1, seed=1))[:, : ply + 1]

    x = subject.read(game, [run.config.site])[run.config.site][0, -1:]
    feature = int(dense(dictionary.encode(x)).argmax())

    def without(x: Tensor) -> Tensor:
        code = dense(dictionary.encode(x[:, -1]))[:, feature]
        x = x.clone()
        x[:, -1] -= code[:, None] * dictionary.W_dec[feature]
        return x

    with torch.no_grad():
        before = subject.run(game)[0, -1].softmax(-1)
        after = subject.run(game, edits={run.config.site: without})[0, -1].softmax(-1)
    most = (after - before)[1:].abs().topk(5).indices + 1  # token 0 is padding
    return [
        f"{notation.name(tokens.SQUARES[token - 1])}: {before[token]:.3f} -> {after[token]:.3f}"
        for token in most.tolist()
    ]


if __name__ == "__main__":
    print("\n".join(main()))
