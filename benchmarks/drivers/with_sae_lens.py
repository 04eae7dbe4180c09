"""SAELens's SAETrainer, as `fit` runs it; nothing is logged or saved."""

from __future__ import annotations

from typing import Any

from gate import Gate, asked
from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer

METHODS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig, ("k",)),
    "batch_topk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, ("k",)),
    "relu": (StandardTrainingSAE, StandardTrainingSAEConfig, ()),
    "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig, ()),
}


def main() -> None:
    work = asked()
    kind, settings, own = METHODS[work["method"]]
    sae = kind(settings(d_in=work["d"], d_sae=work["n"], device=work["device"], **{name: work[name] for name in own}))
    gate = Gate(work, lambda x: sae.decode(sae.encode(x)))
    steps = SAETrainerConfig(
        total_training_samples=10**9,
        train_batch_size_samples=work["batch"],
        lr=work["lr"],
        lr_end=work["lr"],
        device=work["device"],
    )
    SAETrainer(steps, sae, gate).fit()


if __name__ == "__main__":
    main()
