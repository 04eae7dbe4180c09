"""The places in a transformer that can be read and edited: `embed`, and `kind.layer` such as `resid_post.3`.

In a pre-LayerNorm block, in the order in which they come:

    resid_pre    the residual stream that enters the block
    head_out     what the heads read, side by side, before the output projection
    attn_out     what attention adds to the stream
    resid_mid    the stream after attention
    mlp_in       the stream after the MLP's LayerNorm: what the MLP sees
    mlp_act      the MLP's neurons after their nonlinearity
    mlp_out      what the MLP adds to the stream
    resid_post   the stream that leaves the block (and is the next block's resid_pre)

`embed` is what enters the first block: the sum of token and position embedding. Where a norm stands behind attention or
MLP (Gemma 2 and 3, OLMo 2), attn_out and mlp_out are behind it; a post-norm block (BERT) normalises the stream itself,
and resid_mid and resid_post are behind that norm. Where attention and MLP read the stream side by side (GPT-J, Pythia)
there is no resid_mid. Other blocks have, in the place of some of these,

    mixer_out    what a state space layer adds to the stream
    router       the logits over the experts of a mixture
    expert_out   what each expert adds, side by side: the sum over experts is mlp_out

TransformerLens names are understood where the place exists here. Anything else in a model that is not our own is named
by the path of the module that returns it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

from unweave.registry import nearest

KINDS = ("resid_pre", "head_out", "attn_out", "resid_mid", "mlp_in", "mlp_act", "mlp_out", "resid_post")
OTHER_KINDS = ("mixer_out", "router", "expert_out")

# TransformerLens calls `hook_mlp_in` the stream *before* the MLP's LayerNorm; ours is after it, its
# `ln2.hook_normalized`. Its `attn.hook_z` has an axis for the heads, which head_out lays side by side. Its BERT names
# `hook_resid_mid` and `hook_resid_post` the stream before the norm, which is no site here.
_OF_TRANSFORMER_LENS = {
    "hook_resid_pre": "resid_pre",
    "attn.hook_z": "head_out",
    "hook_attn_out": "attn_out",
    "hook_resid_mid": "resid_mid",
    "hook_mlp_in": "resid_mid",
    "ln2.hook_normalized": "mlp_in",
    "mlp.hook_post": "mlp_act",
    "hook_mlp_out": "mlp_out",
    "hook_resid_post": "resid_post",
}


def name(kind: str, layer: int) -> str:
    return f"{kind}.{layer}"


def widths(n_layers: int, d_model: int, d_mlp: int) -> dict[str, int]:
    """Every site of a transformer, in the order in which a forward pass comes by, with the width of its vectors."""
    every = {"embed": d_model}
    for layer in range(n_layers):
        every |= {name(kind, layer): d_mlp if kind == "mlp_act" else d_model for kind in KINDS}
    return every


def parse(site: str) -> tuple[str, int | None]:
    """Kind and layer (None for `embed`) of a site under our name or TransformerLens's: "blocks.3.hook_resid_post" ->
    ("resid_post", 3). Raises ValueError for a name that is neither; whether the layer exists is `resolve`'s
    question."""
    if site == "embed":
        return site, None
    if lens := re.fullmatch(r"blocks\.(\d+)\.(.+)", site):
        layer, hook = int(lens[1]), lens[2]
        if hook not in _OF_TRANSFORMER_LENS:
            raise ValueError(
                f"no site here corresponds to TransformerLens's {site!r}{nearest(hook, _OF_TRANSFORMER_LENS)}"
            )
        return _OF_TRANSFORMER_LENS[hook], layer
    if site in ("hook_embed", "hook_pos_embed"):
        raise ValueError(f"TransformerLens's {site!r} is one part of the embedding; embed is the sum of both parts")
    kind, dot, layer = site.partition(".")
    if kind not in KINDS + OTHER_KINDS or (dot and not layer.isdecimal()):
        raise ValueError(f"no site is called {site!r}; write embed, or KIND.LAYER as in resid_post.3")
    return kind, int(layer) if dot else None


def resolve(site: str, known: Collection[str]) -> str:
    """The name among a subject's sites `known` of a site under any of its names.

    Raises ValueError for an unknown site (naming the nearest) and for a layer that the subject does not have.
    """
    if site in known:
        return site
    try:
        kind, layer = parse(site)
    except ValueError as error:
        raise ValueError(f"{error}{_near(site, known)}") from None
    of_kind = [k for k in known if re.fullmatch(rf"{kind}\.\d+", k)]
    if not of_kind:
        kinds = [k for k in dict.fromkeys(k.partition(".")[0] for k in known) if k in ("embed", *KINDS, *OTHER_KINDS)]
        there = ", ".join(kinds) or "only its modules, by their paths"
        raise ValueError(f"no site {site}: this subject has no {kind}, it has {there}")
    first, last = of_kind[0], of_kind[-1]
    if layer is None:
        raise ValueError(f"site {site!r} needs a layer: {first} to {last}")
    if name(kind, layer) not in known:
        raise ValueError(f"no site {name(kind, layer)}: this subject has {len(of_kind)} layers, {first} to {last}")
    return name(kind, layer)


def _near(site: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(site, list(known), n=1) if not site.startswith(("blocks.", "hook_")) else ()
    return f"; did you mean {close[0]!r}?" if close else ""
