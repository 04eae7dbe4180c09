"""Games of the WTHOR archive: the French Othello Federation's `.wtb` files, a year of tournament games each.

A file is a header of 16 bytes, then records of 68, little-endian throughout. Of the header, bytes 4-7 are the number of
games and byte 12 the side of the board (0 also means 8). Of a record, the first 8 bytes name tournament, players and
result, and each of the other 60 is a move, 10 * row + column with both from 1 (f5 is 56), or 0 when the game has ended.
Passes are not written. Source: the federation's description, at https://www.ffothello.org/informatique/la-base-wthor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unweave.othello import games

_HEADER, _RECORD, _ABOUT = 16, 68, 8


def read(path: Path | str) -> Tensor:
    """The games of a `.wtb` file: `[G, 60] int8`, squares and then -1. A record without any move is all -1.

    Raises FileNotFoundError; ValueError if the file is damaged, holds no game or is for another board; IllegalGame,
    naming each illegal game by its record, counted from 1.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    codes = _codes(data, path)
    row, column = codes // 10, codes % 10
    outside = (codes != 0) & ((row < 1) | (row > 8) | (column < 1) | (column > 8))
    moves = torch.from_numpy(np.where((codes == 0) | outside, -1, 8 * (row - 1) + column - 1).astype(np.int8))
    faults = games.faults(moves)
    for game, ply in np.argwhere(outside)[::-1].tolist():  # the first of a game's comes last, and stays
        said = f"{codes[game, ply]} is not a square: a move is 10 * row + column, both 1 to 8, and 0 is none"
        faults[game] = f"ply {ply + 1}: {said}"
    if faults:
        raise games.IllegalGame(faults, lambda game: f"{path}, record {game + 1}")
    return moves


def _codes(data: bytes, path: Path) -> np.ndarray:
    """The move bytes of every record, `[G, 60] int64`. Raises ValueError if header and length do not fit together."""
    if len(data) < _HEADER:
        raise ValueError(f"{path} is not a WTHOR file: it has {len(data)} bytes, and the header alone takes {_HEADER}")
    count, side = int.from_bytes(data[4:8], "little"), data[12]
    if side not in (0, 8):
        raise ValueError(
            f"{path} is for a board of {side} x {side} squares, or not a WTHOR file: only 8 x 8 can be read"
        )
    expected = _HEADER + _RECORD * count
    if len(data) != expected:
        raise ValueError(
            f"{path} is damaged or not a WTHOR file: its header announces {count} games, "
            f"so {expected} bytes, but it has {len(data)}"
        )
    if count == 0:
        raise ValueError(f"{path} holds no game")
    records = np.frombuffer(data, np.uint8, offset=_HEADER).reshape(count, _RECORD)
    return records[:, _ABOUT:].astype(np.int64)
