"""Where text comes from: documents, one after another, always in the same order."""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

from unweave.registry import Registry


@dataclass(frozen=True)
class Document:
    """A text and where it stands. key: what decides its split; the text itself where it is empty."""

    name: str
    text: str
    key: str = ""


@dataclass(frozen=True)
class Source:
    """name: what to call it. fingerprint: another one when the documents are others. documents: an iterator over all
    of them, in the same order each time; it raises ValueError in one sentence for what cannot be read."""

    name: str
    fingerprint: str
    documents: Callable[[], Iterator[Document]]


SOURCES: Registry[Source] = Registry("source")


def source(call: str) -> Source:
    """The source that is written as `call`: "stdlib()", "hub(name='...')", or a path, short for `files(path="...")`.

    A path is anything that exists, or has a separator or an ending of `files`. Raises ValueError for an unknown name or
    argument, naming the nearest, and what the builders do.
    """
    is_path = "(" not in call and ("/" in call or Path(call).exists() or Path(call).suffix in _READERS)
    return SOURCES["files"](path=call) if is_path and call not in set(SOURCES) else SOURCES.build(call)


@SOURCES.register
def files(path: str, column: str = "text", pattern: str = "") -> Source:
    """A file or all files of a folder and the folders in it, in the order of their names; hidden ones are left out.

    A line of a .jsonl file is a document, and a row of a .parquet file, each by the text in `column`; any other file is
    one document, as a whole. Of a folder, the .txt, .jsonl and .parquet files are read, or those whose name matches
    `pattern`, as "*.py" does. The fingerprint is made of names, sizes and times of change.

    Raises FileNotFoundError if there is no such path, ValueError if the folder has no such file.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"there is no file or folder {path}; a dataset of the hub is written hub(name='...')")
    found = _found(root, pattern) if root.is_dir() else [root]
    if not found:
        wanted = f"file matches {pattern!r}" if pattern else f"file ends in {', '.join(sorted(_READERS))}"
        raise ValueError(f"no {wanted} in {path}: name the files by pattern='*.txt', or another folder")
    base = root if root.is_dir() else root.parent

    def documents() -> Iterator[Document]:
        for file in found:
            yield from _READERS.get(file.suffix, _whole)(file, str(file.relative_to(base).as_posix()), column)

    return Source(path, _listing(found, base, column), documents)


@SOURCES.register
def hub(
    name: str,
    config: str = "",
    split: str = "train",
    column: str = "text",
    limit: int | None = None,
    revision: str = "main",
) -> Source:
    """A dataset of the Hugging Face hub, or a folder that the `datasets` library reads; streamed, not downloaded.

    Its first `limit` rows, or all of them; the document is the text in `column`. The fingerprint is made of these
    arguments (and of the files, for a folder): name a commit as `revision` where the dataset may change.

    Raises ValueError for a `limit` below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is how many documents to read, at least 1, not {limit}")
    files_of = _listing(_found(Path(name), "*"), Path(name), column) if Path(name).is_dir() else ""

    def documents() -> Iterator[Document]:
        for number, row in enumerate(_streamed(name, config, split, revision, limit)):
            where = f"{name}, row {number}"
            if column not in row:
                raise _no_column(column, row, where)
            yield Document(where, _text(row[column], column, where))

    settings = [name, config, split, column, limit, revision, files_of]
    return Source(name, _digest(map(repr, settings)), documents)


@SOURCES.register
def stdlib() -> Source:
    """The standard library of this Python, as source: some 30 MB of code that is on every machine.

    Files that are no UTF-8 are left out (tests have such), and the few that an installation writes for itself; of equal
    files all but the first. A document's split goes by its path, so that it is the same for another version of a file.
    """
    base = Path(sysconfig.get_path("stdlib"))

    def documents() -> Iterator[Document]:
        seen = set()
        for file in _found(base, "*.py", without=("site-packages", "dist-packages")):
            name = file.relative_to(base).as_posix()
            if name.startswith(("config-", "_sysconfigdata")):
                continue
            try:
                text = file.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError:
                continue
            if text.strip() and text not in seen:
                seen.add(text)
                yield Document(name, text, key=name)

    return Source("stdlib", _digest(part for each in documents() for part in (each.name, each.text)), documents)


def _found(folder: Path, pattern: str, without: Container[str] = ()) -> list[Path]:
    """The files of a folder, sorted, whose names match `pattern`, or without one are of a kind that is known; not those
    in hidden folders, or in folders called one of `without`."""
    found = []
    for at, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".") and each not in without]
        kept = (name for name in names if not name.startswith("."))
        found += [
            Path(at, name) for name in kept if (fnmatch(name, pattern) if pattern else Path(name).suffix in _READERS)
        ]
    return sorted(found)


def _listing(paths: Iterable[Path], base: Path, column: str) -> str:
    """A fingerprint of files that does not read them: a corpus of many GB is not hashed at every start."""
    stats = ((path.relative_to(base).as_posix(), path.stat()) for path in paths)
    return _digest([column, *(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)])


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]


def _streamed(name: str, config: str, split: str, revision: str, limit: int | None) -> Iterator[Mapping[str, Any]]:
    """The first rows of a dataset. Raises ValueError for whatever goes wrong: the hub, the network and every format of
    files have errors of their own."""
    try:
        import datasets  # loads pandas and pyarrow: only for those who use it

        rows = datasets.load_dataset(name, config or None, split=split, revision=revision, streaming=True)
        yield from islice(rows, limit)
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"could not read the dataset {name}: {said}") from error


def _no_column(column: str, there: Iterable[str], where: str) -> ValueError:
    return ValueError(f"{where}: there is no column {column!r}; there are {', '.join(sorted(there)) or 'none at all'}")


def _text(value: Any, column: str, where: str) -> str:
    """What a column holds, if it is text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{where}: column {column!r} holds no text, but {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can write half a character: "\ud800"
        raise ValueError(f"{where}: column {column!r} holds half a character at {error.start}") from None
    return value


def _whole(path: Path, name: str, column: str) -> Iterator[Document]:
    try:
        yield Document(name, path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ValueError(f"could not read {path}: {error.strerror}") from error


def _lines(path: Path, name: str, column: str) -> Iterator[Document]:
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path}, line {number}"
                    row = _parsed(line, where)
                    if column not in row:
                        raise _no_column(column, row, where)
                    yield Document(f"{name}:{number}", _text(row[column], column, where))
    except OSError as error:
        raise ValueError(f"could not read {path}: {error.strerror}") from error


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not text in UTF-8: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: damaged JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(row, dict):
        raise ValueError(f'{where}: should be an object, as {{"text": "..."}}, not {type(row).__name__}')
    return row


def _rows(path: Path, name: str, column: str) -> Iterator[Document]:
    import pyarrow  # only for those who use it
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise _no_column(column, file.schema_arrow.names, str(path))
            batches = file.iter_batches(batch_size=1024, columns=[column])
            for number, value in enumerate(value for batch in batches for value in batch.column(0).to_pylist()):
                yield Document(f"{name}:{number}", _text(value, column, f"{path}, row {number}"))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or no parquet file: {error}") from None


_READERS: dict[str, Callable[[Path, str, str], Iterator[Document]]] = {
    ".jsonl": _lines,
    ".parquet": _rows,
    ".txt": _whole,
}
