"""A small GPT that can be read and edited at every site: pre-LayerNorm, learned positions, exact GELU, untied head.

The shape of Li et al. 2022's OthelloGPT (arXiv 2210.13382, Sect. 2.2). Shapes: B sequences, S positions, D width, H
heads, V alphabet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unweave.subject.base import Alphabet, Edit
from unweave.subject.sites import resolve, widths

Tap = Callable[[str, Tensor], Tensor]

# Sites that all of what comes after them is made of.
_STREAM = ("embed", "resid_")


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """The shape of a GPT: all that is needed to build one before its weights are loaded. The MLP is 4 * d_model wide.

    head_bias: Li's models have none; one comes into being when a LayerNorm's bias is folded into the head.
    """

    n_layers: int = 6
    d_model: int = 256
    n_heads: int = 8
    n_positions: int = 59
    n_tokens: int = 61
    head_bias: bool = False

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_model", "n_heads", "n_positions", "n_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")


class Block(nn.Module):
    """Attention, then an MLP, each reading a LayerNorm of the residual stream and adding to it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        d = config.d_model
        self.n_heads = config.n_heads
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query, self.key, self.value, self.out = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def heads(self, x: Tensor) -> Tensor:
        """What each head read, side by side, before the output projection: `[B, S, D] -> [B, S, D]`."""
        q, k, v = (
            read(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for read in (self.query, self.key, self.value)
        )
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, layer: int, tap: Tap) -> Tensor:
        x = tap(f"resid_pre.{layer}", x)
        heads = tap(f"head_out.{layer}", self.heads(self.ln_1(x)))
        x = tap(f"resid_mid.{layer}", x + tap(f"attn_out.{layer}", self.out(heads)))
        act = tap(f"mlp_act.{layer}", F.gelu(self.up(tap(f"mlp_in.{layer}", self.ln_2(x)))))
        return tap(f"resid_post.{layer}", x + tap(f"mlp_out.{layer}", self.down(act)))


class _AllRead(Exception):
    """Every site that was asked for has been read: the rest of the forward pass is not needed."""


class GPT(nn.Module):
    """A `Subject`. Made after `torch.manual_seed` for a model with known initial weights."""

    def __init__(self, config: GPTConfig, alphabet: Alphabet | None = None) -> None:
        super().__init__()
        self.config = config
        self.alphabet = alphabet or Alphabet(config.n_tokens)
        self.embed = nn.Embedding(config.n_tokens, config.d_model)
        self.positions = nn.Parameter(torch.empty(config.n_positions, config.d_model))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_final = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.n_tokens, bias=config.head_bias)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Draw the initial weights: N(0, 0.02), the projections into the stream smaller by sqrt(2 * layers), biases
        0."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.normal_(std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()
        self.positions.normal_(std=0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            for projection in (block.out, block.down):
                projection.weight /= math.sqrt(2 * self.config.n_layers)

    @property
    def n_positions(self) -> int:
        return self.config.n_positions

    @property
    def final_norm(self) -> nn.LayerNorm:
        return self.ln_final

    @property
    def unembedding(self) -> Tensor:
        return self.head.weight

    def sites(self) -> dict[str, int]:
        return widths(self.config.n_layers, self.config.d_model, 4 * self.config.d_model)

    @torch.no_grad()
    def read(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        names = {site: resolve(site, self.sites()) for site in sites}
        wanted, found = set(names.values()), {}

        def tap(site: str, x: Tensor) -> Tensor:
            if site in wanted:
                found[site] = x
                if len(found) == len(wanted):
                    raise _AllRead
            return x

        if wanted:
            with suppress(_AllRead):
                self(self._checked(tokens), tap)
        return {asked: found[site] for asked, site in names.items()}

    def run(self, tokens: Tensor, edits: Mapping[str, Edit] | None = None) -> Tensor:
        wanted = {resolve(site, self.sites()): edit for site, edit in (edits or {}).items()}
        if len(wanted) < len(edits or {}):
            raise ValueError(f"two edits at one site under two names: {', '.join(edits or {})}")
        left = set(wanted)

        def tap(site: str, x: Tensor) -> Tensor:
            if site not in wanted:
                return x
            edited = wanted[site](x)
            if edited.shape != x.shape:
                raise ValueError(
                    f"the edit at {site} made {list(edited.shape)} of {list(x.shape)}: the shape must stay"
                )
            left.discard(site)
            last = site.startswith(_STREAM) and not left and not edited.requires_grad
            if last and bool((edited == edited[:1]).all()):
                return edited[:1]  # the stream is alike in all sequences, and so is all that comes of it
            return edited

        return self(self._checked(tokens), tap).expand(len(tokens), -1, -1)

    def _checked(self, tokens: Tensor) -> Tensor:
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.config.n_tokens:
            raise ValueError(f"a token id outside 0..{self.config.n_tokens - 1}, which is this model's alphabet")
        return tokens

    def forward(self, tokens: Tensor, tap: Tap = lambda _site, x: x) -> Tensor:
        """Logits `[B, S, V]` of the next token after each of `tokens [B, S]`; `tap` sees and may replace each site."""
        if tokens.shape[1] > self.config.n_positions:
            raise ValueError(f"{tokens.shape[1]} tokens in a row: this model has {self.config.n_positions} positions")
        x = tap("embed", self.embed(tokens) + self.positions[: tokens.shape[1]])
        for layer, block in enumerate(self.blocks):
            x = block(x, layer, tap)
        return self.head(self.ln_final(x))
