"""Reading and editing a GPT, held against a slow forward pass written out here."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from unweave.subject import GPT, GPTConfig, Subject, sites

CONFIG = GPTConfig(n_layers=3, d_model=16, n_heads=4, n_positions=10, n_tokens=7)


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(CONFIG)
    with torch.no_grad():  # initial biases and LayerNorms are zeros and ones, which would hide mistakes
        for p in model.parameters():
            p += 0.3 * torch.randn_like(p)
    return model.requires_grad_(False)


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(7, (5, 9), generator=torch.Generator().manual_seed(1))


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def plain_forward(model: GPT, tokens: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Every site and the logits, one head and one query at a time."""
    w, seen = model.state_dict(), {}
    x = seen["embed"] = w["embed.weight"][tokens] + w["positions"][: tokens.shape[1]]
    d_head = CONFIG.d_model // CONFIG.n_heads
    for layer in range(CONFIG.n_layers):
        p = {k.removeprefix(f"blocks.{layer}."): v for k, v in w.items() if k.startswith(f"blocks.{layer}.")}
        seen[f"resid_pre.{layer}"] = x
        n = layer_norm(x, p["ln_1.weight"], p["ln_1.bias"])
        q, k, v = (n @ p[f"{name}.weight"].T + p[f"{name}.bias"] for name in ("query", "key", "value"))
        heads = torch.zeros_like(x)
        for h in range(CONFIG.n_heads):
            part = slice(h * d_head, (h + 1) * d_head)
            for s in range(tokens.shape[1]):
                score = (k[:, : s + 1, part] * q[:, s : s + 1, part]).sum(-1) / math.sqrt(d_head)
                attention = score.exp() / score.exp().sum(-1, keepdim=True)
                heads[:, s, part] = (attention.unsqueeze(-1) * v[:, : s + 1, part]).sum(1)
        seen[f"head_out.{layer}"] = heads
        seen[f"attn_out.{layer}"] = heads @ p["out.weight"].T + p["out.bias"]
        x = seen[f"resid_mid.{layer}"] = x + seen[f"attn_out.{layer}"]
        m = seen[f"mlp_in.{layer}"] = layer_norm(x, p["ln_2.weight"], p["ln_2.bias"])
        h = m @ p["up.weight"].T + p["up.bias"]
        act = seen[f"mlp_act.{layer}"] = h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))
        seen[f"mlp_out.{layer}"] = act @ p["down.weight"].T + p["down.bias"]
        x = seen[f"resid_post.{layer}"] = x + seen[f"mlp_out.{layer}"]
    return seen, layer_norm(x, w["ln_final.weight"], w["ln_final.bias"]) @ w["head.weight"].T


def test_is_a_subject(model: GPT) -> None:
    assert isinstance(model, Subject)
    assert model.n_positions == 10
    assert model.alphabet.size == 7


def test_every_site_equals_the_plain_forward(model: GPT, tokens: Tensor) -> None:
    expected, logits = plain_forward(model, tokens)
    read = model.read(tokens, list(model.sites()))
    assert list(read) == list(model.sites())
    assert set(read) == set(expected)
    for site, width in model.sites().items():
        assert isinstance(read[site], Float[Tensor, f"5 9 {width}"]), site
        torch.testing.assert_close(read[site], expected[site], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.run(tokens), logits, rtol=1e-4, atol=1e-5)


def test_sites_are_listed_in_the_order_of_the_forward_pass(model: GPT, tokens: Tensor) -> None:
    passed: list[str] = []
    model(tokens, lambda site, x: (passed.append(site), x)[1])
    assert passed == list(model.sites())


@pytest.mark.parametrize(("site", "blocks"), [("embed", 0), ("resid_pre.0", 1), ("mlp_act.0", 1), ("resid_mid.2", 3)])
def test_read_goes_no_further_than_the_last_site(model: GPT, tokens: Tensor, site: str, blocks: int) -> None:
    entered, finished = [], []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda *_: entered.append(1))
        block.register_forward_hook(lambda *_: finished.append(1))
    model.read(tokens, ["embed", site])
    assert len(entered) == blocks
    assert len(finished) == max(0, blocks - 1)  # the last is left in its middle


def test_read_stops_before_what_follows_inside_a_block(model: GPT, tokens: Tensor) -> None:
    ran = []
    model.blocks[1].up.register_forward_hook(lambda *_: ran.append(1))  # type: ignore[union-attr]
    model.read(tokens, ["resid_mid.1"])
    assert not ran
    model.read(tokens, ["mlp_act.1"])
    assert ran


def test_read_understands_transformer_lens_and_answers_under_the_name_asked_for(model: GPT, tokens: Tensor) -> None:
    both = model.read(tokens, ["blocks.1.hook_resid_post", "resid_post.1"])
    assert set(both) == {"blocks.1.hook_resid_post", "resid_post.1"}
    assert both["blocks.1.hook_resid_post"] is both["resid_post.1"]
    assert model.read(tokens, []) == {}


def test_read_has_no_gradient_and_run_has_the_callers(model: GPT, tokens: Tensor) -> None:
    model.requires_grad_(True)
    assert not model.read(tokens, ["resid_post.2"])["resid_post.2"].requires_grad
    assert model.run(tokens).requires_grad
    with torch.no_grad():
        assert not model.run(tokens).requires_grad
    model.requires_grad_(False)
    push = torch.zeros(16, requires_grad=True)
    model.run(tokens, {"resid_post.1": lambda x: x + push}).logsumexp(-1).sum().backward()
    assert push.grad is not None
    assert push.grad.abs().sum() > 0


@pytest.mark.parametrize("site", sites.widths(3, 16, 64))
def test_an_edit_stands_at_its_site_and_identity_changes_nothing(model: GPT, tokens: Tensor, site: str) -> None:
    logits = model.run(tokens)
    assert torch.equal(model.run(tokens, {site: lambda x: x}), logits)
    seen = []
    changed = model.run(tokens, {site: lambda x: (seen.append(x), torch.zeros_like(x))[1]})
    assert torch.equal(seen[0], model.read(tokens, [site])[site])
    assert not torch.allclose(changed, logits)


@pytest.mark.parametrize("kind", ["resid_pre", "resid_post"])
def test_another_runs_stream_gives_that_runs_logits(model: GPT, tokens: Tensor, kind: str) -> None:
    other = tokens.flip(0)
    for layer in range(3):
        site = f"{kind}.{layer}"
        there = model.read(other, [site])[site]
        assert torch.equal(model.run(tokens, {site: lambda _, there=there: there}), model.run(other))


@pytest.mark.parametrize("site", ["embed", "resid_pre.1", "resid_mid.1", "resid_post.1"])
def test_sequences_of_one_stream_are_run_once_and_those_with_a_gradient_each(
    model: GPT, tokens: Tensor, site: str
) -> None:
    ran, stream = [], torch.randn(tokens.shape[1], 16)
    expected = model(tokens, lambda at, x: stream.expand_as(x) if at == site else x)
    model.blocks[2].register_forward_hook(lambda _, __, out: ran.append(len(out)))
    torch.testing.assert_close(model.run(tokens, {site: lambda x: stream.expand_as(x)}), expected)
    each = stream.repeat(len(tokens), 1, 1).requires_grad_()
    model.run(tokens, {site: lambda _: each}).square().sum().backward()
    assert ran == [1, len(tokens)]
    assert each.grad is not None
    torch.testing.assert_close(each.grad, each.grad[:1].expand_as(each))
    model.run(tokens, {site: lambda x: stream.expand_as(x), "mlp_in.2": lambda x: x.flip(0)})  # edited again after it
    assert ran[2] == len(tokens)


def test_zeroing_a_contribution_equals_a_model_without_it(model: GPT, tokens: Tensor) -> None:
    silenced = {"attn_out": ("out.weight", "out.bias"), "mlp_out": ("down.weight", "down.bias")}
    for kind, names in silenced.items():
        without = GPT(CONFIG)
        without.load_state_dict(
            {k: v * 0 if k in [f"blocks.1.{n}" for n in names] else v for k, v in model.state_dict().items()}
        )
        edited = model.run(tokens, {f"{kind}.1": torch.zeros_like})
        torch.testing.assert_close(edited, plain_forward(without, tokens)[1], rtol=1e-4, atol=1e-5)


def test_edits_in_the_middle_of_a_block_equal_their_recomputation(model: GPT, tokens: Tensor) -> None:
    w, seen = model.state_dict(), plain_forward(model, tokens)[0]
    act = seen["mlp_act.2"].clamp(min=0)
    x = seen["resid_mid.2"] + act @ w["blocks.2.down.weight"].T + w["blocks.2.down.bias"]
    expected = layer_norm(x, w["ln_final.weight"], w["ln_final.bias"]) @ w["head.weight"].T
    edited = model.run(tokens, {"mlp_act.2": lambda x: x.clamp(min=0)})
    torch.testing.assert_close(edited, expected, rtol=1e-4, atol=1e-5)
    flipped = model.run(tokens, {"mlp_in.2": lambda x: -x})
    h = -seen["mlp_in.2"] @ w["blocks.2.up.weight"].T + w["blocks.2.up.bias"]
    out = torch.nn.functional.gelu(h) @ w["blocks.2.down.weight"].T + w["blocks.2.down.bias"]
    x = seen["resid_mid.2"] + out
    expected = layer_norm(x, w["ln_final.weight"], w["ln_final.bias"]) @ w["head.weight"].T
    torch.testing.assert_close(flipped, expected, rtol=1e-4, atol=1e-5)


def test_bad_input_is_refused_in_a_sentence(model: GPT, tokens: Tensor) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'resid_post\.1'"):
        model.read(tokens, ["resid_pots.1"])
    with pytest.raises(ValueError, match=r"has 3 layers, mlp_out\.0 to mlp_out\.2"):
        model.run(tokens, {"mlp_out.3": lambda x: x})
    with pytest.raises(ValueError, match=r"made \[5, 9, 4\] of \[5, 9, 16\]"):
        model.run(tokens, {"resid_post.0": lambda x: x[..., :4]})
    with pytest.raises(ValueError, match="two edits at one site"):
        model.run(tokens, {"resid_post.0": lambda x: x, "blocks.0.hook_resid_post": lambda x: x})
    with pytest.raises(ValueError, match=r"outside 0\.\.6"):
        model.read(tokens + 3, ["embed"])
    with pytest.raises(ValueError, match="11 tokens in a row: this model has 10"):
        model.run(torch.zeros(1, 11, dtype=torch.int64))
    with pytest.raises(ValueError, match="d_model 16 is not a multiple of n_heads 5"):
        GPTConfig(d_model=16, n_heads=5)
    with pytest.raises(ValueError, match="n_layers must be at least 1"):
        GPTConfig(n_layers=0)
