"""Training what a dictionary writes once more, with what it reads as it is: against shrinkage.

A penalty on codes makes them too small, and what they rebuild too short; without it, the decoder makes up for that
(Wright & Sharkey 2024, "Addressing feature suppression in SAEs"; OpenMOSS 2024, report 003). Which features are active,
and how much, stays as it is. Shapes: B batch, D width, F features.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unweave.activations.batches import Downstream
from unweave.dictionary import Dictionary
from unweave.dictionary.codes import combine
from unweave.dictionary.objective import OBJECTIVES
from unweave.schedule import rate
from unweave.training.device import device
from unweave.training.optimisers import Adam


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """steps: of Adam, each on a batch as large as in training; lr: the peak of its learning rate, which rises over the
    first twentieth of the steps and falls to 0 over the second half; device: where, as `training.device`."""

    steps: int = 1000
    lr: float = 1e-3
    log_every: int = 50
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.log_every < 1:
            raise ValueError(f"steps and log_every must be at least 1, not {self.steps} and {self.log_every}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be above 0 and finite, not {self.lr}")


class Finetuner:
    """A trained dictionary whose decoder, with a scale for each feature and b_dec if it has one, is trained on the
    reconstruction alone. The scales end up in the decoder's rows, of which none is kept at any norm."""

    def __init__(self, dictionary: Dictionary, objective: str, settings: Finetuning, *, b_dec: bool) -> None:
        """objective: the run's; what else it lowered, penalties and revival, has no part here. b_dec: whether the
        dictionary has one.

        Raises ValueError for a method without an encoder, whose codes would change with the decoder, and for a device
        that is not there.
        """
        if dictionary.coder.reads_decoder:
            raise ValueError(
                f"{dictionary.call} reads inputs along its decoder's rows: its codes cannot stay as they are while "
                "these are trained"
            )
        self.settings, self.objective = settings, OBJECTIVES.build(objective)
        self.device = device(settings.device)
        self.frozen = copy.deepcopy(dictionary).to(self.device).eval().requires_grad_(False)
        rows = self.frozen.W_dec
        self.W_dec, self.scale = nn.Parameter(rows.clone()), nn.Parameter(rows.new_ones(len(rows)))
        self.moved = nn.Parameter(torch.zeros_like(self.frozen.b_dec))  # in units of `size`
        trained = [self.W_dec, self.scale, *([self.moved] if b_dec else [])]
        self.inner = Adam(trained, settings.lr)
        self.size, self.step = 0.0, 0

    @property
    def done(self) -> bool:
        return self.step >= self.settings.steps

    @property
    def rows(self) -> Tensor:
        """`[F, D]`: what each feature writes."""
        return self.scale[:, None] * self.W_dec

    def update(
        self, x: Tensor, target: Tensor | None = None, downstream: Downstream | None = None
    ) -> dict[str, float | int] | None:
        """One step on `x [B, D]`; target and downstream as a `Trainer` takes them, wherever they are. Every `log_every`
        steps, and at the last, what there is to report. Raises FloatingPointError for a loss that is not finite."""
        d, s, x = self.frozen, self.settings, x.to(self.device, non_blocking=True)
        normalised = d.input(x)
        wanted = normalised if d.output is None or target is None else d.output(target.to(self.device))
        if not self.size:
            self.size = wanted.pow(2).mean().sqrt().item()
        x_hat = combine(d.encode_normalised(normalised), self.rows) + d.b_dec + self.size * self.moved
        if d.W_skip is not None:
            x_hat = x_hat + normalised @ d.W_skip
        loss = self.objective.through(downstream, lambda y: d.undo(y, x))(x_hat, wanted)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.step}: try a learning rate below {s.lr}")
        loss.backward()
        self.inner.lr = s.lr * rate(self.step, s.steps, s.steps // 20, 0.5)
        self.inner.step()
        self.inner.zero_grad()
        self.step += 1
        if self.step % s.log_every and not self.done:
            return None
        with torch.no_grad():
            error, spread = (x_hat - wanted).pow(2).sum(), (wanted - wanted.mean(0)).pow(2).sum()
            ratio = (x_hat.norm(dim=1) / wanted.norm(dim=1)).mean()
        fvu = (error / spread).item()
        return {"step": self.step, "loss": loss.item(), "fvu": fvu, "l2_ratio": ratio.item()}

    @torch.no_grad()
    def finish(self) -> Dictionary:
        """The dictionary as it is now, in the form in which it came, on the processor."""
        made = copy.deepcopy(self.frozen).requires_grad_(True)
        made.W_dec.copy_(self.rows)
        by = self.size * self.moved
        made.b_dec.add_(by)
        if not made.transcodes:  # what reads begins at b_dec: it must not notice
            made.coder.follow_(by)
            made.lift.follow_(by)
        return made.cpu()
