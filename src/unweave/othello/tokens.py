"""Othello's alphabet for a sequence model: Li et al. 2022's 61 ids (arXiv 2210.13382, Sect. 2.1).

Id 0 is padding; ids 1..60 are the playable squares in board order, the four centre squares left out. There is no token
for a pass, a beginning or an end. Shapes: G games, T plies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.othello.notation import CENTRE

PAD = 0
SIZE = 61
SQUARES = tuple(s for s in range(64) if s not in CENTRE)
"""The square index of ids 1..60, in order."""

_ID_OF_SQUARE = torch.zeros(65, dtype=torch.int64)  # the last entry is for -1, no move
_ID_OF_SQUARE[list(SQUARES)] = torch.arange(1, SIZE)
_SQUARE_OF_ID = torch.tensor([-1, *SQUARES])


def encode(moves: Tensor) -> Tensor:
    """Moves as squares 0..63 (-1 where the game is over) to token ids: `[G, T] int64`."""
    return _ID_OF_SQUARE.to(moves.device)[moves.long()]


def decode(tokens: Tensor) -> Tensor:
    """Token ids to squares 0..63, -1 for padding: `[G, T] int64`. Raises ValueError for an id outside the alphabet."""
    if tokens.numel() and (int(tokens.min()) < 0 or int(tokens.max()) >= SIZE):
        raise ValueError(f"a token id outside 0..{SIZE - 1}: Othello's alphabet has {SIZE} ids, 0 for padding")
    return _SQUARE_OF_ID.to(tokens.device)[tokens]
