"""Methods in a user's own file."""

from pathlib import Path

import pytest

from unweave.dictionary import METHODS
from unweave.dictionary.own import call_of, load

MINE = '''
from unweave.dictionary.core import Linear, Method, method
from unweave.dictionary.methods.relu import ReLU
from unweave.dictionary.terms import error

@method
def {name}(weight: float = 1.0) -> Method:
    """codes = relu(pre); the error, and its square root."""
    losses = {{"error": (1.0, error)}}
    penalties = {{"root": (weight, lambda step: error(step).sqrt())}}
    return Method(source="a test", coder=lambda W: Linear(W, ReLU()), losses=losses, penalties=penalties)
'''


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(METHODS, "_builders", dict(METHODS._builders))


def test_a_file_registers_its_method_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(name="rooted"))
    assert call_of(f"{file}:rooted(weight=2.0)") == "rooted(weight=2.0)"
    assert call_of(f"{file}:rooted") == "rooted"
    assert METHODS.build("rooted(weight=2.0)").penalties["root"][0] == 2.0


def test_a_call_without_a_file_is_itself() -> None:
    assert call_of("topk(k=3)") == "topk(k=3)"


def test_what_cannot_be_is_said_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    with pytest.raises(FileNotFoundError, match="there is no file"):
        call_of(f"{file}:mine")
    file.write_text("1 / 0")
    with pytest.raises(ValueError, match=r"mine.py cannot be run: ZeroDivisionError: division by zero"):
        call_of(f"{file}:mine")
    file.write_text(MINE.format(name="cubed"))
    with pytest.raises(ValueError, match=r"registers no method called 'cube'; did you mean 'cubed'"):
        call_of(f"{file}:cube")
    file.with_name("other.py").write_text("x = 1")
    with pytest.raises(ValueError, match="put @method before it"):
        call_of(f"{file.with_name('other.py')}:x")
    file.with_name("notes.txt").write_text("x = 1")
    with pytest.raises(ValueError, match=r"must end in \.py"):
        load(file.with_name("notes.txt"))
