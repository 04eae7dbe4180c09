"""Games as text: one game a line, its moves one after another, as in `f5d6c3d3c4`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unweave.othello import games, notation


def read(path: Path | str) -> Tensor:
    """The games of a text file: `[G, 60] int8`, squares and then -1.

    Case and spaces do not matter; blank lines, and what follows a #, are left out; forced passes are not written.
    Raises FileNotFoundError; ValueError if the file is not text or holds no game; IllegalGame, naming each
    illegal game by its line.
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

    parsed = [_parse(line) for _, line in lines]
    faults = {game: squares for game, squares in enumerate(parsed) if isinstance(squares, str)}
    nothing = [-1] * games.PLIES
    moves = torch.tensor([nothing if isinstance(squares, str) else squares for squares in parsed], dtype=torch.int8)
    if faults := faults | games.faults(moves):
        raise games.IllegalGame(faults, lambda game: f"{path}, line {lines[game][0]}")
    return moves


def _parse(line: str) -> list[int] | str:
    """The squares of one game, and -1 up to 60 plies; or what is wrong with it."""
    names = [line[i : i + 2] for i in range(0, len(line), 2)]
    if len(names) > games.PLIES:
        return f"ply {games.PLIES + 1}: a game has at most {games.PLIES} moves, not {len(names)}"
    squares = []
    for ply, name in enumerate(names, start=1):
        try:
            squares.append(notation.index(name))
        except ValueError as error:
            return f"ply {ply}: {error}"
    return squares + [-1] * (games.PLIES - len(squares))
