"""Tokens of a text and back: a tokenizer of others, out of its folder, or one trained here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers

from unweave import files
from unweave.text.sources import Document

END = "<|endoftext|>"
"""What ends a document, for a tokenizer trained here."""

_ROLES = ("pad", "bos", "eos", "unk")


class Tokenizer:
    """Ids are 0..size-1. pad, bos, eos: what fills short rows, begins and ends a text ([CLS] and [SEP] for an encoder),
    if any. unk: what stands for a word that is not known. specials: ids that stand for no part of a text (unk does).
    prefix, suffix: what a model of its family expects before and after a text.

    A special token's name that stands in a text is text like any other, and does not become that token; but where the
    name is a word of the model's own vocabulary, as in Unigram models, it is that word.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        pad: int | None = None,
        bos: int | None = None,
        eos: int | None = None,
        unk: int | None = None,
    ) -> None:
        self._backend = tokenizers.Tokenizer.from_str(backend.to_str())  # a copy: what follows changes it
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        self.pad, self.bos, self.eos, self.unk = pad, bos, eos, unk
        self.size: int = max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        added = {id for id, token in self._backend.get_added_tokens_decoder().items() if token.special}
        known = {id for id in (pad, bos, eos) if id is not None}
        self.specials: tuple[int, ...] = tuple(sorted((added - {unk}) | known))
        self.prefix, self.suffix = self._around()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._backend.encode_special_tokens = True  # no part of what the library copies

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """The tokenizer in a folder: one that `save` wrote, or any fast one that transformers knows.

        No code of the folder's is run. Raises FileNotFoundError if there is no such folder, ValueError if it holds no
        tokenizer, a damaged one, or one that only runs in Python.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        config = folder / "tokenizer_config.json"
        settings = files.read_json(config) if config.is_file() else {}
        ours = isinstance(settings, dict) and settings.get("made_by") == "unweave"
        return _ours(folder, settings) if ours else _of_others(folder)

    @cached_property
    def fingerprint(self) -> str:
        """Another one for a tokenizer that makes other tokens of some text, or calls others special."""
        about = [self._backend.to_str(), self.pad, self.bos, self.eos, self.unk]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's tokens, nothing added; many texts at once are shared out among all cores."""
        return [each.ids for each in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones by their names."""
        return self._backend.decode(ids, skip_special_tokens=False)

    def piece(self, id: int) -> str:
        """What a token is called: its text, with the space before it. A byte that is no character alone is `\\xe2`, and
        WordPiece's names stay as they are (`##ing`); an id without a name is called by its number.

        Raises ValueError for an id that is not 0..size-1.
        """
        if not 0 <= id < self.size:
            raise ValueError(f"no token {id}: this tokenizer has ids 0 to {self.size - 1}")
        name = self._backend.id_to_token(id)
        if name is None or id in self._verbatim:
            return str(id) if name is None else name
        if (raw := self.raw(id)) is not None:
            return raw.decode(errors="backslashreplace")
        return name.replace("▁", " ") if self._decoders & {"Metaspace", "Replace"} else name

    def raw(self, id: int) -> bytes | None:
        """The bytes that a token stands for, where that may be a part of a character; None where its name is text."""
        name = self._backend.id_to_token(id)
        if name is None or id in self._verbatim:
            return None
        if "ByteLevel" in self._decoders and all(each in _BYTES for each in name):
            return bytes(_BYTES[each] for each in name)
        if "ByteFallback" in self._decoders and (byte := re.fullmatch("<0x([0-9A-F]{2})>", name)):
            return bytes.fromhex(byte[1])
        return None

    def save(self, folder: Path) -> None:
        """Write it, so that `load` and transformers' AutoTokenizer read it. Raises OSError in one sentence."""
        files.write_text(folder / "tokenizer.json", self._backend.to_str(pretty=True))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "made_by": "unweave"}
        ids = {role: getattr(self, role) for role in _ROLES}
        roles = {f"{role}_token": self._backend.id_to_token(id) for role, id in ids.items() if id is not None}
        files.write_json(folder / "tokenizer_config.json", settings | roles)

    @cached_property
    def _decoders(self) -> set[str]:
        """The kinds of steps by which names become text: they say what the names are written in."""
        decoder: dict[str, Any] = json.loads(self._backend.to_str())["decoder"] or {"type": "none"}
        return {step["type"] for step in decoder.get("decoders", [decoder])}

    @cached_property
    def _verbatim(self) -> set[int]:
        """Tokens that were added beside the vocabulary: their names are their text."""
        return set(self._backend.get_added_tokens_decoder())

    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        bare = self._backend.encode("a", add_special_tokens=False).ids
        whole = self._backend.encode("a", add_special_tokens=True).ids
        before = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        return tuple(whole[:before]), tuple(whole[before + len(bare) :])


def train(documents: Iterable[Document], size: int) -> Tokenizer:
    """Byte-level BPE of at most `size` tokens, the first of which ends a document: GPT-2's way (Radford et al. 2019,
    Sect. 2.2), so that every text has tokens, and gets back from them as it was.

    The same documents give the same tokenizer. Raises ValueError for fewer tokens than there are bytes, or no document.
    """
    if size <= 256:
        raise ValueError(f"a byte-level tokenizer has at least 257 tokens, one a byte and one at the end, not {size}")
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (document.text for document in documents)
    if (first := next(texts, None)) is None:
        raise ValueError("there is no document to train a tokenizer on")
    backend.train_from_iterator(chain([first], texts), trainer)
    return Tokenizer(backend, bos=0, eos=0)


def _ours(folder: Path, settings: dict[str, Any]) -> Tokenizer:
    path = folder / "tokenizer.json"
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{path} is missing or damaged: {error}") from None
    names = {role: settings.get(f"{role}_token") for role in _ROLES}
    return Tokenizer(backend, **{role: backend.token_to_id(name) for role, name in names.items() if name is not None})


def _of_others(folder: Path) -> Tokenizer:
    from transformers import AutoTokenizer  # takes seconds: only for those who use it

    try:
        found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each kind of tokenizer has errors of its own
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{folder} holds no tokenizer that can be read: {said}") from error
    if not found.is_fast:
        raise ValueError(f"the tokenizer in {folder} only runs in Python ({type(found).__name__}): it has no fast form")
    if len(found) == len(found.added_tokens_decoder):  # what transformers makes of a folder with a config.json alone
        raise ValueError(f"{folder} holds no tokenizer that can be read: it has no vocabulary")
    return Tokenizer(
        found.backend_tokenizer,
        pad=found.pad_token_id,
        bos=found.cls_token_id if found.bos_token_id is None else found.bos_token_id,
        eos=found.sep_token_id if found.eos_token_id is None else found.eos_token_id,
        unk=found.unk_token_id,
    )


def _byte_names() -> dict[str, int]:
    """The byte that each character of a byte-level token's name stands for: itself where it can be seen, else the next
    free one from 256 on (GPT-2's `bytes_to_unicode`)."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


_BYTES = _byte_names()
