"""A mixture of experts, held against its router and experts written out here, one position at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import MODELS, D, block, ids, subject_of
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from unweave.subject.huggingface import HuggingFace

E, K = 4, 2


@pytest.fixture
def subject() -> HuggingFace:
    return subject_of("mixtral")


def mixed(x: Tensor, logits: Tensor, experts: Any) -> Tensor:
    """`[B, S, E, D]`: what each expert adds at each position, where `logits [B, S, E]` say which do."""
    parts = torch.zeros(*x.shape[:2], E, D)
    for b in range(x.shape[0]):
        for s in range(x.shape[1]):
            best = sorted(range(E), key=lambda e: -float(logits[b, s, e]))[:K]
            total = sum(logits[b, s, e].exp() for e in best)
            for e in best:
                gate, up = (experts.gate_up_proj[e] @ x[b, s]).chunk(2)
                parts[b, s, e] = logits[b, s, e].exp() / total * (experts.down_proj[e] @ (F.silu(gate) * up))
    return parts


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
def test_router_and_experts_are_as_written_out(subject: HuggingFace, implementation: str) -> None:
    if implementation != "eager":  # what is used where nothing is said
        config = {k: v for k, v in MODELS["mixtral"].config.items() if k != "experts_implementation"}
        other = MODELS["mixtral"].__class__("MixtralForCausalLM", config, "model.norm")
        subject = HuggingFace(other.build())
    found = subject.read(ids(), [f"{kind}.1" for kind in ("mlp_in", "router", "expert_out", "mlp_out")])
    x, logits, parts, out = found.values()
    moe: Any = block("mixtral", 1).mlp
    assert_close(logits, x @ moe.gate.weight.T)
    expected = mixed(x, logits, moe.experts)
    assert_close(parts.unflatten(-1, (E, D)), expected)
    assert_close(out, expected.sum(2))
    assert ((parts.unflatten(-1, (E, D)) != 0).any(-1).sum(-1) == K).all()


def test_other_logits_choose_and_weigh_other_experts(subject: HuggingFace) -> None:
    x = subject.read(ids(), ["mlp_in.1"])["mlp_in.1"]
    logits = subject.read(ids(2), ["router.1"])["router.1"] * 2
    expected = mixed(x, logits, block("mixtral", 1).mlp.experts).sum(2)
    assert_close(
        subject.run(ids(), {"router.1": lambda _: logits}), subject.run(ids(), {"mlp_out.1": lambda _: expected})
    )


def test_an_expert_can_be_silenced(subject: HuggingFace) -> None:
    parts = subject.read(ids(), ["expert_out.0"])["expert_out.0"].unflatten(-1, (E, D))
    assert (parts[:, :, 0] != 0).any()
    without = parts[:, :, 1:].sum(2)

    def silence(x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x[..., :D]), x[..., D:]], -1)

    assert_close(subject.run(ids(), {"expert_out.0": silence}), subject.run(ids(), {"mlp_out.0": lambda _: without}))
