"""A source's tokens on disk, made once, and rows of them.

A file holds the documents' tokens one after another, split by split, each document followed by the token that separates
it from the next, and where each of them ends. Rows are cut out of that when they are asked for, so that one file serves
every length of rows, packed or not. Shapes: G rows, S positions, R rows of the table.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, get_args

import numpy as np
import torch
from filelock import FileLock
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from unweave import files
from unweave.text.sources import Document, Source
from unweave.text.split import Split, split_of
from unweave.text.tokenizer import Tokenizer

PAD, TEXT, SPECIAL, FIRST = range(4)
"""What stands at a position: padding, a part of a text, a token that is no part of one, or whatever is first in its row
(whose activations are many times as long as all others)."""

_FORMAT = "unweave tokens 1"
_HEADER = 4096  # bytes of JSON and spaces, before all else
_CHARACTERS, _DOCUMENTS = 1 << 22, 1 << 14  # tokenised together: enough for all cores, few enough for any memory


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of `context` tokens of one split. documents, tokens, bytes: of all the split's text, in UTF-8; separators
    are not counted.

    A row is what the tokenizer puts before a text, then tokens, then what it puts after one.
    """

    context: int
    documents: int
    tokens: int
    bytes: int
    _stream: np.ndarray
    _starts: np.ndarray | range  # of every row, in the stream
    _prefix: tuple[int, ...]
    _suffix: tuple[int, ...]
    _kind: np.ndarray  # of every token, unless it is first

    def __len__(self) -> int:
        return len(self._starts)

    def rows(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of `indices [G] int64`, in their order: tokens `[G, S] int64`, and what they are, `[G, S] uint8`.

        Raises ValueError for an index that is not 0..R-1.
        """
        outside = indices[(indices < 0) | (indices >= len(self))]
        if len(outside):
            raise ValueError(f"there is no row {int(outside[0])}: this table has rows 0 to {len(self) - 1}")
        before, after = len(self._prefix), self.context - len(self._suffix)
        tokens = np.empty((len(indices), self.context), dtype=np.int64)
        tokens[:, :before], tokens[:, after:] = self._prefix, self._suffix
        at = indices.cpu().numpy()
        starts = at * self._starts.step if isinstance(self._starts, range) else self._starts[at]
        tokens[:, before:after] = sliding_window_view(self._stream, after - before)[starts]
        kind = self._kind[tokens]
        kind[:, 0] = FIRST
        return torch.from_numpy(tokens), torch.from_numpy(kind)


def table(source: Source, tokenizer: Tokenizer, *, context: int, packed: bool, split: Split, folder: Path) -> Table:
    """Rows of `context` tokens of a source's split. All its splits are tokenised into a file of `folder`, unless that
    is there; a file that is damaged is made anew, and a second process waits for the first.

    packed: all documents after one another, whatever separates them between, cut into rows, the rest left out. Not
    packed: the beginning of each document that is long enough, and no other (Report 003's way).

    Raises ValueError if the source holds no text or the split not a row, for a context without room for one token, and
    for what the source cannot read; OSError if the file cannot be written.
    """
    body = context - len(tokenizer.prefix) - len(tokenizer.suffix)
    if body < 1 or context < 2:
        raise ValueError(f"a row of {context} tokens has no room for text: choose a longer context")
    about = [_FORMAT, source.fingerprint, tokenizer.fingerprint]
    path = folder / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}.tokens"
    if not _whole(path):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{path.name}.lock"):
            if not _whole(path):  # still, after another process may have made it
                for left in folder.glob(f".{path.name}.*.part"):  # by one that was killed
                    left.unlink()
                files.replace(path, lambda aside: _write(aside, source, tokenizer))
    return _cut(path, source, tokenizer, split, body, packed)


def _cut(path: Path, source: Source, tokenizer: Tokenizer, split: Split, body: int, packed: bool) -> Table:
    """The rows in a file, with `body` tokens of text each. Raises ValueError if there is none."""
    header = _header(path)
    counts: dict[str, int] = header["splits"][split]
    if not counts["documents"]:
        raise ValueError(f"no document of {source.name} falls into its {split} split: it needs more of them")
    stream, ends = (np.memmap(path, dtype, "r", at, n) for dtype, at, n in _sections(header)[split])
    starts: np.ndarray | range = range(0, len(stream) - body + 1, body)
    fault = f"all of it has {len(stream)}"
    if not packed:
        begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        lengths = ends - begins - (header["separator"] is not None)
        starts = begins[lengths >= body]
        fault = f"its longest document has {lengths.max()}"
    if not len(starts):
        raise ValueError(
            f"the {split} split of {source.name} makes no row of {body} tokens: {fault}; choose a shorter context"
        )
    kind = np.full(tokenizer.size, TEXT, dtype=np.uint8)
    kind[list(tokenizer.specials)] = SPECIAL
    prefix, suffix = tokenizer.prefix, tokenizer.suffix
    return Table(
        len(prefix) + body + len(suffix),
        **counts,
        _stream=stream,
        _starts=starts,
        _prefix=prefix,
        _suffix=suffix,
        _kind=kind,
    )


def _whole(path: Path) -> bool:
    try:
        return bool(_header(path))
    except (FileNotFoundError, ValueError):
        return False


def _header(path: Path) -> dict[str, Any]:
    """What a file says of itself. Raises FileNotFoundError, or ValueError for one that is damaged or cut short."""
    with open(path, "rb") as file:
        text = file.read(_HEADER)
    try:
        header = json.loads(text)
        if header["format"] == _FORMAT and _length(header) == path.stat().st_size:
            return header
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path} is damaged, cut short or no table of tokens")


def _sections(header: dict[str, Any]) -> dict[str, list[tuple[str, int, int]]]:
    """By split, of its tokens and of its documents' ends: their type, where they begin and how many they are."""
    at, found = _HEADER, {}
    for split in get_args(Split):
        counts = header["splits"][split]
        n_tokens = counts["tokens"] + counts["documents"] * (header["separator"] is not None)
        found[split] = []
        for dtype, n in ((header["dtype"], n_tokens), ("int64", counts["documents"])):
            found[split].append((dtype, at, n))
            at = _aligned(at + n * np.dtype(dtype).itemsize)
    return found


def _length(header: dict[str, Any]) -> int:
    dtype, at, n = _sections(header)["test"][-1]
    return at + n * np.dtype(dtype).itemsize


def _aligned(at: int) -> int:
    return -(-at // 8) * 8


@dataclass
class _Part:
    """What has been written of one split."""

    stream: IO[bytes]
    ends: IO[bytes]
    documents: int = 0
    tokens: int = 0
    bytes: int = 0


def _write(aside: Path, source: Source, tokenizer: Tokenizer) -> None:
    """The whole file. The first split is written where it stays, and the others beside it, in files without a name,
    which are gone with the process."""
    dtype = np.dtype("uint16" if tokenizer.size <= 1 << 16 else "int32")
    separator = tokenizer.bos if tokenizer.eos is None else tokenizer.eos
    after = [] if separator is None else [separator]
    with ExitStack() as stack:

        def beside() -> IO[bytes]:
            return stack.enter_context(TemporaryFile(dir=aside.parent))

        out = stack.enter_context(open(aside, "wb"))
        out.write(b" " * _HEADER)
        parts = {split: _Part(out if split == "train" else beside(), beside()) for split in get_args(Split)}
        for batch in _batches(source):
            for document, ids in zip(batch, tokenizer.encode([each.text for each in batch]), strict=True):
                part = parts[split_of(document)]
                if ids:
                    part.stream.write(np.array(ids + after, dtype).tobytes())
                    part.documents += 1
                    part.tokens += len(ids)
                    part.bytes += len(document.text.encode())
                    part.ends.write(np.int64(part.tokens + part.documents * len(after)).tobytes())
        if not any(part.documents for part in parts.values()):
            raise ValueError(f"{source.name} holds no text")
        for part in parts.values():
            for file in (part.stream, part.ends):
                if file is not out:
                    file.seek(0)
                    shutil.copyfileobj(file, out)
                out.write(b"\0" * (_aligned(out.tell()) - out.tell()))
        counts = {
            split: {name: getattr(part, name) for name in ("documents", "tokens", "bytes")}
            for split, part in parts.items()
        }
        out.seek(0)
        out.write(
            json.dumps({"format": _FORMAT, "dtype": dtype.name, "separator": separator, "splits": counts}).encode()
        )


def _batches(source: Source) -> Iterator[list[Document]]:
    """The documents, as many at a time as are tokenised together."""
    held: list[Document] = []
    characters = 0
    for document in source.documents():
        held.append(document)
        characters += len(document.text)
        if characters >= _CHARACTERS or len(held) >= _DOCUMENTS:
            yield held
            held, characters = [], 0
    if held:
        yield held
