"""What importing the package does, in a process of its own."""

import os
import subprocess
import sys

import pytest


def said(program: str, **environment: str) -> str:
    without = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=without | environment)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_nothing_heavy_is_loaded_until_it_is_used() -> None:
    loaded = said(
        "import sys, unweave; print(*(n for n in ('torch', 'numba', 'numpy', 'transformers') if n in sys.modules))"
    )
    assert loaded == ""


@pytest.mark.parametrize(("own", "then"), [({}, "1"), ({"THP_MEM_ALLOC_ENABLE": "0"}, "0")])
def test_large_pages_are_asked_for_unless_somebody_did_not_want_them(own: dict[str, str], then: str) -> None:
    assert said("import os, unweave; print(os.environ['THP_MEM_ALLOC_ENABLE'])", **own) == then
