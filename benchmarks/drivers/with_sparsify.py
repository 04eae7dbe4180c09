"""sparsify's Trainer, as `fit` runs it, with Adam. It wants a language model: this one hands the gate's batches on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from gate import Gate, asked

torch.cuda.is_bf16_supported = lambda *arguments, **named: False  # else it encodes in bfloat16, and says so nowhere
from sparsify import SaeConfig, TrainConfig, Trainer  # noqa: E402
from torch import Tensor, nn  # noqa: E402


class Layer(nn.Module):
    """Hands on what it is given, as the layer whose output is learnt from."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Model(nn.Module):
    """`base_model.layer` puts out the gate's next batch, whatever tokens are asked about; the first call, in which the
    trainer looks how wide layers are, gets the first batch."""

    def __init__(self, gate: Gate, width: int) -> None:
        super().__init__()
        self.layer, self.gate, self.looked = Layer(), gate, False
        self.config = SimpleNamespace(hidden_size=width, num_hidden_layers=1)
        self.device, self.dtype, self.dummy_inputs = (
            gate.first.device,
            torch.float32,
            {"input_ids": torch.zeros(1, 1)},
        )

    @property
    def base_model(self) -> Model:
        return self

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        x = next(self.gate) if self.looked else self.gate.first[:1]
        self.looked = True
        return self.layer(x[None])


class Tokens:
    """As many rows as anybody asks for, of one sequence of the batch's length."""

    def __init__(self, length: int) -> None:
        self.row = {"input_ids": torch.zeros(length, dtype=torch.int64)}

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.row


def main() -> None:
    work = asked()
    assert work["method"] == "topk", "it has TopK alone"
    gate = Gate(work, lambda x: next(iter(trainer.saes.values()))(x).sae_out)
    steps = TrainConfig(
        SaeConfig(num_latents=work["n"], k=work["k"]), batch_size=1, optimizer="adam", lr=work["lr"],
        lr_warmup_steps=1, hookpoints=["layer"], log_to_wandb=False, save_every=10**9,
    )  # fmt: skip
    trainer = Trainer(steps, Tokens(work["batch"]), Model(gate, work["d"]))
    trainer.fit()


if __name__ == "__main__":
    main()
