"""OthelloGPTs in minGPT's and TransformerLens's formats, against each convention's forward pass written out here."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from unweave import files
from unweave.subject import load
from unweave.subject.othello import ALPHABET, othellogpt

V, P, D, H, L = 61, 12, 16, 4, 2
Weights = dict[str, Tensor]


def draw(*shape: int) -> Tensor:
    return 0.3 * torch.randn(shape)


def mingpt_weights() -> Weights:
    torch.manual_seed(0)
    w = {"tok_emb.weight": draw(V, D), "pos_emb": draw(1, P, D), "head.weight": draw(V, D)}
    for norm in ["ln_f"] + [f"blocks.{i}.ln{j}" for i in range(L) for j in (1, 2)]:
        w |= {f"{norm}.weight": 1 + draw(D), f"{norm}.bias": draw(D)}
    for i in range(L):
        w[f"blocks.{i}.attn.mask"] = torch.tril(torch.ones(1, 1, P, P))
        for name in ("key", "query", "value", "proj"):
            w |= {f"blocks.{i}.attn.{name}.weight": draw(D, D), f"blocks.{i}.attn.{name}.bias": draw(D)}
        w |= {f"blocks.{i}.mlp.0.weight": draw(4 * D, D), f"blocks.{i}.mlp.0.bias": draw(4 * D)}
        w |= {f"blocks.{i}.mlp.2.weight": draw(D, 4 * D), f"blocks.{i}.mlp.2.bias": draw(D)}
    return w


def mingpt_forward(w: Weights, ids: Tensor) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (D,), w[f"{name}.weight"], w[f"{name}.bias"])

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    b, s = ids.shape
    x = w["tok_emb.weight"][ids] + w["pos_emb"][:, :s]
    for i in range(L):
        n = norm(x, f"blocks.{i}.ln1")
        q, k, v = (
            linear(n, f"blocks.{i}.attn.{name}").view(b, s, H, D // H).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(D // H)
        scores = scores.masked_fill(w[f"blocks.{i}.attn.mask"][:, :, :s, :s] == 0, -math.inf)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, s, D)
        x = x + linear(y, f"blocks.{i}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"blocks.{i}.ln2"), f"blocks.{i}.mlp.0")), f"blocks.{i}.mlp.2")
    return norm(x, "ln_f") @ w["head.weight"].T


def lens_weights() -> Weights:
    torch.manual_seed(0)
    w = {
        "embed.W_E": draw(V, D),
        "pos_embed.W_pos": draw(P, D),
        "unembed.W_U": draw(D, V),
        "unembed.b_U": torch.zeros(V),
    }
    for norm in ["ln_final"] + [f"blocks.{i}.ln{j}" for i in range(L) for j in (1, 2)]:
        w |= {f"{norm}.w": 1 + draw(D), f"{norm}.b": draw(D)}
    for i in range(L):
        at, mlp = f"blocks.{i}.attn", f"blocks.{i}.mlp"
        w |= {f"{at}.W_{x}": draw(H, D, D // H) for x in "QKV"} | {f"{at}.b_{x}": draw(H, D // H) for x in "QKV"}
        w |= {f"{at}.W_O": draw(H, D // H, D), f"{at}.b_O": draw(D)}
        w |= {f"{at}.mask": torch.tril(torch.ones(P, P)).bool(), f"{at}.IGNORE": torch.tensor(-1e5)}
        w |= {f"{mlp}.W_in": draw(D, 4 * D), f"{mlp}.b_in": draw(4 * D)}
        w |= {f"{mlp}.W_out": draw(4 * D, D), f"{mlp}.b_out": draw(D)}
    return w


def fold(w: Weights) -> Weights:
    """LayerNorm weights and biases into the matrices that follow, writing matrices and head centred, value biases
    moved: what TransformerLens does to a model when it loads it."""
    w = dict(w)
    for i in range(L):
        at, mlp = f"blocks.{i}.attn", f"blocks.{i}.mlp"
        weight, bias = w.pop(f"blocks.{i}.ln1.w"), w.pop(f"blocks.{i}.ln1.b")
        for x in "QKV":
            w[f"{at}.b_{x}"] = w[f"{at}.b_{x}"] + torch.einsum("d,hdk->hk", bias, w[f"{at}.W_{x}"])
            w[f"{at}.W_{x}"] = weight[:, None] * w[f"{at}.W_{x}"]
            w[f"{at}.W_{x}"] = w[f"{at}.W_{x}"] - w[f"{at}.W_{x}"].mean(1, keepdim=True)
        w[f"{at}.b_O"] = w[f"{at}.b_O"] + torch.einsum("hk,hkd->d", w[f"{at}.b_V"], w[f"{at}.W_O"])
        w[f"{at}.b_V"] = torch.zeros(H, D // H)
        weight, bias = w.pop(f"blocks.{i}.ln2.w"), w.pop(f"blocks.{i}.ln2.b")
        w[f"{mlp}.b_in"] = w[f"{mlp}.b_in"] + bias @ w[f"{mlp}.W_in"]
        w[f"{mlp}.W_in"] = weight[:, None] * w[f"{mlp}.W_in"]
        for name in (f"{at}.W_O", f"{at}.b_O", f"{mlp}.W_out", f"{mlp}.b_out"):
            w[name] = w[name] - w[name].mean(-1, keepdim=True)
    for name in ("embed.W_E", "pos_embed.W_pos"):
        w[name] = w[name] - w[name].mean(-1, keepdim=True)
    weight, bias = w.pop("ln_final.w"), w.pop("ln_final.b")
    w["unembed.b_U"] = w["unembed.b_U"] + bias @ w["unembed.W_U"]
    w["unembed.W_U"] = weight[:, None] * w["unembed.W_U"]
    w["unembed.W_U"] = w["unembed.W_U"] - w["unembed.W_U"].mean(-1, keepdim=True)
    w["unembed.b_U"] = w["unembed.b_U"] - w["unembed.b_U"].mean()
    return w


def lens_forward(w: Weights, ids: Tensor) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * w[f"{name}.w"] + w[f"{name}.b"] if f"{name}.w" in w else x

    s = ids.shape[1]
    x = w["embed.W_E"][ids] + w["pos_embed.W_pos"][:s]
    for i in range(L):
        at, mlp = f"blocks.{i}.attn", f"blocks.{i}.mlp"
        n = norm(x, f"blocks.{i}.ln1")
        q, k, v = (torch.einsum("bsd,hdk->bshk", n, w[f"{at}.W_{y}"]) + w[f"{at}.b_{y}"] for y in "QKV")
        scores = torch.einsum("bqhk,bshk->bhqs", q, k) / math.sqrt(D // H)
        scores = torch.where(torch.ones(s, s).tril().bool(), scores, torch.tensor(-torch.inf))
        z = torch.einsum("bhqs,bshk->bqhk", scores.softmax(-1), v)
        x = x + torch.einsum("bqhk,hkd->bqd", z, w[f"{at}.W_O"]) + w[f"{at}.b_O"]
        act = F.gelu(norm(x, f"blocks.{i}.ln2") @ w[f"{mlp}.W_in"] + w[f"{mlp}.b_in"])
        x = x + act @ w[f"{mlp}.W_out"] + w[f"{mlp}.b_out"]
    return norm(x, "ln_final") @ w["unembed.W_U"] + w["unembed.b_U"]


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(V, (3, 10), generator=torch.Generator().manual_seed(1))


def test_mingpt(tmp_path: Path, ids: Tensor) -> None:
    w = mingpt_weights()
    torch.save(w, tmp_path / "synthetic.ckpt")
    model = othellogpt(str(tmp_path / "synthetic.ckpt"), n_heads=H)
    assert (model.n_positions, model.alphabet) == (P, ALPHABET)
    logits = model.run(ids)
    assert isinstance(logits, Float[Tensor, f"3 10 {V}"])
    torch.testing.assert_close(logits, mingpt_forward(w, ids), rtol=1e-4, atol=1e-4)
    named = load(f"othellogpt(path={str(tmp_path / 'synthetic.ckpt')!r}, n_heads={H})")
    assert torch.equal(named.run(ids), logits)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_transformer_lens(tmp_path: Path, ids: Tensor, suffix: str) -> None:
    w = lens_weights()
    path = tmp_path / f"othello{suffix}"
    files.write_tensors(path, w) if suffix == ".safetensors" else torch.save(w, path)
    model = othellogpt(str(path))
    assert model.config.n_heads == H
    assert not model.config.head_bias
    torch.testing.assert_close(model.run(ids), lens_forward(w, ids), rtol=1e-4, atol=1e-4)


def test_transformer_lens_folded(tmp_path: Path, ids: Tensor) -> None:
    w = lens_weights()
    folded = fold(w)
    torch.testing.assert_close(  # the folding written above is right: the same distributions
        lens_forward(folded, ids).log_softmax(-1), lens_forward(w, ids).log_softmax(-1), rtol=1e-3, atol=1e-4
    )
    torch.save(folded, tmp_path / "othello.pth")
    model = othellogpt(str(tmp_path / "othello.pth"))
    assert model.config.head_bias
    torch.testing.assert_close(model.run(ids), lens_forward(folded, ids), rtol=1e-4, atol=1e-4)


def test_the_sites_of_a_transformer_lens_model_are_its_hooks(tmp_path: Path, ids: Tensor) -> None:
    w = lens_weights()
    torch.save(w, tmp_path / "othello.pth")
    read = othellogpt(str(tmp_path / "othello.pth")).read(ids, ["blocks.0.attn.hook_z", "blocks.0.hook_attn_out"])
    attn_out = torch.einsum(
        "bshk,hkd->bsd", read["blocks.0.attn.hook_z"].unflatten(-1, (H, -1)), w["blocks.0.attn.W_O"]
    )
    attn_out = attn_out + w["blocks.0.attn.b_O"]
    torch.testing.assert_close(read["blocks.0.hook_attn_out"], attn_out, rtol=1e-4, atol=1e-5)


def test_another_alphabet_has_no_othello_names(tmp_path: Path) -> None:
    w = lens_weights() | {"embed.W_E": draw(66, D), "unembed.W_U": draw(D, 66), "unembed.b_U": draw(66)}
    torch.save(w, tmp_path / "x.pth")
    assert othellogpt(str(tmp_path / "x.pth")).alphabet.name(65) == "65"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.1.mlp.0.bias": torch.zeros(5)}, r"tensor blocks\.1\.mlp\.0\.bias has shape \[5\], expected \[64\]"),
        ({"pos_emb": torch.zeros(2, P, D)}, r"tensor pos_emb has shape \[2, 12, 16\], expected a matrix"),
        ({"head.weight": None}, r"has no tensor head\.weight"),
        ({"extra": torch.zeros(1)}, "a tensor extra that an OthelloGPT has no place for"),
        ({"tok_emb.weight": None}, "neither tok_emb.weight"),
    ],
)
def test_a_mingpt_checkpoint_of_another_shape_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    w = {k: v for k, v in (mingpt_weights() | change).items() if v is not None}
    torch.save(w, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=message):
        othellogpt(str(tmp_path / "x.ckpt"), n_heads=H)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"blocks.0.attn.W_O": draw(H, D, D)},
            r"tensor blocks\.0\.attn\.W_O has shape \[4, 16, 16\], expected \[4, 4, 16\]",
        ),
        ({"blocks.1.ln2.b": None}, r"has no tensor blocks\.1\.ln2\.b"),
        ({"blocks.0.attn.W_gate": draw(1)}, r"blocks\.0\.attn\.W_gate that an OthelloGPT has no place for"),
    ],
)
def test_a_transformer_lens_checkpoint_of_another_shape_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    w = {k: v for k, v in (lens_weights() | change).items() if v is not None}
    torch.save(w, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=message):
        othellogpt(str(tmp_path / "x.pth"))


class Trap:
    """What must never be unpickled."""

    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was run",))


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    with pytest.raises(FileNotFoundError, match="no file"):
        othellogpt(str(path))
    torch.save({"tok_emb.weight": Trap()}, path)
    with pytest.raises(ValueError, match="damaged or holds more than tensors"):
        othellogpt(str(path))
    torch.save(mingpt_weights(), path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="damaged or holds more than tensors"):
        othellogpt(str(path))
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="damaged or holds more than tensors"):
        othellogpt(str(path))
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="no state dict"):
        othellogpt(str(path))
