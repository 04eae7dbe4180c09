"""Unweave takes a trained transformer apart into features, and says how true they are.

The public names below are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import os as _os
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unweave.config import RunConfig
    from unweave.demo import report
    from unweave.dictionary import Dictionary
    from unweave.dictionary.core import method
    from unweave.evaluation.evaluate import evaluate
    from unweave.runs import Run, find, train
    from unweave.subject import Subject, load

# Tensors of many megabytes in large pages (Linux; torch asks this once, when it makes the first): new memory then costs
# a fraction, a dense step an eighth less, and the peak is lower (docs/LOG.md).
_os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_HOME = {
    "Dictionary": "dictionary",
    "Run": "runs",
    "RunConfig": "config",
    "Subject": "subject",
    "evaluate": "evaluation.evaluate",
    "find": "runs",
    "load": "subject",
    "method": "dictionary.core",
    "report": "demo",
    "train": "runs",
}

__all__ = ["Dictionary", "Run", "RunConfig", "Subject", "evaluate", "find", "load", "method", "report", "train"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'unweave' has no attribute {name!r}")
    return getattr(_import_module(f"unweave.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
