"""Language models of our own, built, trained and stored as `transformers` has them, so that other programs read them.

Shapes: B rows, S positions, D width, V vocabulary.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unweave import files
from unweave.registry import nearest
from unweave.text.tokenizer import Tokenizer

SIZES = {"small": (4, 128, 4), "middle": (4, 192, 6), "large": (6, 256, 8)}
"""Layers, width and heads. Heads are 32 wide in all of them."""

EXPERTS, ACTIVE = 4, 2
"""Of a mixture: how many there are, and how many of them a token goes through."""

# What Muon trains: the matrices that map one stream of vectors to another. The others of two dimensions are embeddings,
# the router of a mixture (a classifier's head) and Mamba's table of decay rates.
_MATRIX = re.compile(r"(_proj|c_attn|c_fc)(\.weight)?$")


@dataclass(frozen=True, kw_only=True)
class TextShape:
    """What a language model is built from. kind: "gpt2", "mamba" (which has no heads) or "mixtral" (four experts, of
    which a token goes through two). n_tokens: the size of its tokenizer at most. The head is the embedding, tied."""

    kind: str = "gpt2"
    n_layers: int = 6
    d_model: int = 256
    n_heads: int = 8
    n_positions: int = 256
    n_tokens: int = 4096

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"no shape is called {self.kind!r}{nearest(self.kind, _KINDS)}")
        for name in ("n_layers", "d_model", "n_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.d_model % (2 * self.n_heads):
            raise ValueError(f"d_model {self.d_model} does not give {self.n_heads} heads of an even width")
        if self.n_positions < 2:
            raise ValueError(f"n_positions must be at least 2, not {self.n_positions}: nothing would be predicted")
        if self.n_tokens < 257:
            raise ValueError(f"n_tokens must be at least 257, not {self.n_tokens}: every byte is a token, and the end")


def dimensions(size: str, layers: int = 0, width: int = 0, heads: int = 0) -> dict[str, int]:
    """A size as TextShape has it, with whatever is not 0 in its place. Raises ValueError for an unknown size."""
    if size not in SIZES:
        raise ValueError(f"no size is called {size!r}{nearest(size, SIZES)}")
    of_size = SIZES[size]
    return {
        "n_layers": layers or of_size[0],
        "d_model": width or of_size[1],
        "n_heads": heads or of_size[2],
    }


def _gpt2(shape: TextShape, ids: dict[str, Any]) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=shape.n_layers,
        n_embd=shape.d_model,
        n_head=shape.n_heads,
        n_positions=shape.n_positions,
        activation_function="gelu_pytorch_tanh",  # the same function as GPT-2's gelu_new, in one pass instead of eight
        resid_pdrop=0.0,  # no dropout: a text is seen two or three times only
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        **ids,
    )
    return GPT2LMHeadModel(config)


def _mamba(shape: TextShape, ids: dict[str, Any]) -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(num_hidden_layers=shape.n_layers, hidden_size=shape.d_model, **ids))


def _mixtral(shape: TextShape, ids: dict[str, Any]) -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        num_hidden_layers=shape.n_layers,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_model,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        num_local_experts=EXPERTS,
        num_experts_per_tok=ACTIVE,
        max_position_embeddings=shape.n_positions,
        tie_word_embeddings=True,
        **ids,
    )
    return MixtralForCausalLM(config)


_KINDS: dict[str, Callable[[TextShape, dict[str, Any]], nn.Module]] = {
    "gpt2": _gpt2,
    "mamba": _mamba,
    "mixtral": _mixtral,
}


def build(shape: TextShape, tokenizer: Tokenizer) -> nn.Module:
    """A causal language model of `transformers` over a tokenizer's vocabulary, with the first weights that torch's
    generator gives."""
    bos, eos, pad = tokenizer.bos, tokenizer.eos, tokenizer.pad
    ids = {"vocab_size": tokenizer.size, "bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}
    return _KINDS[shape.kind](shape, ids)


class Logits(nn.Module):
    """A model of `transformers` as a map from tokens `[B, S]` to logits `[B, S, V]`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens, use_cache=False).logits


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """Those that Muon trains; of a mixture, the experts' as stacks."""
    return [p for name, p in model.named_parameters() if p.ndim > 1 and _MATRIX.search(name)]


def save(model: nn.Module, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a model of `build` with its tokenizer, in bfloat16, as `transformers` reads them; what was in `folder`
    makes way. Raises OSError when they cannot be written."""

    from transformers.utils import logging

    def write(aside: Path) -> None:
        copy.deepcopy(model).to(torch.bfloat16).save_pretrained(aside)  # type: ignore[operator]  (a method of theirs)
        tokenizer.save(aside)

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # one of a single file would break the training's
    try:
        files.replace_folder(folder, write)
    finally:
        if bars:
            logging.enable_progress_bar()
