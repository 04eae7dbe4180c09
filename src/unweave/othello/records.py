"""Games as text: one game a line, its moves one after another, as in `f5d6c3d3c4`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unweave.othello import games, notation


def read(path: Path | str) -> Tensor:
    """The games of a text file: `[G, 60] int8`, squares and then -1.

    Case and spaces do not matter; blank lines, and what follows a #, are left out; forced passes are not written.
    Raises FileNotFoundError; ValueError if the file is not text or holds no game; IllegalGame, naming the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file: a game is written as f5d6c3..., one a line") from None
    lines = [(number, "".join(line.split("#")[0].split())) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise ValueError(f"{path} holds no game: a game is written as f5d6c3..., one a line")

    def where(game: int) -> str:
        return f"{path}, line {lines[game][0]}"

    moves = torch.tensor([_parse(line, where(game)) for game, (_, line) in enumerate(lines)], dtype=torch.int8)
    games.check(moves, where)
    return moves


def _parse(line: str, where: str) -> list[int]:
    """The squares of one game, and -1 up to 60 plies."""
    names = [line[i : i + 2] for i in range(0, len(line), 2)]
    if len(names) > games.PLIES:
        raise games.IllegalGame(
            f"{where}, ply {games.PLIES + 1}: a game has at most {games.PLIES} moves, not {len(names)}"
        )
    squares = []
    for ply, name in enumerate(names, start=1):
        try:
            squares.append(notation.index(name))
        except ValueError as error:
            raise games.IllegalGame(f"{where}, ply {ply}: {error}") from None
    return squares + [-1] * (games.PLIES - len(squares))
