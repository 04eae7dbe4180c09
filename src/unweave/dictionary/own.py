"""A user's own method, in a file of its own: "my_method.py:mine(weight=2.0)"."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from unweave.dictionary.core import METHODS
from unweave.registry import nearest, parse


def call_of(text: str) -> str:
    """The call in `text`, after the file before its colon, if there is one, was run: it registers the method.

    Raises FileNotFoundError for a file that is not there, ValueError for one that cannot be run or has no such method.
    """
    file, colon, call = text.rpartition(":")
    if not colon:
        return text
    name, _ = parse(call)
    before = set(METHODS)
    load(Path(file))
    new = sorted(set(METHODS) - before)
    if name not in METHODS:
        raise ValueError(
            f"{file} registers no method called {name!r}{nearest(name, new) if new else '; put @method before it'}"
        )
    return call


def load(path: Path) -> None:
    """Run a file of the user's that registers methods; once, however often it is named. Raises as `call_of` does."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"unweave_own_{path.resolve()}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's code raises
        del sys.modules[name]
        raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
