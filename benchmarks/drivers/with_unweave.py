"""Unweave's own trainer: a step of its loop without harvesting, its statistics of dead features kept as always."""

from __future__ import annotations

import torch
from floor import hold_density, product_ms
from gate import Gate, asked
from gpu_floor import floor
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.training.loop import Trainer

METHODS = {
    "topk": "topk(k={k})",
    "batch_topk": "batch_topk(k={k})",
    "relu": "relu(l1=1.0)",
    "jumprelu": "jumprelu",
}


def trainer_of(work: dict, first: Tensor) -> Trainer:
    lr = 1e-12 if work.get("density") else work["lr"]
    settings = {
        "training.lr": lr, "training.warmup": 0, "training.decay": 0.0, "training.steps": 10**6,
        "training.log_every": 10**6, "training.gradient_norm": 1.0, "training.device": work["device"],
    }  # fmt: skip
    method = METHODS[work["method"]].format(**work)
    config = override(RunConfig(method=method, d_sae=work["n"], revive="none()", normalise="none"), settings)
    trainer = Trainer(config, first.shape[1])
    trainer.fit_(first)
    if density := work.get("density"):
        hold_density(trainer, first, density)
    return trainer


def main() -> None:
    work = asked()
    about: dict[str, float] = {}
    gate = Gate(work, lambda x: trainer.dictionary(x), about)
    if work["device"] != "cpu":
        about |= floor(gate.first, work["n"], work["tf32"])
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    elif work.get("floor"):
        about["product_ms"] = product_ms(gate.first, work["n"])
    trainer = trainer_of(work, gate.first)
    for x in gate:
        trainer.update(x)


if __name__ == "__main__":
    main()
