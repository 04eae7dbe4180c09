"""The notation of calls: what is written is what is built, only literals are read, a mistake names the nearest name."""

from __future__ import annotations

import keyword
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from unweave.registry import Registry, nearest, parse

names = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
literals = st.recursive(
    scalars, lambda of: st.lists(of) | st.tuples(of, of) | st.dictionaries(st.text(), of), max_leaves=6
)

METHODS: Registry[tuple[Any, ...]] = Registry("method")


@METHODS.register
def topk(k: int = 32, scale: float = 1.0, bias: bool = True) -> tuple[Any, ...]:
    return "topk", k, scale, bias


@METHODS.register
def relu(l1: float, name: str | None = None) -> tuple[Any, ...]:
    if l1 < 0:
        raise ValueError(f"l1 must not be negative, not {l1}")
    return "relu", l1, name


@given(name=names, arguments=st.dictionaries(names, literals, max_size=4))
def test_round_trip(name: str, arguments: dict[str, Any]) -> None:
    written = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    assert parse(written) == (name, arguments)
    assert parse(f"  {written}\n") == (name, arguments)


@given(name=names)
def test_a_bare_name_has_no_arguments(name: str) -> None:
    assert parse(name) == parse(f"{name}()") == (name, {})


@given(text=st.text())
@example("topk(k=" + "-" * 20_000 + "1)")
@example("topk(k=" + "+".join(["1"] * 20_000) + ")")
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        name, _ = parse(text)
    except ValueError as error:
        said = str(error)
        fine = said.startswith("cannot read") and "\n" not in said and len(said) < 500
    else:
        fine = name.isidentifier()
    assert fine


@pytest.mark.parametrize(
    "call",
    [
        "topk(k=open('made', 'w'))",
        "topk(k=__import__('os').mkdir('made'))",
        "topk(k=(lambda: open('made', 'w'))())",
        "topk(k=[open('made', 'w') for _ in (1,)])",
        "topk(k=2**3)",
        "topk(k=k)",
        "os.mkdir('made')",
        "topk(32)",
        "topk(*[32])",
        "topk(**{'k': 3})",
        "topk(k=1, k=2)",
        "topk(k={[]: 1})",
        "topk(k=f'{1}')",
        "topk(k=3); relu()",
        "topk(k=3",
        "topk()()",
        "topk.k",
        "3",
        "'topk'",
        "",
    ],
)
def test_only_literals_are_read_and_nothing_is_run(call: str, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        METHODS.build(call)
    assert not (tmp_path / "made").exists()


def test_build() -> None:
    assert METHODS.build("topk") == ("topk", 32, 1.0, True)
    assert METHODS.build("topk(k=64, scale=2)") == ("topk", 64, 2, True)
    assert METHODS.build("relu(l1=0.077, name='a')") == ("relu", 0.077, "a")
    assert METHODS.build("relu(l1=1, name=None)") == ("relu", 1, None)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("topkk(k=3)", r"no method is called 'topkk'; did you mean 'topk'\?"),
        ("zzz", r"no method is called 'zzz'; there are relu, topk"),
        ("topk(kk=3)", r"topk has no argument 'kk'; did you mean 'k'\?: topk\(k=32, scale=1.0, bias=True\)"),
        ("relu", r"relu needs a value for l1: relu\(l1, name=None\)"),
        ("topk(k=3.5)", r"topk takes k as int, not 3.5: topk\(k=32"),
        ("topk(k=True)", r"topk takes k as int, not True"),
        ("topk(bias=1)", r"topk takes bias as bool, not 1"),
        ("relu(l1='0.1')", r"relu takes l1 as float, not '0.1'"),
        ("relu(l1=0.1, name=3)", r"relu takes name as str \| None, not 3"),
        ("relu(l1=-1)", r"l1 must not be negative, not -1"),
    ],
)
def test_a_mistake_is_named(call: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        METHODS.build(call)


def test_types_that_are_not_simple_are_the_builders_own_affair() -> None:
    sites: Registry[object] = Registry("site")

    def several(layers: list[int], at: Any = 0) -> object:
        return layers, at

    sites.register(several)
    assert sites.build("several(layers=[1, 2], at='x')") == ([1, 2], "x")


def test_a_name_is_given_once() -> None:
    twice: Registry[int] = Registry("number")

    def one() -> int:
        return 1

    assert twice.register(one) is one
    with pytest.raises(ValueError, match="two numbers are named one"):
        twice.register(one)


def test_iteration_and_lookup() -> None:
    assert list(METHODS) == ["relu", "topk"]
    assert METHODS["topk"] is topk
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        METHODS["relo"]


@given(name=names, choices=st.sets(names, min_size=1, max_size=5))
def test_nearest_names_something_that_exists(name: str, choices: set[str]) -> None:
    said = nearest(name, choices)
    assert any(choice in said for choice in choices)
    if name in choices:
        assert said == f"; did you mean {name!r}?"


@given(name=names, at=st.integers(0, 11))
def test_one_slip_of_the_finger_is_understood(name: str, at: int) -> None:
    assume(len(name) >= 4)
    slipped = name[: at % len(name)] + name[at % len(name) + 1 :]
    assert nearest(slipped, [name, "0123456789"]) == f"; did you mean {name!r}?"
