"""dictionary_learning's trainers, as its `trainSAE` runs them; nothing is logged or saved."""

from __future__ import annotations

from typing import Any

from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.standard import StandardTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from dictionary_learning.training import trainSAE
from gate import Gate, asked

METHODS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "topk": (TopKTrainer, ("k",)),
    "batch_topk": (BatchTopKTrainer, ("k",)),
    "relu": (StandardTrainer, ()),
    "jumprelu": (JumpReluTrainer, ()),
}


def main() -> None:
    work = asked()
    kind, own = METHODS[work["method"]]
    made = []

    class Kept(kind):
        """So that what is trained can be scored."""

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            made.append(self)

    settings = {
        "trainer": Kept, "steps": 10**6, "activation_dim": work["d"], "dict_size": work["n"], "lr": work["lr"],
        "warmup_steps": 1, "layer": 0, "lm_name": "none", "device": work["device"], "seed": 0,
        **{name: work[name] for name in own},
    }  # fmt: skip
    if work["method"] == "relu":
        settings["sparsity_warmup_steps"] = 1
    gate = Gate(work, lambda x: made[0].ae(x))
    trainSAE(gate, [settings], steps=10**6, device=work["device"])


if __name__ == "__main__":
    main()
