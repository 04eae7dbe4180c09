"""What kind of token a token is: at which kinds a feature fires says much of it at a glance."""

from __future__ import annotations

import numpy as np

from unweave.text.tokenizer import Tokenizer

KINDS = ("begins a word", "goes on with a word", "number", "punctuation", "blank", "part of a character", "special")


def of(tokenizer: Tokenizer, n: int) -> np.ndarray:
    """`[n] uint8`: by token id, an index into KINDS. Ids that the tokenizer does not have are special.

    A word is begun by letters after a space, or, where a vocabulary marks what goes on instead (WordPiece's `##`), by
    letters without that mark.
    """
    pieces = [tokenizer.piece(id) if id < tokenizer.size else "" for id in range(n)]
    marked = any(piece.startswith("##") and piece[2:].isalpha() for piece in pieces)
    found = [_kind(tokenizer, id, piece, marked) for id, piece in enumerate(pieces)]
    return np.array([KINDS.index(kind) for kind in found], np.uint8)


def _kind(tokenizer: Tokenizer, id: int, piece: str, marked: bool) -> str:
    if id >= tokenizer.size or id in tokenizer.specials:
        return "special"
    raw = tokenizer.raw(id)
    if raw is not None and raw.decode(errors="ignore").encode() != raw:
        return "part of a character"
    word = piece.removeprefix("##") if marked else piece
    first = word.strip()[:1]
    if not first:
        return "blank"
    if first.isalpha():
        goes_on = piece.startswith("##") if marked else not word[:1].isspace()
        return "goes on with a word" if goes_on else "begins a word"
    return "number" if first.isnumeric() else "punctuation"
