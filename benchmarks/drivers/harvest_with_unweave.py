"""Unweave's stream of shuffled activations of a language model of the transformers library, as a training reads it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from gate import asked, serve
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from unweave.activations.buffer import shuffled
from unweave.activations.harvest import harvest
from unweave.rows import Rows
from unweave.subject.huggingface import HuggingFace


def main() -> None:
    work = asked()
    torch.manual_seed(0)
    shape = GPT2Config(n_layer=work["layers"], n_embd=work["d"], n_head=4, n_positions=work["context"])
    subject = HuggingFace(GPT2LMHeadModel(shape))
    site = f"resid_post.{work['layers'] // 2 - 1}"

    def source(start: int) -> Iterator[dict[str, Tensor]]:
        while True:
            tokens = torch.randint(0, shape.vocab_size, (work["held"], work["context"]))
            there = torch.ones_like(tokens, dtype=torch.bool)
            yield harvest(subject, Rows(tokens, there, there), [site]).vectors

    batches = shuffled(source, batch=work["batch"], seed=0)

    def step() -> int:
        return sum(len(next(batches)[1][site]) for _ in range(work["batches"]))

    serve(step)


if __name__ == "__main__":
    main()
