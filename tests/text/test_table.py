"""Tables: rows that hold each document's tokens in order, made once, whole or not there at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st

from unweave.text import table
from unweave.text.sources import Document, Source
from unweave.text.split import Split, split_of
from unweave.text.table import FIRST, SPECIAL, TEXT, Table
from unweave.text.tokenizer import Tokenizer


def words(*, size: int = 40, **roles: int) -> Tokenizer:
    """Words "0", "1", ... are their own ids."""
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({str(i): i for i in range(size)}, unk_token="0"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return Tokenizer(backend, **roles)


def around(**roles: int) -> Tokenizer:
    """The same, for a model that expects 1 before a text and 2 after it."""
    backend = tokenizers.Tokenizer.from_str(words()._backend.to_str())
    template = tokenizers.processors.TemplateProcessing(single="1 $A 2", special_tokens=[("1", 1), ("2", 2)])
    backend.post_processor = template
    return Tokenizer(backend, **roles)


def text_of(documents: Sequence[Document], fingerprint: str = "") -> Source:
    return Source("some text", fingerprint or str(hash(tuple(documents))), lambda: iter(documents))


def put(split: Split, *texts: str) -> list[Document]:
    """Documents of one split, whatever their text."""
    key = next(f"{i}" for i in range(1000) if split_of(Document("", str(i))) == split)
    return [Document(str(number), text, key) for number, text in enumerate(texts)]


def everything(found: Table) -> tuple[list[list[int]], list[list[int]]]:
    tokens, kind = found.rows(torch.arange(len(found)))
    return tokens.tolist(), kind.tolist()


TRAIN = put("train", "10 11 12", "13", "", "14 15 16 17 18")
REST = put("validation", "20 21 22 23") + put("test", "30 31 32", "33 34 35 36 37")


def made(folder: Path, tokenizer: Tokenizer, *, context: int = 4, packed: bool = True, split: Split = "train") -> Table:
    documents = [*TRAIN[:2], *REST, *TRAIN[2:]]
    return table.table(text_of(documents), tokenizer, context=context, packed=packed, split=split, folder=folder)


def test_packed(tmp_path: Path) -> None:
    found = made(tmp_path, words(eos=9, bos=8))
    assert everything(found) == (
        [[10, 11, 12, 9], [13, 9, 14, 15], [16, 17, 18, 9]],
        [[FIRST, TEXT, TEXT, SPECIAL], [FIRST, SPECIAL, TEXT, TEXT], [FIRST, TEXT, TEXT, SPECIAL]],
    )
    assert (len(found), found.context, found.documents, found.tokens) == (3, 4, 3, 9)
    assert found.bytes == len("10 11 12" + "13" + "14 15 16 17 18")


def test_packed_with_the_beginning_between(tmp_path: Path) -> None:
    assert everything(made(tmp_path, words(bos=8)))[0] == [[10, 11, 12, 8], [13, 8, 14, 15], [16, 17, 18, 8]]


def test_packed_with_nothing_between(tmp_path: Path) -> None:
    assert everything(made(tmp_path, words())) == (
        [[10, 11, 12, 13], [14, 15, 16, 17]],  # 18 makes no row
        [[FIRST, TEXT, TEXT, TEXT]] * 2,
    )


def test_packed_around(tmp_path: Path) -> None:
    assert everything(made(tmp_path, around(bos=1, eos=2), context=5)) == (
        [[1, 10, 11, 12, 2], [1, 2, 13, 2, 2], [1, 14, 15, 16, 2], [1, 17, 18, 2, 2]],
        [
            [FIRST, TEXT, TEXT, TEXT, SPECIAL],
            [FIRST, SPECIAL, TEXT, SPECIAL, SPECIAL],
            [FIRST, TEXT, TEXT, TEXT, SPECIAL],
            [FIRST, TEXT, TEXT, SPECIAL, SPECIAL],
        ],
    )


def test_not_packed(tmp_path: Path) -> None:
    found = made(tmp_path, words(eos=9), context=3, packed=False)
    assert everything(found) == ([[10, 11, 12], [14, 15, 16]], [[FIRST, TEXT, TEXT]] * 2)
    assert (found.documents, found.tokens) == (3, 9)  # of the split, not of the rows
    assert everything(made(tmp_path, words(eos=9), context=4, packed=False))[0] == [[14, 15, 16, 17]]


def test_not_packed_around(tmp_path: Path) -> None:
    found = made(tmp_path, around(bos=1, eos=2), context=5, packed=False)
    assert everything(found) == (
        [[1, 10, 11, 12, 2], [1, 14, 15, 16, 2]],
        [[FIRST, TEXT, TEXT, TEXT, SPECIAL]] * 2,
    )


def test_splits_apart(tmp_path: Path) -> None:
    assert everything(made(tmp_path, words(), split="validation"))[0] == [[20, 21, 22, 23]]
    assert everything(made(tmp_path, words(), split="test"))[0] == [[30, 31, 32, 33], [34, 35, 36, 37]]


def test_rows_in_any_order(tmp_path: Path) -> None:
    found = made(tmp_path, words(eos=9))
    tokens, kind = found.rows(torch.tensor([2, 0, 2]))
    assert tokens.tolist() == [[16, 17, 18, 9], [10, 11, 12, 9], [16, 17, 18, 9]]
    assert (tokens.dtype, kind.dtype) == (torch.int64, torch.uint8)
    assert found.rows(torch.zeros(0, dtype=torch.int64))[0].shape == (0, 4)
    tokens[0] = 0  # a copy: the table stays as it is
    assert found.rows(torch.tensor([2]))[0].tolist() == [[16, 17, 18, 9]]


@pytest.mark.parametrize("index", [-1, 3])
def test_no_row_outside(tmp_path: Path, index: int) -> None:
    with pytest.raises(ValueError, match=rf"there is no row {index}: this table has rows 0 to 2"):
        made(tmp_path, words(eos=9)).rows(torch.tensor([0, index]))


texts = st.lists(st.lists(st.integers(10, 39), max_size=12), min_size=1, max_size=30)


@given(texts=texts, context=st.integers(2, 9), separator=st.sampled_from([None, 9]), batch=st.integers(1, 40))
def test_every_token_is_in_its_place(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[list[int]],
    context: int,
    separator: int | None,
    batch: int,
) -> None:
    documents = [Document(str(i), " ".join(map(str, ids))) for i, ids in enumerate(texts)]
    tokenizer = words() if separator is None else words(eos=separator)
    folder = tmp_path_factory.mktemp("tables")
    for split in get_args(Split):
        mine = [ids for document, ids in zip(documents, texts, strict=True) if ids and split_of(document) == split]
        stream = [id for ids in mine for id in (*ids, *tokenizer.specials)]
        expected = {
            True: [stream[at : at + context] for at in range(0, len(stream) - context + 1, context)],
            False: [ids[:context] for ids in mine if len(ids) >= context],
        }
        for packed, rows in expected.items():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(table, "_CHARACTERS", batch)
                if not rows:
                    with pytest.raises(ValueError, match="some text"):
                        table.table(
                            text_of(documents), tokenizer, context=context, packed=packed, split=split, folder=folder
                        )
                    continue
                found = table.table(
                    text_of(documents), tokenizer, context=context, packed=packed, split=split, folder=folder
                )
            kinds = [[FIRST, *(SPECIAL if id == separator else TEXT for id in row[1:])] for row in rows]
            assert everything(found) == (rows, kinds)
            assert (found.documents, found.tokens) == (len(mine), sum(map(len, mine)))


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=10))
def test_rows_are_the_documents_again(
    tmp_path_factory: pytest.TempPathFactory, ours: Tokenizer, texts: list[str]
) -> None:
    documents = [Document("", text, key="train") for text in ("some", *texts) if text]
    split = split_of(documents[0])
    folder = tmp_path_factory.mktemp("tables")
    found = table.table(text_of(documents), ours, context=2, packed=True, split=split, folder=folder)
    tokens, kind = found.rows(torch.arange(len(found)))
    said = ours.decode(tokens.flatten().tolist())
    whole = "".join(document.text + "<|endoftext|>" for document in documents)
    assert said == whole or whole.startswith(said.rstrip("�"))  # but for a token that makes no row
    assert ((kind == SPECIAL) == ((tokens == 0) & (torch.arange(2) > 0))).all()
    assert found.bytes == sum(len(document.text.encode()) for document in documents)


def test_an_encoder(tmp_path: Path, bert: Path) -> None:
    tokenizer = Tokenizer.load(bert)
    documents = put("train", "the lazy dog jumps over the quick brown fox", "dog", "the fox [SEP] the dog, the fox")
    found = table.table(text_of(documents), tokenizer, context=8, packed=False, split="train", folder=tmp_path)
    tokens, kind = everything(found)
    assert [row[1:-1] for row in tokens] == [ids[:6] for ids in tokenizer.encode([d.text for d in documents[::2]])]
    assert {(row[0], row[-1]) for row in tokens} == {(2, 3)}
    assert kind == [[FIRST, *[TEXT] * 6, SPECIAL]] * 2


def test_a_vocabulary_that_16_bits_do_not_hold(tmp_path: Path) -> None:
    tokenizer = words(size=70_000, eos=69_999)
    documents = text_of(put("train", "65535 65536", "69998 0"))
    found = table.table(documents, tokenizer, context=3, packed=True, split="train", folder=tmp_path)
    assert everything(found)[0] == [[65_535, 65_536, 69_999], [69_998, 0, 69_999]]


class Counted:
    """A source that counts how often it is read."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents, self.times = documents, 0

    def read(self) -> Iterator[Document]:
        self.times += 1
        return iter(self.documents)

    def source(self, fingerprint: str = "same") -> Source:
        return Source("some text", fingerprint, self.read)


def test_tokens_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, tokenizer = Counted(TRAIN + REST), words(eos=9)
    first = table.table(counted.source(), tokenizer, context=4, packed=True, split="train", folder=tmp_path)
    monkeypatch.setattr(Tokenizer, "encode", None)
    again = table.table(counted.source(), words(eos=9), context=4, packed=True, split="train", folder=tmp_path)
    assert everything(again) == everything(first)
    for split in get_args(Split):  # another split, length or way of cutting
        table.table(counted.source(), tokenizer, context=3, packed=False, split=split, folder=tmp_path)
    assert counted.times == 1
    assert len(list(tmp_path.glob("*.tokens"))) == 1


def test_another_source_or_tokenizer_is_another_file(tmp_path: Path) -> None:
    counted = Counted(TRAIN)
    for fingerprint, tokenizer in (("a", words()), ("b", words()), ("b", words(eos=9)), ("b", words(size=50))):
        table.table(counted.source(fingerprint), tokenizer, context=2, packed=True, split="train", folder=tmp_path)
    assert counted.times == len(list(tmp_path.glob("*.tokens"))) == 4


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def without_a_header(path: Path) -> None:
    path.write_bytes(b" " * 4096 + path.read_bytes()[4096:])


def of_another_kind(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"unweave tokens", b"unweave strews"))


def with_another_header(path: Path) -> None:
    path.write_bytes(b"[1]".ljust(4096) + path.read_bytes()[4096:])


@pytest.mark.parametrize(
    "damage", [cut_short, longer, emptied, without_a_header, of_another_kind, with_another_header, Path.unlink]
)
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    before = everything(made(tmp_path, words(eos=9)))
    path = next(tmp_path.glob("*.tokens"))
    whole = path.read_bytes()
    damage(path)
    assert everything(made(tmp_path, words(eos=9))) == before
    assert path.read_bytes() == whole


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def documents() -> Iterator[Document]:
        yield from TRAIN
        raise ValueError("corpus.jsonl, line 5: damaged")

    with pytest.raises(ValueError, match=r"corpus\.jsonl, line 5: damaged"):
        table.table(Source("", "", documents), words(), context=2, packed=True, split="train", folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r"could not write .*\.tokens: .* what was there before is untouched"):
            table.table(
                text_of(put("train", "10 " * 50_000)), words(), context=2, packed=True, split="train", folder=tmp_path
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_what_makes_no_rows(tmp_path: Path) -> None:
    def rows(documents: list[Document], *, context: int = 4, packed: bool = True, split: Split = "train") -> Table:
        return table.table(text_of(documents), words(), context=context, packed=packed, split=split, folder=tmp_path)

    with pytest.raises(ValueError, match="some text holds no text"):
        rows([])
    with pytest.raises(ValueError, match="some text holds no text"):
        rows(put("train", "", ""))
    with pytest.raises(ValueError, match="no document of some text falls into its test split: it needs more of them"):
        rows(TRAIN, split="test")
    with pytest.raises(ValueError, match="train split of some text makes no row of 20 tokens: all of it has 9"):
        rows(TRAIN, context=20)
    with pytest.raises(ValueError, match="makes no row of 6 tokens: its longest document has 5; choose a shorter"):
        rows(TRAIN, context=6, packed=False)
    with pytest.raises(ValueError, match="a row of 1 tokens has no room for text"):
        rows(TRAIN, context=1)
    with pytest.raises(ValueError, match="a row of 2 tokens has no room for text"):
        made(tmp_path, around(bos=1, eos=2), context=2)


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_table import TRAIN, REST, everything, words
from unweave.text import table
from unweave.text.sources import Source
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
table._CHARACTERS = 1
def documents():
    (folder / f"read.{time.time_ns()}").touch()
    for document in TRAIN + REST:
        yield document
        time.sleep(seconds)
found = table.table(
    Source("", "slow", documents), words(eos=9), context=4, packed=True, split="train", folder=folder / "tables"
)
print(everything(found)[0])
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(seconds), str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_killed_in_the_middle(tmp_path: Path) -> None:
    child = start(tmp_path, 60)
    while child.poll() is None and not list(tmp_path.glob("tables/.*.part")):
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.communicate(timeout=10)[0] == ""
    assert child.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("tables/.*.part"))) == 1  # what was left is neither used nor kept
    again = start(tmp_path, 0)
    assert again.communicate(timeout=60)[0] == "[[10, 11, 12, 9], [13, 9, 14, 15], [16, 17, 18, 9]]\n"
    assert [path.name for path in (tmp_path / "tables").iterdir() if path.suffix == ".part"] == []


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    both = [start(tmp_path, 0.3) for _ in range(2)]
    said = [child.communicate(timeout=60)[0] for child in both]
    assert said == ["[[10, 11, 12, 9], [13, 9, 14, 15], [16, 17, 18, 9]]\n"] * 2
    assert len(list(tmp_path.glob("read.*"))) == 1
