"""A corpus of a hundred and fifty documents of few words, and a language model that learns it in seconds."""

import json
import random
from pathlib import Path

from unweave.subject import TextShape, TextTraining
from unweave.subject.pretrain import Pretraining

SHAPE = TextShape(n_layers=2, d_model=32, n_heads=2, n_positions=32, n_tokens=300)
HOW = Pretraining(steps=60, warmup=10, micro_batch=4)


def corpus(path: Path) -> Path:
    """A .jsonl file."""
    draw = random.Random(0)
    verbs, nouns = ("read", "write", "close", "open"), ("file", "socket", "é", "buffer")
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(150):
            lines = (f"{draw.choice(verbs)}({draw.choice(nouns)}, {draw.randrange(100)})\n" for _ in range(8))
            file.write(json.dumps({"text": "".join(lines)}) + "\n")
    return path


def training(path: Path) -> TextTraining:
    """Of a model of SHAPE by HOW on the corpus at `path`."""
    return TextTraining(model=SHAPE, how=HOW, source=str(path), batch=8)
