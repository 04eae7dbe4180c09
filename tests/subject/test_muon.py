"""Muon against torch's own, which works in bfloat16."""

from __future__ import annotations

import pytest
import torch

from unweave.subject.muon import Muon, orthogonalise

SHAPES = [(24, 24), (16, 64), (64, 16)]


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonalise_brings_singular_values_near_one_and_keeps_the_vectors(shape: tuple[int, int]) -> None:
    m = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, vh = torch.linalg.svd(m, full_matrices=False)
    moved = u.T @ orthogonalise(m) @ vh.T
    reached = moved.diagonal()[s > 0.02 * m.norm()]  # what is far smaller than the rest takes more than five rounds
    assert len(reached) > 0.9 * len(s)
    assert reached.min() > 0.6
    assert reached.max() < 1.3
    assert (moved - torch.diag(moved.diagonal())).abs().max() < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_equal_those_of_torch(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start, ours, theirs = (
        torch.randn(shape),
        torch.nn.Parameter(torch.empty(shape)),
        torch.nn.Parameter(torch.empty(shape)),
    )
    ours.data, theirs.data = start.clone(), start.clone()
    a = Muon([ours], lr=0.1, weight_decay=0.1)
    b = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        a.step()
        b.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved  # bfloat16 has eight bits


def test_a_stack_is_many_matrices() -> None:
    torch.manual_seed(0)
    start, gradient = torch.randn(3, 16, 64), torch.randn(3, 16, 64)
    stack, each = torch.nn.Parameter(start.clone()), [torch.nn.Parameter(m.clone()) for m in start]
    stack.grad = gradient
    for p, g in zip(each, gradient, strict=True):
        p.grad = g
    Muon([stack], lr=0.1, weight_decay=0.1).step()
    Muon(each, lr=0.1, weight_decay=0.1).step()
    assert torch.equal(stack, torch.stack([*each]))


def test_what_has_no_gradient_stays() -> None:
    p = torch.nn.Parameter(torch.ones(3, 3))
    Muon([p], lr=1.0, weight_decay=0.5).step()
    assert torch.equal(p, torch.ones(3, 3))
