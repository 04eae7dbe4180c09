"""The agenda of report 003 on tiny subjects: every experiment has its figures, and goes on where it was."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_reader
import tiny_text  # noqa: F401 (enters the registry)
import torch

from unweave import files
from unweave.runs import Run
from unweave.studies import agenda
from unweave.studies.agenda import EXPERIMENTS, Study, carry_out
from unweave.studies.agenda.objectives import ahead
from unweave.subject import TextShape

SMALL = TextShape(n_layers=2, d_model=16, n_heads=2, n_positions=tiny_reader.CONTEXT, n_tokens=290)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("agenda")
    text = tiny_reader.write(folder / "text.jsonl", tiny_reader.documents(400))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        yield Study(
            folder=folder / "study",
            subject="tiny_text()",
            text=str(text),
            tokens=2048,
            ratio=2,
            seeds=2,
            held_out=8,
            small=SMALL,
            steps=30,
            keep=2,
        )


@pytest.fixture(scope="module")
def found(study: Study):
    return carry_out(study)


def test_it(found):
    print(found)
