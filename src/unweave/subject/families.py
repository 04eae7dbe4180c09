"""Where the sites of a `transformers` model lie: for each family of models a row of module paths within a block.

    attn       the attention's output projection: head_out goes in
    attn_out   whose output attention adds to the stream, if not the projection's: a norm's after it (Gemma 2, OLMo 2)
    mid        where resid_mid is. `through(norm)`: what goes into the module, from which the stream also goes on.
               `out(norm)`: what comes out, in the post-norm blocks, which normalise the stream itself. None: attention
               and MLP read the stream side by side, so that there is no stream between them
    mlp        what the MLP reads goes in here (mlp_in)
    down       the MLP's last projection: its neurons (mlp_act) go in
    mlp_out    whose output the MLP adds to the stream, if not the projection's
    mixer      whose output a block without attention adds to the stream (mixer_out)
    router, experts   of a mixture of experts

resid_pre is what goes into a block and resid_post what comes out, in every family; embed is what goes into the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from unweave.subject import sites
from unweave.subject.taps import Place


def through(path: str) -> Place:
    return Place(path, "through")


def out(path: str) -> Place:
    return Place(path, "out")


@dataclass(frozen=True, kw_only=True)
class Family:
    """Module paths, all but `blocks` within a block; see above. blocks: the list of them, in the base model."""

    blocks: str
    attn: str = ""
    attn_out: str = ""
    mid: Place | None = None
    mlp: str = ""
    down: str = ""
    mlp_out: str = ""
    mixer: str = ""
    router: str = ""
    experts: str = ""

    def kinds(self) -> dict[str, Place]:
        """The places within a block by the site's kind, in the order of `sites.KINDS`."""
        every = {
            "resid_pre": Place("", "in"),
            "head_out": Place(self.attn, "in"),
            "attn_out": out(self.attn_out or self.attn),
            "mixer_out": out(self.mixer),
            "resid_mid": self.mid or through(""),
            "mlp_in": Place(self.mlp, "in"),
            "router": Place(self.router, "router"),
            "expert_out": Place(self.experts, "experts"),
            "mlp_act": Place(self.down, "in"),
            "mlp_out": out(self.mlp_out or self.down),
            "resid_post": out(""),
        }
        return {kind: place for kind, place in every.items() if place.path or kind in ("resid_pre", "resid_post")}


_LLAMA = Family(
    blocks="layers",
    attn="self_attn.o_proj",
    mid=through("post_attention_layernorm"),
    mlp="mlp",
    down="mlp.down_proj",
)
_GEMMA_2 = Family(
    blocks="layers",
    attn="self_attn.o_proj",
    attn_out="post_attention_layernorm",
    mid=through("pre_feedforward_layernorm"),
    mlp="mlp",
    down="mlp.down_proj",
    mlp_out="post_feedforward_layernorm",
)
_BERT = Family(
    blocks="encoder.layer",
    attn="attention.output.dense",
    mid=out("attention.output.LayerNorm"),
    mlp="intermediate",
    down="output.dense",
)


def _gpt_neox(config: Any) -> Family:
    return Family(
        blocks="layers",
        attn="attention.dense",
        mid=None if config.use_parallel_residual else through("post_attention_layernorm"),
        mlp="mlp",
        down="mlp.dense_4h_to_h",
    )


def _opt(config: Any) -> Family:
    before = config.do_layer_norm_before  # not so in OPT-350m
    return Family(
        blocks="decoder.layers",
        attn="self_attn.out_proj",
        mid=through("final_layer_norm") if before else out("self_attn_layer_norm"),
        mlp="fc1",
        down="fc2",
    )


def _falcon(config: Any) -> Family:
    return Family(
        blocks="h",
        attn="self_attention.dense",
        mid=None if config.parallel_attn or config.new_decoder_architecture else through("post_attention_layernorm"),
        mlp="mlp",
        down="mlp.dense_4h_to_h",
    )


def _stablelm(config: Any) -> Family:
    mid = None if config.use_parallel_residual else through("post_attention_layernorm")
    return Family(blocks="layers", attn="self_attn.o_proj", mid=mid, mlp="mlp", down="mlp.down_proj")


def _always(family: Family) -> Callable[[Any], Family]:
    return lambda _config: family


FAMILIES: dict[str, Callable[[Any], Family]] = {
    "bert": _always(_BERT),
    "bloom": _always(
        Family(
            blocks="h",
            attn="self_attention.dense",
            mid=through("post_attention_layernorm"),
            mlp="mlp",
            down="mlp.dense_4h_to_h",
        )
    ),
    "distilbert": _always(
        Family(
            blocks="transformer.layer",
            attn="attention.out_lin",
            mid=out("sa_layer_norm"),
            mlp="ffn",
            down="ffn.lin2",
        )
    ),
    "falcon": _falcon,
    "gemma": _always(_LLAMA),
    "gemma2": _always(_GEMMA_2),
    "gemma3_text": _always(_GEMMA_2),
    "gpt2": _always(Family(blocks="h", attn="attn.c_proj", mid=through("ln_2"), mlp="mlp", down="mlp.c_proj")),
    "gpt_neox": _gpt_neox,
    "gptj": _always(Family(blocks="h", attn="attn.out_proj", mlp="mlp", down="mlp.fc_out")),
    "llama": _always(_LLAMA),
    "mamba": _always(Family(blocks="layers", mixer="mixer")),
    "mistral": _always(_LLAMA),
    "mixtral": _always(
        Family(
            blocks="layers",
            attn="self_attn.o_proj",
            mid=through("post_attention_layernorm"),
            mlp="mlp",
            mlp_out="mlp",
            router="mlp.gate",
            experts="mlp.experts",
        )
    ),
    "olmo2": _always(
        Family(
            blocks="layers",
            attn="self_attn.o_proj",
            attn_out="post_attention_layernorm",
            mid=through("mlp"),
            mlp="mlp",
            down="mlp.down_proj",
            mlp_out="post_feedforward_layernorm",
        )
    ),
    "opt": _opt,
    "phi": _always(Family(blocks="layers", attn="self_attn.dense", mlp="mlp", down="mlp.fc2")),
    "qwen2": _always(_LLAMA),
    "qwen3": _always(_LLAMA),
    "roberta": _always(_BERT),
    "stablelm": _stablelm,
}
"""By the `model_type` of a config, which decides where a family's models differ."""


def language_model(model: Any) -> Any:
    """The part of a `transformers` model that reads tokens, without its head: not all of one that also sees."""
    return getattr(model.base_model, "language_model", model.base_model)


def places(model: nn.Module, config: Any) -> dict[str, Place]:
    """The named sites of a `transformers` model and where they are; none for a family without a row. config: of the
    language model in it."""
    if config.model_type not in FAMILIES:
        return {}
    family = FAMILIES[config.model_type](config)
    base = language_model(model)
    root = next(name for name, module in model.named_modules() if module is base)
    blocks = ".".join(part for part in (root, family.blocks) if part)
    every = {"embed": Place(f"{blocks}.0", "in")}
    for layer in range(len(base.get_submodule(family.blocks))):
        for kind, place in family.kinds().items():
            path = ".".join(part for part in (blocks, str(layer), place.path) if part)
            every[sites.name(kind, layer)] = Place(path, place.side)
    return every
