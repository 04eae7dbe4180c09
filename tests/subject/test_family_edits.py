"""An edit at a site does to every family what standing there means: held against edits elsewhere that must do the same,
against runs that are as the edit makes this one, and against differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny_models import MODELS, PARALLEL, block, built, ids, subject_of
from torch import Tensor
from torch.testing import assert_close

from unweave.subject.huggingface import HuggingFace
from unweave.subject.sites import KINDS, OTHER_KINDS

Edits = dict[str, Callable[[Tensor], Tensor]]


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def subject(name: str) -> HuggingFace:
    return subject_of(name)


def named(subject: HuggingFace) -> list[str]:
    return [site for site in subject.sites() if site == "embed" or site.partition(".")[0] in KINDS + OTHER_KINDS]


def put(**values: Tensor) -> Edits:
    """Edits of block 0 that put fixed values in."""
    return {f"{kind}.0": lambda _, x=x: x for kind, x in values.items()}


def read(subject: HuggingFace, seed: int) -> dict[str, Tensor]:
    """By kind, the sites of block 0."""
    sites = [site for site in named(subject) if site.endswith(".0")]
    return {site.removesuffix(".0"): x for site, x in subject.read(ids(seed), sites).items()}


def test_identity_changes_nothing(subject: HuggingFace) -> None:
    same = {site: lambda x: x for site in subject.sites()}
    assert_close(subject.run(ids(), same), subject.run(ids()))


def test_an_edit_sees_what_reading_shows_and_matters(name: str, subject: HuggingFace) -> None:
    logits = subject.run(ids())
    sites = list(subject.sites()) if name in ("bert", "falcon", "mixtral") else named(subject)
    here, elsewhere = subject.read(ids(), sites), subject.read(ids(2), sites)
    for site in sites:
        there, seen = elsewhere[site] * 1.5, []
        kept = there.clone()
        changed = subject.run(ids(), {site: lambda x, there=there, seen=seen: (seen.append(x), there)[1]})
        assert len(seen) == 1
        assert torch.equal(seen[0], here[site]), site
        assert torch.equal(there, kept), f"{site}: the model wrote into the caller's tensor"
        if not site.endswith(".gate"):  # what Mixtral's router returns first, nobody reads
            assert not torch.allclose(changed, logits), site


def test_another_runs_stream_gives_that_runs_logits(subject: HuggingFace) -> None:
    expected = subject.run(ids(2))
    stream = [site for site in named(subject) if site == "embed" or site.startswith("resid")]
    for site, there in subject.read(ids(2), stream).items():
        assert torch.equal(subject.run(ids(), {site: lambda _, there=there: there}), expected), site


def test_an_edit_of_a_contribution_shifts_the_stream(name: str, subject: HuggingFace) -> None:
    """Another run's attn_out, mlp_out or mixer_out is the stream that has it added."""
    a, b = read(subject, 1), read(subject, 2)
    norms = [block(name, 0).get_submodule(norm) for norm in MODELS[name].post or ()] or [torch.nn.Identity()] * 2

    def same(one: Edits, two: Edits) -> None:
        assert_close(subject.run(ids(), one), subject.run(ids(), two))
        assert not torch.allclose(subject.run(ids(), one), subject.run(ids()))

    if name == "mamba":
        return same(put(mixer_out=b["mixer_out"]), put(resid_post=a["resid_pre"] + b["mixer_out"]))
    if name in PARALLEL:
        side_by_side = a["resid_pre"] + b["attn_out"] + a["mlp_out"]
        same(put(attn_out=b["attn_out"]), put(resid_post=side_by_side))
        return same(put(mlp_out=b["mlp_out"]), put(resid_post=a["resid_pre"] + a["attn_out"] + b["mlp_out"]))
    same(put(attn_out=b["attn_out"]), put(resid_mid=norms[0](a["resid_pre"] + b["attn_out"])))
    return same(put(mlp_out=b["mlp_out"]), put(resid_post=norms[1](a["resid_mid"] + b["mlp_out"])))


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"mamba"}))
def test_an_edit_before_a_contribution_makes_that_contribution(subject: HuggingFace) -> None:
    """What the heads read decides alone what attention adds, and what the MLP reads, or its neurons are, what the MLP
    adds: nothing else of the model sees an edit there."""
    b = read(subject, 2)
    for kind in ("head_out", "mlp_in", "mlp_act", "expert_out"):
        if kind in b:
            made = "attn_out" if kind == "head_out" else "mlp_out"
            assert_close(subject.run(ids(), put(**{kind: b[kind]})), subject.run(ids(), put(**{made: b[made]})))


def test_edits_meet_in_the_order_of_the_forward_pass(subject: HuggingFace) -> None:
    seen: list[str] = []
    sites = list(subject.sites())

    def note(site: str) -> Callable[[Tensor], Tensor]:
        return lambda x: (seen.append(site), x)[1]

    subject.run(ids(), {site: note(site) for site in reversed(sites)})
    assert seen == sites
    twice = {"embed": lambda x: x + 1, "resid_pre.0": lambda x: x * 2}
    once = subject.run(ids(), {"resid_pre.0": lambda x: (x + 1) * 2})
    assert torch.equal(subject.run(ids(), twice), once)
    after = {"resid_post.0": lambda x: x + 1, "resid_pre.1": lambda x: x * 2}
    assert torch.equal(subject.run(ids(), after), subject.run(ids(), {"resid_pre.1": lambda x: (x + 1) * 2}))


@pytest.mark.parametrize(
    "name", sorted(set(MODELS) - {"gemma", "mistral", "qwen2", "qwen3", "roberta"})
)  # as others are
def test_the_gradient_of_an_edit_is_the_slope(name: str) -> None:
    """Also of one that keeps what it was given for its gradient, which writing in place could spoil."""
    subject = HuggingFace(MODELS[name].build().double())
    weigh = torch.randn(3, 7, 23, dtype=torch.float64)
    for site in ("embed", *(site for site in named(subject) if site.endswith(".0"))):
        push = torch.randn(subject.sites()[site], dtype=torch.float64)

        def score(t: Tensor, site: str = site, push: Tensor = push) -> Tensor:
            return (subject.run(ids(), {site: lambda x: x + x * t + t * push}) * weigh).sum()

        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        score(t).backward()
        with torch.no_grad():
            slope = (score(torch.tensor(1e-3)) - score(torch.tensor(-1e-3))) / 2e-3  # parts of it are in float32
        assert t.grad is not None
        assert t.grad.item() == pytest.approx(slope.item(), rel=0.01, abs=0.05), site
    assert not any(weight.requires_grad or weight.grad is not None for weight in subject.model.parameters())


def test_an_error_leaves_no_hook_behind(name: str, subject: HuggingFace) -> None:
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in built(name).modules())

    def broken(_x: Tensor) -> Tensor:
        raise ZeroDivisionError

    before = hooks()
    for site in ("embed", "resid_post.1"):
        with pytest.raises(ZeroDivisionError):
            subject.run(ids(), {site: broken, "resid_pre.1": lambda x: x})
        with pytest.raises(ValueError, match=rf"the edit at {site} made \[3, 7, 1\] of \[3, 7, 16\]"):
            subject.run(ids(), {site: lambda x: x[..., :1]})
        subject.read(ids(), [site])
    assert hooks() == before
