"""The rules of the house: one-way imports, short files, one public surface, a light import, true pages."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import unweave
from unweave.config import RunConfig, to_dict

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "unweave"
MODULES = sorted(SOURCE.rglob("*.py"))
PYTHON = [
    path
    for folder in ("src", "tests", "benchmarks", "examples", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# The way the data goes: a room imports only from rooms to its left.
ROOMS = (
    *(
        "files",
        "registry",
        "schedule",
        "threads",
        "precision",
        "config",
        "rows",
        "othello",
        "cards",
        "text",
        "subject",
        "activations",
    ),
    *("dictionary", "training", "runs", "evaluation", "after", "dashboards", "intervention", "lab", "bench", "studies"),
    *("view", "demo", "cli"),
)
NEVER = {
    "training": {"subject"},  # it is given batches of vectors, and does not ask where they come from
    "view": {
        "subject",
        "activations",
        "dictionary",
        "training",
        "evaluation",
        "intervention",
        "lab",
    },  # it reads files, not live objects
}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """The line and the dotted name of every import of the package, wherever it stands, and however it is spelt."""
    package = ("unweave", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            whole = ".".join((*base, *([node.module] if node.module else [])))
            found = [f"{whole}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = [node.value] if re.fullmatch(r"unweave(\.\w+)+", node.value) else []  # importlib's way
        else:
            continue
        yield from ((node.lineno, dotted) for dotted in found if dotted.split(".")[0] == "unweave")


def wrong_imports(text: str, path: Path) -> list[str]:
    room, wrong = room_of(path), []
    for line, dotted in imported(ast.parse(text), path):
        other = [*dotted.split("."), "the package itself"][1]
        if other == room:
            continue
        if other not in ROOMS or ROOMS.index(other) > ROOMS.index(room) or other in NEVER.get(room, ()):
            wrong.append(f"{name(path)}:{line}: {room} must not import {other}")
    return wrong


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) != "__init__"], ids=name)
def test_imports_run_one_way(path: Path) -> None:
    assert room_of(path) in ROOMS, f"{name(path)} is in a room without a place in the order"
    assert wrong_imports(path.read_text(), path) == []


@pytest.mark.parametrize(
    "line",
    [
        "import unweave.cli",
        "from unweave.subject.gpt import GPT",
        "from unweave import view",
        "from unweave import a_public_name",
        "import unweave",
        "from .. import subject",
        "from ..evaluation.controls import probe",
        "def late():\n    from unweave.runs import Run",
        "if TYPE_CHECKING:\n    from unweave.subject import Subject",
        "importlib.import_module('unweave.subject.gpt')",
    ],
)
def test_an_import_that_runs_the_other_way_is_seen(line: str) -> None:
    assert wrong_imports(line, SOURCE / "training" / "loop.py") != []


def test_an_import_that_runs_the_right_way_is_not() -> None:
    text = "import torch\nfrom unweave import files\nfrom . import log\nfrom ..dictionary.core import Dictionary"
    assert wrong_imports(text, SOURCE / "training" / "loop.py") == []


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    lines = text.count("\n")
    assert lines <= 400, f"{name(path)} has {lines} lines: 300 is the aim, 400 the wall"
    if lines > 300:
        print(f"{name(path)} has {lines} lines: 300 is the aim")  # noqa: T201 (pytest -rP shows it)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50, f"{name(path)}:{node.lineno}: {node.name} has {length} lines, of at most 50"


def test_every_room_has_a_name() -> None:
    assert [name(path) for path in PYTHON if path.stem in ("util", "utils", "helpers", "misc", "common")] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{name(path)} has no docstring"


def test_the_public_surface() -> None:
    public = unweave.__all__
    assert list(public) == sorted(public)
    assert len(public) <= 30
    for each in public:
        value = getattr(unweave, each)
        assert isinstance(value, str) or value.__doc__, f"unweave.{each} has no docstring"
    seen = {
        key
        for key, value in vars(unweave).items()
        if not key.startswith("_") and not isinstance(value, ModuleType) and key not in ("annotations", "TYPE_CHECKING")
    }
    assert seen <= set(public), "a name that can be seen but is not in __all__"
    assert set(public) <= set(dir(unweave)), "a name that completion does not find"


def loaded_by(module: str) -> set[str]:
    return {name.split(".")[0] for name in loaded_after(f"import {module}")}


def loaded_after(program: str) -> set[str]:
    program += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_import_is_light() -> None:
    heavy = {"matplotlib", "scipy", "sklearn", "numba", "starlette", "uvicorn", "pytest", "jaxtyping", "beartype"}
    heavy |= {"transformers", "tokenizers", "huggingface_hub", "datasets", "pyarrow"}
    assert heavy & loaded_by("unweave") == set()


def test_the_command_line_loads_nothing_heavy_before_it_is_needed() -> None:
    assert {"torch", "transformers", "datasets", "numba", "matplotlib"} & loaded_by("unweave.cli") == set()


def test_subjects_load_transformers_only_when_one_is_built() -> None:
    assert {"transformers", "datasets", "pyarrow"} & loaded_by("unweave.subject") == set()


def test_training_loads_triton_only_on_a_gpu() -> None:
    assert "triton" not in loaded_by("unweave.training.loop")


def test_training_does_not_load_torchs_compiler() -> None:
    lines = [
        "import torch",
        "from unweave.config import RunConfig",
        "from unweave.training.loop import Trainer",
        "t, x = Trainer(RunConfig(method='topk(k=2)', d_sae=8), 4), torch.randn(32, 4)",
        "t.fit_(x)",
        "t.update(x)",
    ]
    assert "torch._dynamo" not in loaded_after("\n".join(lines))


def test_a_run_is_described_by_few_settings() -> None:
    def leaves(value: dict[str, Any]) -> int:
        return sum(leaves(each) if isinstance(each, dict) else 1 for each in value.values())

    assert leaves(to_dict(RunConfig())) <= 40


def test_configs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().site = "embed"  # type: ignore[misc]


def test_every_dependency_is_pinned() -> None:
    pins = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[\[<>=!~; ]", each)[0].lower() for each in wanted}
    assert names - pins == set()


def test_the_changelog_speaks_of_this_version() -> None:
    version = PROJECT["project"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == version


def test_the_readme_names_both_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z]+)", page.read_text())) <= targets, (
            f"{name(page)} names a target that is not"
        )


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = [next(iter(entry.values())) for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]]
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{name(page)} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_figures_stand_beside_their_command(page: Path) -> None:
    """A picture, or a table with measured numbers, belongs to a section that says "Made by `command`"."""
    for section in re.split(r"^#+ ", page.read_text(), flags=re.MULTILINE):
        figures = re.findall(r"!\[", section) + re.findall(r"^\|.*\d+\.\d+.*\|", section, re.MULTILINE)
        assert not figures or "Made by `" in section, f"{name(page)}: {section.splitlines()[0]}: by which command?"


@pytest.mark.parametrize("page", ["families", "metrics", "methods"])
def test_pages_made_from_the_code_are_current(page: str) -> None:
    made = [sys.executable, ROOT / "docs" / f"{page}.py", "--print"]
    done = subprocess.run(made, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "docs" / f"{page}.md").read_text(), "make docs writes it anew"


def test_the_page_on_adding_a_method_shows_the_example() -> None:
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "add-a-method.md").read_text(), re.DOTALL)
    assert shown == [(ROOT / "examples" / "log_penalty.py").read_text()]
