"""Training a language model in a folder: a tokenizer, rows of tokens, the checkpoint, a log, and the model at chosen
steps, for those who study how it came to be.

Shapes: B rows, S positions.

The arithmetic of the default, `unweave pretrain text`: 1,600 steps of 32 rows of 256 tokens are 13.1 M tokens, one and
a half times the training split of the standard library. A token costs 6 operations a parameter, forward and back: with
2.6 M parameters 16 MFLOP, in all 0.21 PFLOP. A core that does 80 GFLOP/s of nothing but matrix products in float32 does
some 50 of these (attention, norms and softmax are not counted among them), so that a step takes 2.6 seconds of a core,
and all of them an hour and a quarter. Of so few tokens a larger model learns less in the same time.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unweave import files
from unweave.subject.pretrain import Batches, Pretraining, Progress, pretrain
from unweave.subject.text_model import Logits, TextShape, build, matrices, save
from unweave.subject.training_folder import claim, logged
from unweave.text.sources import Source, source
from unweave.text.split import Split, split_of
from unweave.text.table import Table, table
from unweave.text.tokenizer import Tokenizer, train

MICRO_BATCH = 8
"""Rows that go through a model at a time: few enough that their logits, of thousands of tokens, stay small."""


@dataclass(frozen=True, kw_only=True)
class TextTraining:
    """All that decides a language model. source: of the text, whose training split it sees; batch: rows a step.
    keep: at how many steps at most the model as it is then is kept, evenly spaced in the steps' logarithm."""

    model: TextShape = field(default_factory=TextShape)
    how: Pretraining = field(default_factory=lambda: Pretraining(steps=1600, micro_batch=MICRO_BATCH))
    source: str = "stdlib()"
    batch: int = 32
    keep: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")
        if self.keep < 0:
            raise ValueError(f"keep must be at least 0, not {self.keep}")

    @property
    def command(self) -> str:
        """What to type to make the same model again."""
        model, how = self.model, self.how
        return (
            f"unweave pretrain text --shape {model.kind} --layers {model.n_layers} --width {model.d_model} "
            f"--heads {model.n_heads} --context {model.n_positions} --vocabulary {model.n_tokens} "
            f"--source {shlex.quote(self.source)} --steps {how.steps} --lr {how.lr:g} --decay {how.decay:g} "
            f"--batch {self.batch} --seed {how.seed}" + (f" --keep {self.keep}" if self.keep else "")
        )

    @property
    def kept(self) -> list[int]:
        """The steps after which the model is kept: the last, and back from it to 1."""
        shares = (1 - i / max(1, self.keep - 1) for i in range(self.keep))
        return sorted({round(self.how.steps**share) for share in shares})


@dataclass(frozen=True)
class Corpus:
    """The text of a training in a folder, as tokens."""

    tokenizer: Tokenizer
    _source: Source
    _context: int
    _folder: Path

    def rows(self, split: Split) -> Table:
        """Rows of one token more than the model has positions: what stands at each, and what follows it. Raises
        ValueError if the split has too little text for one."""
        context, where = self._context + 1, self._folder / "tokens"
        return table(self._source, self.tokenizer, context=context, packed=True, split=split, folder=where)


def corpus(folder: Path, config: TextTraining, text: Source) -> Corpus:
    """That of the training in `folder`; its tokenizer is trained, on the training split, if there is none yet.

    Raises ValueError if the text is no longer what that was trained on, or there is none.
    """
    files.claim(folder / "source.json", {"source": config.source, "fingerprint": text.fingerprint})
    where = folder / "tokenizer"
    if not where.is_dir():
        made = train((each for each in text.documents() if split_of(each) == "train"), config.model.n_tokens)
        files.replace_folder(where, made.save)
    return Corpus(Tokenizer.load(where), text, config.model.n_positions, folder)


def batches(rows: Table, config: TextTraining, device: torch.device | str = "cpu") -> Batches:
    """The source of `pretrain`: all rows in an order of the run's seed, then all in another order, and so on."""

    def source(step: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = _order(len(rows), config.how.seed, step * config.batch)
        while True:
            tokens, _ = rows.rows(torch.tensor([*islice(order, config.batch)]))
            yield tokens[:, :-1].to(device), tokens[:, 1:].to(device)

    return source


def _order(n: int, seed: int, skip: int) -> Iterator[int]:
    for epoch in count(skip // n):
        yield from np.random.default_rng([seed, epoch]).permutation(n)[skip - epoch * n if skip > epoch * n else 0 :]


def pretrain_text(
    folder: Path, config: TextTraining, device: torch.device | str = "cpu", *, checkpoint_every: int = 50
) -> Iterator[Progress]:
    """Train in `folder`, or continue there, yielding after each step; see `pretrain` for what stopping costs.

    Each step adds a line to `log.jsonl`: step, loss (nats a token), the seconds of training so far. The models that are
    kept go to `checkpoints/step-000100` and so on. Raises what `pretrain` and `source` do, ValueError if `folder`
    belongs to a training with other settings or of another text, or is in use.
    """
    text = source(config.source)  # first, so that a mistake there leaves no folder claimed
    shape, kept = asdict(config.model), config.kept
    with files.held(folder):
        claim(folder, config, shape)
        words = corpus(folder, config, text)
        data = batches(words.rows("train"), config, device)
        torch.manual_seed(config.how.seed)
        model = Logits(build(config.model, words.tokenizer)).to(device)

        def keep(step: int) -> None:
            if step in kept:
                save(model.model, words.tokenizer, folder / "checkpoints" / f"step-{step:06}")

        trained = matrices(model)
        steps = pretrain(
            model, trained, data, config.how, folder, shape=shape, checkpoint_every=checkpoint_every, at_step=keep
        )
        yield from logged(steps, folder)
