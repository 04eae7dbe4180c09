"""The training loop: one step of one dictionary. Shapes: B batch, D width, F features, N vectors of a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.activations.batches import Downstream
from unweave.config import RunConfig
from unweave.dictionary.codes import fired, mean_l0
from unweave.dictionary.core import Dictionary, Step
from unweave.dictionary.initial import STARTS, centre
from unweave.dictionary.kernels import pairs
from unweave.dictionary.objective import OBJECTIVES
from unweave.dictionary.revive import REVIVALS
from unweave.schedule import grown
from unweave.training.device import device
from unweave.training.optimiser import Optimiser


class Trainer:
    """A dictionary on its way. step: optimiser steps done; silent: `[F]`, the vectors since each feature fired; device:
    where all of it is. What is drawn at random is drawn on the processor, so that a seed means the same everywhere."""

    def __init__(self, config: RunConfig, d_in: int, d_out: int | None = None) -> None:
        """d_out: the target's width, where a transcoder has one.

        Raises ValueError for a method, encoder, objective, revival, device or width that cannot be, for an end-to-end
        objective at joined sites, and for a backend that this machine is not made for.
        """
        self.config, self.device = config, device(config.training.device)
        pairs.check(config.training.backend, self.device)
        self.dictionary = Dictionary(
            d_in,
            config.d_sae,
            config.method,
            encoder=config.encoder,
            normalise=config.normalise,
            d_out=d_out,
            skip=config.skip,
            seed=config.seed,
        ).train()
        self.dictionary.b_dec.requires_grad_(config.b_dec != "none")
        start = STARTS.build(config.start)
        start(self.dictionary, torch.Generator().manual_seed(config.seed + 1))
        self.dictionary.to(self.device)
        self.objective, self.revival = OBJECTIVES.build(config.objective), REVIVALS.build(config.revive)
        at = config.target or config.site
        if self.objective.end_to_end and "+" in at:
            raise ValueError(
                f"{config.objective} puts its reconstruction into one site of the subject: at {at} "
                "the later can hide the earlier"
            )
        self.optimiser = Optimiser(self.dictionary, config.training)
        self.silent = torch.zeros(config.d_sae, dtype=torch.int64, device=self.device)
        self.step = 0

    @property
    def done(self) -> bool:
        return self.step >= self.config.training.steps

    @torch.no_grad()
    def fit_(self, sample: Tensor, target: Tensor | None = None) -> None:
        """Before the first step: normalisation and b_dec from `sample [N, D]`, and a transcoder's from the targets
        `[N, d_out]` of the same positions. Raises ValueError if not finite."""
        d, sample = self.dictionary, sample.to(self.device)
        self._check(sample)
        d.input.fit_(sample)
        if d.output is not None:
            target = self._target(target)
            self._check(target)
            d.output.fit_(target)
            d.b_dec.copy_(centre(d.output(target), self.config.b_dec))
        else:
            d.b_dec.copy_(centre(d.input(sample), self.config.b_dec))

    def update(
        self, x: Tensor, target: Tensor | None = None, downstream: Downstream | None = None
    ) -> dict[str, float | int] | None:
        """One step on `x [B, D]`, for a transcoder with its `target [B, d_out]`, for an end-to-end objective with what
        comes `downstream` of the site that is reconstructed, wherever these are. Every `log_every` steps, and at the
        last: what there is to report, else None.

        Raises ValueError for activations, FloatingPointError for a loss that is not finite.
        """
        x = x.to(self.device, non_blocking=True)
        d, c = self.dictionary, self.config.training
        with pairs.backend(c.backend):
            step = self.look(x, target, downstream)
            parts = self.parts(step)
        loss = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(loss):
            self._check(x)  # only now: of these no loss is finite
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.step}: try a learning rate below {c.lr}")
        loss.backward()
        self.optimiser.step(self.step)
        with torch.no_grad():
            for after in (*d.method.after_step, *self.revival.after_step):
                after(step)
            self.silent += len(x)
            self.silent[fired(step.codes)] = 0
        self.step += 1
        if self.done:
            self.optimiser.finish()
        if self.step % c.log_every and not self.done:
            return None
        return {
            "step": self.step,
            "loss": loss.item(),
            **{k: v.item() for k, v in parts.items()},
            **self._measure(step),
        }

    def look(self, x: Tensor, target: Tensor | None = None, downstream: Downstream | None = None) -> Step:
        """What the dictionary makes of `x [B, D]` at this step; otherwise as `update`."""
        x = x.to(self.device)
        d, normalised = self.dictionary, self.dictionary.input(x)
        codes, made = d.codes_and_pre(normalised)
        return Step(
            x=normalised,
            target=normalised if d.output is None else d.output(self._target(target)),
            codes=codes,
            made=made,
            x_hat=d.decode_normalised(codes, normalised),
            dictionary=d,
            silent=self.silent,
            number=self.step,
            steps=self.config.training.steps,
            distance=self.objective.through(downstream, lambda x_hat: d.undo(x_hat, x)),
            forget=self.optimiser.forget,
        )

    def _target(self, target: Tensor | None) -> Tensor:
        if target is None:
            raise ValueError(
                f"a transcoder to {self.config.target} learns from the activations there: they are missing"
            )
        return target.to(self.device, non_blocking=True)

    def parts(self, step: Step) -> dict[str, Tensor]:
        """What is minimised, part by part: scalars."""
        method, warm = self.dictionary.method, grown(step.progress, self.config.training.penalty_warmup)
        penalties = {name: (warm * weight, term) for name, (weight, term) in method.penalties.items()}
        terms = {**method.losses, **penalties, **self.revival.losses}
        return {name: weight * term(step) for name, (weight, term) in terms.items()}

    @torch.no_grad()
    def _measure(self, step: Step) -> dict[str, float]:
        error, spread = (step.x_hat - step.target).pow(2).sum(), (step.target - step.target.mean(0)).pow(2).sum()
        dead = (self.silent > self.revival.after).float().mean()
        return {"fvu": (error / spread).item(), "l0": mean_l0(step.codes), "dead": dead.item()}

    def _check(self, x: Tensor) -> None:
        if not x.abs().max().isfinite():  # a NaN is the largest of all; one pass, where isfinite on x makes four
            raise ValueError(
                f"NaN or infinite activations at {self.config.site} of {self.config.subject}, step {self.step}"
            )
