"""Games from files: read as they were written; each damaged file and illegal game is named in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unweave.othello import games, notation, records, wthor
from unweave.othello.games import IllegalGame


def as_text(moves: Tensor) -> str:
    return "".join("".join(notation.name(s) for s in game if s >= 0) + "\n" for game in moves.tolist())


def as_wthor(moves: Tensor, *, count: int | None = None, side: int = 8) -> bytes:
    """A file as the archive has them: made on 21 November 2026, of games of 2025."""
    number = len(moves) if count is None else count
    header = bytes([20, 26, 11, 21]) + number.to_bytes(4, "little") + bytes([0, 0]) + (2025).to_bytes(2, "little")
    about = bytes([1, 0, 2, 0, 3, 0, 32, 32])
    codes = [bytes(0 if s < 0 else 10 * (s // 8 + 1) + s % 8 + 1 for s in game) for game in moves.tolist()]
    return header + bytes([side, 0, 0, 0]) + b"".join(about + code for code in codes)


def told(error: type[Exception], path: Path, reader: object) -> str:
    """The message, without the folder."""
    with pytest.raises(error) as raised:
        reader.read(path)  # type: ignore[attr-defined]
    lines = str(raised.value).split("\n")
    assert all(line.startswith(str(path)) or f"file {path}" in line for line in lines)
    return "\n".join(line.replace(str(path), path.name) for line in lines)


FEW = games.uniform_play(300, 8)
FEW[3, 20:] = -1  # one that was broken off


def test_text_comes_back_as_it_went(tmp_path: Path) -> None:
    (tmp_path / "games.txt").write_text(as_text(FEW))
    assert torch.equal(records.read(tmp_path / "games.txt"), FEW)
    assert torch.equal(records.read(str(tmp_path / "games.txt")), FEW)


def test_wthor_comes_back_as_it_went(tmp_path: Path) -> None:
    (tmp_path / "games.wtb").write_bytes(as_wthor(FEW))
    assert torch.equal(wthor.read(tmp_path / "games.wtb"), FEW)
    (tmp_path / "games.wtb").write_bytes(as_wthor(FEW, side=0))
    assert torch.equal(wthor.read(tmp_path / "games.wtb"), FEW)


def test_wthor_codes_are_row_then_column(tmp_path: Path) -> None:
    """f5 is 56: made by hand, so that reader and writer cannot share a mistake."""
    data = bytearray(16 + 68)
    data[4] = 1
    data[24:27] = 56, 64, 33  # f5 d6 c3
    (tmp_path / "one.wtb").write_bytes(data)
    moves = wthor.read(tmp_path / "one.wtb")
    assert [notation.name(s) for s in moves[0, :3].tolist()] == ["f5", "d6", "c3"]
    assert (moves[0, 3:] == -1).all()


def test_a_file_s_games_belong_to_the_same_splits(tmp_path: Path) -> None:
    moves = games.sample("test", 50, seed=3)
    (tmp_path / "games.txt").write_text(as_text(moves))
    (tmp_path / "games.wtb").write_bytes(as_wthor(moves))
    for read in (records.read(tmp_path / "games.txt"), wthor.read(tmp_path / "games.wtb")):
        assert (games.split_of(read) == 2).all()


def test_text_may_be_loosely_written(tmp_path: Path) -> None:
    path = tmp_path / "games.txt"
    path.write_bytes(b"\xef\xbb\xbf# two games\r\n\r\n  F5 d6 C3\tD3  # the tiger\r\n\nf5D6\n")
    moves = records.read(path)
    assert moves.shape == (2, 60)
    assert [notation.name(s) for s in moves[0, :4].tolist()] == ["f5", "d6", "c3", "d3"]
    assert (moves >= 0).sum(1).tolist() == [4, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f5d6\n# fine so far\n\nf5a1\n", "games.txt, line 4, ply 2: a1 is not legal: white may play f4, d6, f6"),
        (
            "f5d6\nf5d6c\n",
            "games.txt, line 2, ply 3: 'c' is not a square: write the column a-h, then the row 1-8, as in f5",
        ),
        ("f5x9", "games.txt, line 1, ply 2: 'x9' is not a square: write the column a-h, then the row 1-8, as in f5"),
        ("f5" * 61, "games.txt, line 1, ply 61: a game has at most 60 moves, not 61"),
        (
            "f5\na1\nf5d6\nf5x9\n\nf5d6c\na1b1\n",
            "games.txt, line 2, ply 1: a1 is not legal: black may play d3, c4, f5, e6\n"
            "games.txt, line 4, ply 2: 'x9' is not a square: write the column a-h, then the row 1-8, as in f5\n"
            "games.txt, line 6, ply 3: 'c' is not a square: write the column a-h, then the row 1-8, as in f5\n"
            "games.txt, line 7, ply 1: a1 is not legal: black may play d3, c4, f5, e6",
        ),
    ],
)
def test_an_illegal_game_in_text(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "games.txt").write_text(text)
    assert told(IllegalGame, tmp_path / "games.txt", records) == message


@pytest.mark.parametrize("text", ["", "\n \n", "# nothing here\n"])
def test_text_without_games(tmp_path: Path, text: str) -> None:
    (tmp_path / "games.txt").write_text(text)
    expected = "games.txt holds no game: a game is written as f5d6c3..., one a line"
    assert told(ValueError, tmp_path / "games.txt", records) == expected


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "games.txt").write_bytes(bytes(range(256)))
    expected = "games.txt is not a text file: a game is written as f5d6c3..., one a line"
    assert told(ValueError, tmp_path / "games.txt", records) == expected


@pytest.mark.parametrize("reader", [records, wthor])
def test_no_file(tmp_path: Path, reader: object) -> None:
    assert told(FileNotFoundError, tmp_path / "none", reader) == "there is no file none"


def test_an_illegal_game_in_wthor(tmp_path: Path) -> None:
    moves = FEW[:5].clone()
    moves[4, 1] = 0
    path = tmp_path / "games.wtb"
    path.write_bytes(as_wthor(moves))
    assert told(IllegalGame, path, wthor).startswith("games.wtb, record 5, ply 2: a1 is not legal: white may play ")


def test_each_illegal_game_in_wthor_is_named(tmp_path: Path) -> None:
    moves = FEW[:5].clone()
    moves[1, 1], moves[4, 0] = 0, 0
    data = bytearray(as_wthor(moves))
    data[16 + 3 * 68 + 8 + 7], data[16 + 3 * 68 + 8 + 5] = 99, 9
    (tmp_path / "games.wtb").write_bytes(data)
    named = [line.split(":")[0] for line in told(IllegalGame, tmp_path / "games.wtb", wthor).splitlines()]
    assert named == ["games.wtb, record 2, ply 2", "games.wtb, record 4, ply 6", "games.wtb, record 5, ply 1"]


@pytest.mark.parametrize("code", [9, 10, 19, 91, 255])
def test_a_code_that_is_no_square(tmp_path: Path, code: int) -> None:
    data = bytearray(as_wthor(FEW[:2]))
    data[16 + 68 + 8 + 2] = code
    (tmp_path / "games.wtb").write_bytes(data)
    expected = (
        f"games.wtb, record 2, ply 3: {code} is not a square: a move is 10 * row + column, both 1 to 8, and 0 is none"
    )
    assert told(IllegalGame, tmp_path / "games.wtb", wthor) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a WTHOR file: it has 0 bytes, and the header alone takes 16"),
        (as_wthor(FEW[:1])[:15], "is not a WTHOR file: it has 15 bytes, and the header alone takes 16"),
        (as_wthor(FEW[:0]), "holds no game"),
        (as_wthor(FEW[:1], side=10), "is for a board of 10 x 10 squares, or not a WTHOR file: only 8 x 8 can be read"),
        (as_wthor(FEW[:2])[:-1], "its header announces 2 games, so 152 bytes, but it has 151"),
        (as_wthor(FEW[:2]) + b"\0", "its header announces 2 games, so 152 bytes, but it has 153"),
        (as_wthor(FEW[:2], count=2**32 - 1), "announces 4294967295 games"),
    ],
)
def test_a_damaged_wthor_file(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "games.wtb").write_bytes(data)
    assert message in told(ValueError, tmp_path / "games.wtb", wthor)


@settings(max_examples=40)
@given(st.binary(max_size=300), st.booleans())
def test_rubbish_is_refused_line_by_line(tmp_path_factory: pytest.TempPathFactory, data: bytes, text: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "rubbish"
    path.write_bytes(data)
    message = None
    try:
        moves = (records if text else wthor).read(path)
    except ValueError as error:
        message = str(error)
    else:
        games.check(moves, str)
    if message is not None:
        lines = message.split("\n")
        assert all(re.match(r"\S*rubbish(,| is| holds)", line) for line in lines)
        assert len(lines) == 1 or all("ply" in line for line in lines)
