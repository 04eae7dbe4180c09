"""What a feature adds to the logits, against what it adds to those of the model itself."""

from __future__ import annotations

import pytest
import tiny_subject
import torch
from tiny_models import MODELS, ids, subject_of
from torch import nn

from unweave.dashboards.effects import _linear, effects
from unweave.othello.tokens import SIZE
from unweave.rows import Rows
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.huggingface import HuggingFace

W = 16


@pytest.fixture
def subject() -> GPT:
    torch.manual_seed(1)
    model = GPT(GPTConfig(n_layers=2, d_model=W, n_heads=2, n_tokens=SIZE))
    for weight in model.parameters():
        weight.data.mul_(8)
    model.ln_final.weight.data.uniform_(0.5, 2)
    model.ln_final.bias.data.normal_()
    return model.requires_grad_(False)


@pytest.fixture
def rows() -> Rows:
    return tiny_subject.rows(torch.randint(1, SIZE, (6, 10), generator=torch.Generator().manual_seed(0)))


def expected(subject: GPT, rows: Rows, added: torch.Tensor) -> torch.Tensor:
    """What the logits become, less what they were, when the stream has more in it and the norm's scale stays: mean over
    positions. added: `[F, G, S, W]`, of a small size."""
    x = subject.read(rows.tokens, ["resid_post.1"])["resid_post.1"]
    scale = x.var(-1, correction=0).sqrt().mean()

    def logits(y: torch.Tensor) -> torch.Tensor:
        return ((y - y.mean(-1, keepdim=True)) / scale * subject.ln_final.weight) @ subject.head.weight.T

    change = (logits(x + added) - logits(x)).flatten(1, 2).mean(1)
    return change - change.mean(-1, keepdim=True)


@pytest.mark.parametrize("site", ["resid_post.1", "resid_pre.0", "attn_out.1", "embed"])
def test_what_is_written_into_the_stream_goes_through_norm_and_unembedding(site: str, subject: GPT, rows: Rows) -> None:
    found = effects(subject, site, rows, slice(None))
    assert found is not None
    W_dec = torch.randn(5, W)
    added = W_dec[:, None, None].expand(-1, *rows.tokens.shape, -1)
    torch.testing.assert_close(found.of(W_dec), expected(subject, rows, added), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("site", "width"), [("mlp_in.1", W), ("mlp_act.0", 4 * W), ("head_out.1", W)])
def test_what_is_written_in_a_branch_goes_through_the_rest_of_it(
    site: str, width: int, subject: GPT, rows: Rows
) -> None:
    found = effects(subject, site, rows, slice(None))
    assert found is not None
    W_dec, small = torch.randn(5, width), 1e-2
    block = subject.blocks[int(site[-1])]
    x = subject.read(rows.tokens, [site])[site].double()
    tail = {
        "mlp_in": lambda v: block.down.double()(nn.functional.gelu(block.up.double()(v))),
        "mlp_act": block.down.double(),
        "head_out": block.out.double(),
    }[site[:-2]]
    added = torch.stack(
        [(tail(x + small * row.double()) - tail(x - small * row.double())) / 2 / small for row in W_dec]
    )
    for module in (block.up, block.down, block.out):
        module.float()
    torch.testing.assert_close(found.of(W_dec), expected(subject, rows, added.float()), rtol=2e-2, atol=2e-3)


def test_some_sites_have_no_direct_way(subject: GPT, rows: Rows) -> None:
    assert effects(subject, "resid_post.0+resid_post.1", rows, slice(None)) is None

    class Closed:
        alphabet, n_positions = subject.alphabet, 10
        sites, read, run = subject.sites, subject.read, subject.run

    assert effects(Closed(), "resid_post.0", rows, slice(None)) is None


class RMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(W) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.pow(2).mean(-1, keepdim=True).sqrt() * self.weight


def test_norms_are_told_apart() -> None:
    x = 3 * torch.randn(100, W) + 1
    layer = nn.LayerNorm(W)
    layer.weight.data.uniform_(0.5, 2)
    layer.bias.data.normal_()
    with torch.no_grad():
        weight, scale, centred = _linear(layer, x)
        assert centred
        torch.testing.assert_close(weight, layer.weight.detach(), rtol=1e-3, atol=1e-4)
        assert scale == pytest.approx(float(x.var(1, correction=0).sqrt().mean()))
        rms = RMSNorm()
        weight, scale, centred = _linear(rms, x)
        assert not centred
        torch.testing.assert_close(weight, rms.weight.detach())
        assert scale == pytest.approx(float(x.pow(2).mean(1).sqrt().mean()))


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt", "mamba", "gpt_neox"])
def test_models_of_transformers(name: str) -> None:
    subject = subject_of(name)
    rows = tiny_subject.rows(ids())
    found = effects(subject, "resid_post.1", rows, slice(None))
    assert found is not None
    norm, head = subject.model.get_submodule(MODELS[name].final), subject.unembedding
    x = subject.read(rows.tokens, ["resid_post.1"])["resid_post.1"][rows.learn]
    centred = isinstance(norm, nn.LayerNorm)
    scale = (x - x.mean(1, keepdim=True) if centred else x).pow(2).mean(1).sqrt().mean()
    W_dec = torch.randn(3, x.shape[1])
    written = (W_dec - W_dec.mean(1, keepdim=True) if centred else W_dec) / scale * norm.weight @ head.T
    torch.testing.assert_close(found.of(W_dec), written - written.mean(1, keepdim=True), rtol=1e-3, atol=1e-4)


def test_a_model_that_does_more_to_its_logits_has_no_direct_effects() -> None:
    rows = tiny_subject.rows(ids())
    assert effects(subject_of("bert"), "resid_post.1", rows, slice(None)) is None
    capped = HuggingFace(MODELS["gemma2"].build())
    capped.model.config.final_logit_softcapping = 0.1
    assert effects(capped, "resid_post.1", rows, slice(None)) is None
