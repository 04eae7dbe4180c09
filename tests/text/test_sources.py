"""Sources: what the documents are, in which order, when a fingerprint is another one, and what cannot be read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from unweave.text import sources
from unweave.text.sources import SOURCES, Document


def named(call: str) -> list[tuple[str, str]]:
    return [(document.name, document.text) for document in sources.source(call).documents()]


def write_lines(path: Path, texts: list[str], column: str = "text") -> None:
    path.write_text("".join(json.dumps({column: text, "id": i}) + "\n" for i, text in enumerate(texts)))


def write_rows(path: Path, texts: list[str], column: str = "text", group: int = 2) -> None:
    rows = pyarrow.table({"id": list(range(len(texts))), column: texts})
    parquet.write_table(rows, path, row_group_size=group)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A text, two lines, three rows, code, and what is not to be read."""
    (tmp_path / "corpus" / "b" / ".git").mkdir(parents=True)
    (tmp_path / "corpus" / "c.txt").write_bytes("\ufeffone\r\nfile, é".encode())
    write_lines(tmp_path / "corpus" / "b" / "lines.jsonl", ["first", "second"])
    write_rows(tmp_path / "corpus" / "a.parquet", ["x", "y", "z"])
    (tmp_path / "corpus" / "b" / "code.py").write_text("pass\n")
    (tmp_path / "corpus" / "b" / ".git" / "objects.txt").write_bytes(b"\xff")
    (tmp_path / "corpus" / ".hidden.txt").write_text("hidden")
    return tmp_path / "corpus"


def test_a_folder(folder: Path) -> None:
    assert named(str(folder)) == [
        ("a.parquet:0", "x"),
        ("a.parquet:1", "y"),
        ("a.parquet:2", "z"),
        ("b/lines.jsonl:1", "first"),
        ("b/lines.jsonl:2", "second"),
        ("c.txt", "one\r\nfile, é"),  # as it stands there, but for the mark at its beginning
    ]


def test_a_folder_by_pattern(folder: Path) -> None:
    assert named(f"files(path={str(folder)!r}, pattern='*.py')") == [("b/code.py", "pass\n")]
    assert named(f"files(path={str(folder)!r}, pattern='*.jsonl')") == [
        ("b/lines.jsonl:1", "first"),
        ("b/lines.jsonl:2", "second"),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("c.txt", ["c.txt"]),
        ("b/lines.jsonl", ["lines.jsonl:1", "lines.jsonl:2"]),
        ("a.parquet", ["a.parquet:0", "a.parquet:1", "a.parquet:2"]),
        ("b/code.py", ["code.py"]),
    ],
)
def test_a_file(folder: Path, name: str, expected: list[str]) -> None:
    assert [name for name, _ in named(str(folder / name))] == expected


def test_an_iterator_begins_anew_each_time(folder: Path) -> None:
    source = sources.source(str(folder))
    first = source.documents()
    next(first)
    assert list(source.documents()) == list(source.documents())
    assert len(list(first)) == 5


def test_another_column(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", ["x"], column="story")
    write_rows(tmp_path / "b.parquet", ["y"], column="story")
    assert [text for _, text in named(f"files(path={str(tmp_path)!r}, column='story')")] == ["x", "y"]


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_lines_and_rows_hold_what_was_written(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("written")
    write_lines(folder / "a.jsonl", texts)
    write_rows(folder / "b.parquet", texts)
    assert [text for _, text in named(str(folder))] == texts + texts


def later(path: Path) -> None:
    """Changes a file's time and nothing else."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def longer(path: Path) -> None:
    stat = path.stat()
    path.write_bytes(path.read_bytes() + b"!")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", [later, longer, Path.unlink, lambda path: path.rename(path.with_name("d.txt"))])
def test_another_folder_is_another_fingerprint(folder: Path, change: Callable[[Path], None]) -> None:
    before = sources.source(str(folder)).fingerprint
    assert sources.source(str(folder)).fingerprint == before
    change(folder / "c.txt")
    assert sources.source(str(folder)).fingerprint != before


def test_another_column_is_another_fingerprint(folder: Path) -> None:
    assert sources.files(str(folder)).fingerprint != sources.files(str(folder), column="story").fingerprint


def test_a_folder_that_moves_stays_the_same(folder: Path) -> None:
    before = sources.source(str(folder)).fingerprint
    assert sources.source(str(folder.rename(folder.with_name("moved")))).fingerprint == before


FAULTS: dict[str, tuple[str, bytes, str]] = {
    "damaged line": ("a.jsonl", b'{"text": "x"}\n\n{"text": \n', r"a\.jsonl, line 3: damaged JSON: Expecting value"),
    "no object": ("a.jsonl", b'"x"\n', r"a\.jsonl, line 1: should be an object"),
    "no column": ("a.jsonl", b'{"b": "x", "a": 1}\n', r"line 1: there is no column 'text'; there are a, b"),
    "no column at all": ("a.jsonl", b"{}\n", r"line 1: there is no column 'text'; there are none at all"),
    "a number": ("a.jsonl", b'{"text": 3}\n', r"line 1: column 'text' holds no text, but int"),
    "nothing": ("a.jsonl", b'{"text": null}\n', r"line 1: column 'text' holds no text, but NoneType"),
    "half a character": ("a.jsonl", b'{"text": "a\\ud83e"}\n', r"line 1: column 'text' holds half a character at 1"),
    "a line of bytes": ("a.jsonl", b'{"text": "\xff"}\n', r"line 1: not text in UTF-8: .* at byte 10"),
    "bytes": ("a.txt", b"ab\xffc", r"a\.txt is not text in UTF-8: invalid start byte at byte 2"),
    "no parquet": ("a.parquet", b"PAR1, or not", r"a\.parquet is damaged or no parquet file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_read(tmp_path: Path, fault: str) -> None:
    name, data, said = FAULTS[fault]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=said):
        named(str(tmp_path))


def test_rows_without_the_column(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", ["x"], column="story")
    with pytest.raises(ValueError, match=r"a\.parquet: there is no column 'text'; there are id, story"):
        named(str(tmp_path))


def test_rows_without_text(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", ["x", None], column="text")  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"a\.parquet, row 1: column 'text' holds no text, but NoneType"):
        named(str(tmp_path))


def test_rows_that_are_cut_short(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", [str(i) for i in range(1000)])
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"a\.parquet is damaged or no parquet file"):
        named(str(tmp_path))


def test_a_file_that_is_gone_by_then(folder: Path) -> None:
    source = sources.source(str(folder))
    (folder / "c.txt").unlink()
    with pytest.raises(ValueError, match=r"could not read .*c\.txt: No such file"):
        list(source.documents())


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder some/where; a dataset of the hub is"):
        sources.source("some/where")
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder corpus\.jsonl"):
        sources.source("corpus.jsonl")
    with pytest.raises(ValueError, match=r"no file ends in \.jsonl, \.parquet, \.txt in"):
        sources.source(str(tmp_path))
    with pytest.raises(ValueError, match=r"no file matches '\*\.rs' in"):
        sources.files(str(tmp_path), pattern="*.rs")


def test_calls() -> None:
    assert list(SOURCES) == ["files", "hub", "stdlib"]
    with pytest.raises(ValueError, match="no source is called 'stdlb'; did you mean 'stdlib'"):
        sources.source("stdlb")
    with pytest.raises(ValueError, match="hub has no argument 'limits'; did you mean 'limit'"):
        sources.source("hub(name='x', limits=3)")


def test_a_folder_with_the_name_of_a_source_is_not_it(tmp_path: Path) -> None:
    (tmp_path / "stdlib").mkdir()  # where the test runs
    assert sources.source("stdlib").name == "stdlib"
    assert sources.source("stdlib").fingerprint == sources.source("stdlib()").fingerprint


@pytest.fixture(scope="module")
def library() -> list[Document]:
    return list(sources.stdlib().documents())


def test_the_standard_library(library: list[Document]) -> None:
    texts = {document.name: document.text for document in library}
    assert texts["json/decoder.py"] == Path(json.decoder.__file__).read_text(encoding="utf-8")
    assert len(texts) == len(library) > 500
    assert len(set(texts.values())) == len(library)
    assert all(document.key == document.name for document in library)
    assert not any("site-packages" in name or "_sysconfigdata" in name for name in texts)


def test_the_standard_library_is_the_same_each_time(library: list[Document]) -> None:
    assert list(sources.stdlib().documents()) == library
    assert sources.stdlib().fingerprint == sources.stdlib().fingerprint


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the datasets library reads, without the network."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    (tmp_path / "dataset").mkdir()
    write_rows(tmp_path / "dataset" / "train.parquet", ["first", "second", "third"])
    return tmp_path / "dataset"


def test_a_dataset(dataset: Path) -> None:
    assert [text for _, text in named(f"hub(name={str(dataset)!r})")] == ["first", "second", "third"]
    assert [text for _, text in named(f"hub(name={str(dataset)!r}, limit=2)")] == ["first", "second"]
    assert named(f"hub(name={str(dataset)!r})")[2][0] == f"{dataset}, row 2"


def test_a_dataset_of_lines(dataset: Path) -> None:
    (dataset / "train.parquet").unlink()
    write_lines(dataset / "test.jsonl", ["x", "y"], column="story")
    call = f"hub(name={str(dataset)!r}, split='test', column='story')"
    assert [text for _, text in named(call)] == ["x", "y"]


def test_a_dataset_has_its_own_fingerprint(dataset: Path) -> None:
    name = str(dataset)
    found = [
        sources.hub(name),
        sources.hub(name, limit=2),
        sources.hub(name, split="test"),
        sources.hub(name, config="en"),
        sources.hub(name, column="id"),
        sources.hub(name, revision="v2"),
        sources.hub("another/one"),
    ]
    assert len({each.fingerprint for each in found}) == len(found)
    assert sources.hub(name).fingerprint == found[0].fingerprint
    later(dataset / "train.parquet")
    assert sources.hub(name).fingerprint != found[0].fingerprint


def test_a_dataset_that_cannot_be_read(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset, row 0: there is no column 'story'; there are id, text"):
        named(f"hub(name={str(dataset)!r}, column='story')")
    with pytest.raises(ValueError, match=r"dataset, row 0: column 'id' holds no text, but int"):
        named(f"hub(name={str(dataset)!r}, column='id')")
    with pytest.raises(ValueError, match=r"could not read the dataset .*dataset: .*split") as caught:
        named(f"hub(name={str(dataset)!r}, split='nosuch')")
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"could not read the dataset .*empty"):
        named(f"hub(name={str(tmp_path / 'empty')!r})")
    with pytest.raises(ValueError, match="limit is how many documents to read, at least 1, not 0"):
        sources.source("hub(name='x', limit=0)")
