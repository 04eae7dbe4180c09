"""Random models of every family in the table, so small that each runs in milliseconds, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import transformers
from torch import Tensor

from unweave.subject.huggingface import HuggingFace

V, D, LAYERS, HEADS, MLP, POSITIONS = 23, 16, 2, 4, 24, 32

_SMALL = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": MLP,
    "max_position_embeddings": POSITIONS,
}
_TOKENS = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
_GROUPED = {**_SMALL, "num_key_value_heads": 2, "head_dim": 4}
_GPT2 = {"vocab_size": V, "n_embd": D, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS}
_BLOOM = {"vocab_size": V, "hidden_size": D, "n_layer": LAYERS, "n_head": HEADS}


@dataclass(frozen=True)
class Tiny:
    """cls, config: what to build. final: path of the norm behind the last block, "" where there is none. post: the
    norms within a post-norm block, behind attention and MLP. neurons: the MLP's neurons after their nonlinearity, from
    a block and what its MLP reads, written out here."""

    cls: str
    config: dict[str, Any]
    final: str
    neurons: Callable[[Any, Tensor], Tensor] | None = None
    post: tuple[str, str] | None = None

    def build(self) -> Any:
        """Another model each time, with the same random weights."""
        cls = getattr(transformers, self.cls)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = cls(cls.config_class(**{**_TOKENS, **self.config}))
            with torch.no_grad():  # initial biases and norms are zeros and ones, which would hide mistakes
                for weight in model.parameters():
                    weight += 0.3 * torch.randn_like(weight)
        return model.eval()


def _gated(block: Any, x: Tensor) -> Tensor:
    return block.mlp.act_fn(block.mlp.gate_proj(x)) * block.mlp.up_proj(x)


def _dense(block: Any, x: Tensor) -> Tensor:
    return block.mlp.act(block.mlp.dense_h_to_4h(x))


def _opt(block: Any, x: Tensor) -> Tensor:
    return block.activation_fn(block.fc1(x))


_OPT = {**_SMALL, "ffn_dim": MLP, "word_embed_proj_dim": D, "activation_function": "gelu"}
_BERT = ("attention.output.LayerNorm", "output.LayerNorm")
_WINDOW = {**_GROUPED, "sliding_window": 3, "query_pre_attn_scalar": 4}

MODELS = {
    "bert": Tiny("BertForMaskedLM", _SMALL, "", lambda block, x: block.intermediate(x), _BERT),
    "bloom": Tiny("BloomForCausalLM", _BLOOM, "transformer.ln_f", lambda b, x: b.mlp.gelu_impl(b.mlp.dense_h_to_4h(x))),
    "distilbert": Tiny(
        "DistilBertForMaskedLM",
        {"vocab_size": V, "dim": D, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": MLP},
        "",
        lambda block, x: block.ffn.activation(block.ffn.lin1(x)),
        ("sa_layer_norm", "output_layer_norm"),
    ),
    "falcon": Tiny("FalconForCausalLM", _SMALL, "transformer.ln_f", _dense),
    "falcon, two norms": Tiny(
        "FalconForCausalLM", {**_SMALL, "new_decoder_architecture": True, "num_kv_heads": 2}, "transformer.ln_f", _dense
    ),
    "falcon, sequential": Tiny(
        "FalconForCausalLM",
        {**_SMALL, "parallel_attn": False, "multi_query": False, "alibi": True},
        "transformer.ln_f",
        _dense,
    ),
    "gemma": Tiny("GemmaForCausalLM", _GROUPED, "model.norm", _gated),
    "gemma2": Tiny("Gemma2ForCausalLM", _WINDOW, "model.norm", _gated),
    "gemma3_text": Tiny("Gemma3ForCausalLM", _WINDOW, "model.norm", _gated),
    "gpt2": Tiny("GPT2LMHeadModel", _GPT2, "transformer.ln_f", lambda block, x: block.mlp.act(block.mlp.c_fc(x))),
    "gpt_neox": Tiny("GPTNeoXForCausalLM", _SMALL, "gpt_neox.final_layer_norm", _dense),
    "gpt_neox, sequential": Tiny(
        "GPTNeoXForCausalLM", {**_SMALL, "use_parallel_residual": False}, "gpt_neox.final_layer_norm", _dense
    ),
    "gptj": Tiny(
        "GPTJForCausalLM",
        {**_GPT2, "rotary_dim": 2},
        "transformer.ln_f",
        lambda block, x: block.mlp.act(block.mlp.fc_in(x)),
    ),
    "llama": Tiny("LlamaForCausalLM", _GROUPED, "model.norm", _gated),
    "mamba": Tiny(
        "MambaForCausalLM",
        {"vocab_size": V, "hidden_size": D, "num_hidden_layers": LAYERS, "state_size": 4},
        "backbone.norm_f",
    ),
    "mistral": Tiny("MistralForCausalLM", {**_GROUPED, "sliding_window": 3}, "model.norm", _gated),
    "mixtral": Tiny(
        "MixtralForCausalLM", {**_GROUPED, "num_local_experts": 4, "experts_implementation": "eager"}, "model.norm"
    ),
    "olmo2": Tiny("Olmo2ForCausalLM", _GROUPED, "model.norm", _gated),
    "opt": Tiny("OPTForCausalLM", _OPT, "model.decoder.final_layer_norm", _opt),
    "opt, post-norm": Tiny(
        "OPTForCausalLM",
        {**_OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 8},
        "",
        _opt,
        ("self_attn_layer_norm", "final_layer_norm"),
    ),
    "phi": Tiny(
        "PhiForCausalLM",
        _SMALL,
        "model.final_layernorm",
        lambda block, x: block.mlp.activation_fn(block.mlp.fc1(x)),
    ),
    "qwen2": Tiny("Qwen2ForCausalLM", _GROUPED, "model.norm", _gated),
    "qwen3": Tiny("Qwen3ForCausalLM", _GROUPED, "model.norm", _gated),
    "roberta": Tiny(
        "RobertaForMaskedLM", {**_SMALL, "pad_token_id": 1}, "", lambda block, x: block.intermediate(x), _BERT
    ),
    "stablelm": Tiny("StableLmForCausalLM", _GROUPED, "model.norm", _gated),
    "stablelm, parallel": Tiny(
        "StableLmForCausalLM", {**_GROUPED, "use_parallel_residual": True}, "model.norm", _gated
    ),
}
"""By `model_type`, and what is different where models of a family differ."""

PARALLEL = {"falcon", "falcon, two norms", "gpt_neox", "gptj", "phi", "stablelm, parallel"}
"""Those whose attention and MLP read the stream side by side."""


@cache
def built(name: str) -> Any:
    """One of `MODELS`, shared by all tests that leave it as it is."""
    return MODELS[name].build()


@cache
def subject_of(name: str) -> HuggingFace:
    return HuggingFace(built(name))


def block(name: str, layer: int) -> Any:
    """A block of `built(name)`."""
    ends = tuple(f".{blocks}.{layer}" for blocks in ("h", "layers", "layer"))
    return next(module for path, module in built(name).named_modules() if path.endswith(ends))


def ids(seed: int = 1) -> Tensor:
    """`[3, 7]`, without the ids that may be padding."""
    return torch.randint(2, V, (3, 7), generator=torch.Generator().manual_seed(seed))
