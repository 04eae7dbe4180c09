"""The kind of each token, of a byte-level and of a WordPiece vocabulary."""

from __future__ import annotations

import tokenizers

from unweave.dashboards.kinds import KINDS, of
from unweave.text.sources import Document
from unweave.text.tokenizer import Tokenizer, train


def kinds(tokenizer: Tokenizer, n: int = 0) -> dict[str, str]:
    found = of(tokenizer, n or tokenizer.size)
    return {tokenizer.piece(id): KINDS[found[id]] for id in range(tokenizer.size)}


def test_of_bytes() -> None:
    tokenizer = train([Document(str(i), f"the thing {i} that the thin thinker thinks, été\n") for i in range(50)], 300)
    found = kinds(tokenizer)
    assert found[" th"] == "begins a word"
    assert found["t"] == "goes on with a word"
    assert found["7"] == "number"
    assert found[","] == "punctuation"
    assert {found[" "], found["\n"], found["\t"]} == {"blank"}
    assert found[r"\xc3"] == "part of a character"
    assert found["é"] == "goes on with a word", "two bytes that are a character together"
    assert found["<|endoftext|>"] == "special"
    assert KINDS[of(tokenizer, tokenizer.size + 3)[-1]] == "special", "a subject's alphabet may be larger"


def test_of_wordpiece() -> None:
    names = ["[PAD]", "jump", "##ing", "##s", "2", ",", "##7"]
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[PAD]")
    )
    found = kinds(Tokenizer(backend, pad=0))
    assert found == {
        "[PAD]": "special",
        "jump": "begins a word",
        "##ing": "goes on with a word",
        "##s": "goes on with a word",
        "2": "number",
        ",": "punctuation",
        "##7": "number",
    }
