"""What a feature adds to the logits directly: its decoder row through the final norm and the unembedding.

The norm is taken as linear: its scale is held at what it is on average. Shapes: B rows, S positions, F features, D
width of a site, W of the residual stream, V alphabet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unweave.rows import Rows
from unweave.subject.base import Subject, Unembeds
from unweave.subject.gpt import GPT, Block
from unweave.subject.sites import parse

DIRECT = {
    "kind": "direct",
    "title": "Direct effect on the logits",
    "help": "What one unit of the feature adds to each logit when nothing else changes between here and the "
    "unembedding: the decoder row, through the rest of its block's branch, the final norm's weight and its mean "
    "scale, times the unembedding, less the mean over all tokens.",
}

# Sites whose vectors are, or are added to, the residual stream.
_IN_STREAM = ("embed", "resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")


@dataclass(frozen=True)
class Effects:
    """map: `[D, V]`: from what stands at a site to the logits of the tokens that matter."""

    map: Tensor

    def of(self, W_dec: Tensor) -> Tensor:
        """`[F, V]`: the effect of each decoder row, less its mean over the tokens, which no prediction depends on."""
        made = W_dec.detach() @ self.map
        return made - made.mean(1, keepdim=True)


@torch.no_grad()
def effects(subject: Subject, site: str, rows: Rows, tokens: slice) -> Effects | None:
    """On the logits of `tokens`, measured on some rows. None for a subject that does not end in a norm and an
    unembedding alone (some cap their logits), or a site from which nothing reaches the stream but through attention."""
    if not isinstance(subject, Unembeds) or "+" in site:
        return None
    rows = rows.until(subject.n_positions)
    stream = _to_stream(subject, site, rows)
    last = [name for name in subject.sites() if name.startswith("resid_post")]
    if stream is None or not last or not _ends_so(subject, last[-1], rows):
        return None
    x = subject.read(rows.tokens, last[-1:])[last[-1]][rows.learn]
    weight, scale, centred = _linear(subject.final_norm, x)
    unembedding = subject.unembedding.detach()[tokens].float() * weight
    if centred:
        unembedding = unembedding - unembedding.mean(1, keepdim=True)
    return Effects(stream(unembedding.T / scale).cpu())


def _ends_so(subject: Unembeds, last: str, rows: Rows) -> bool:
    """Whether norm and unembedding make the logits of what stands at the last site, but for a bias, to 2 %."""
    some = rows[:2]
    x = subject.read(some.tokens, [last])[last][some.there]
    if x.shape[1] != subject.unembedding.shape[1]:
        return False
    made = (subject.final_norm(x) @ subject.unembedding.T).float()
    left = subject.run(some.tokens)[some.there].float() - made
    return bool((left - left[0]).abs().max() <= 0.02 * made.abs().max())


def _linear(norm: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, float, bool]:
    """A LayerNorm or RMSNorm as (x - its mean, if it is centred) * weight / scale: weight `[W]`, and the mean scale
    over `x [n, W]`."""
    width = x.shape[1]
    signs = torch.ones(width, dtype=x.dtype, device=x.device)
    signs[1::2] = -1
    at = torch.stack([signs, -signs, signs + 1])
    out = norm(at).float()
    weight = (out[0] - out[1]) / 2 * signs
    centred = width % 2 == 0 and torch.allclose(out[2], out[0], atol=1e-3)
    away = x.float() - x.float().mean(1, keepdim=True) if centred else x.float()
    return weight, float(away.pow(2).mean(1).sqrt().mean()), centred


def _to_stream(subject: Subject, site: str, rows: Rows) -> Callable[[Tensor], Tensor] | None:
    """From a linear map of the stream `[W, V]` to one of the site `[D, V]`."""
    kind, layer = parse(site)
    if kind in _IN_STREAM:
        return lambda of: of
    if not isinstance(subject, GPT) or layer is None:
        return None
    block = subject.blocks[layer]
    assert isinstance(block, Block)
    if kind == "head_out":
        return lambda of: block.out.weight.T @ of
    if kind == "mlp_act":
        return lambda of: block.down.weight.T @ of
    if kind != "mlp_in":
        return None
    x = subject.read(rows.tokens, [site])[site][rows.learn]
    slope = _slope_of_gelu(block.up(x)).mean(0)
    return lambda of: block.up.weight.T @ (slope[:, None] * (block.down.weight.T @ of))


def _slope_of_gelu(x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(F.gelu(x).sum(), x)
    return slope
