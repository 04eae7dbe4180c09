"""Writes docs/families.md from the table of families; with --print, to the screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from unweave.subject.families import FAMILIES, Family
from unweave.subject.taps import Place

HEAD = """# Models of others

Any language model of the [transformers](https://huggingface.co/docs/transformers) library is a subject, by the folder
it was saved in or by its name on the hub:

    subject = unweave.load('huggingface(path="openai-community/gpt2")')
    found = subject.read(tokens, ["resid_post.5"])
    logits = subject.run(tokens, {"resid_post.5": lambda x: 0 * x})

It is read and edited by plain PyTorch hooks on the library's own modules: weights are used as published, no norm is
folded into what follows it, nothing is unpickled and no code that comes with a model is run. `dtype` (float32,
bfloat16, float16) and `device` are arguments beside `path`. A model whose checkpoint lacks weights is refused, where
the library draws them at random.

Every module that returns one vector a position is a site by its path, in any model: `transformer.h.3.attn`. A module
that is called more than once in a forward pass is none. The families below also have the sites of our own models
([Concepts](concepts.md#site)), and TransformerLens's names for them.

An edit does what standing there means: at `resid_mid`, say, both what the MLP reads and the stream that goes on
beside it are changed, and at `mlp_in` only what the MLP reads. A model that looks ahead (an encoder) gets an
attention mask that hides padding; in a causal one nothing before it knows of padding at the end. Where a model has no
longest sequence of its own (Mamba; BLOOM, by ALiBi), it takes 1,048,576 positions.

## What a site is in a family

The paths are those of modules within a block. `resid_pre` is what goes into the block, `resid_post` what comes out,
`embed` what goes into the first one: embeddings after all that is done to them (BLOOM's and BERT's norm, Gemma's
factor). Made by `.venv/bin/python docs/families.py`.
"""

TAIL = """
- *Sequential* families add attention to the stream before the MLP reads it: `resid_mid = resid_pre + attn_out` and
  `resid_post = resid_mid + mlp_out`.
- *Parallel* families (no `resid_mid`) add both at once: `resid_post = resid_pre + attn_out + mlp_out`.
- With a norm behind attention and MLP (Gemma 2 and 3, OLMo 2), `attn_out` and `mlp_out` are what is added: behind
  that norm.
- *Post-norm* families normalise the stream itself: `resid_mid = norm(resid_pre + attn_out)`, which the MLP reads and
  which the stream goes on from, and `resid_post = norm(resid_mid + mlp_out)`. TransformerLens's `hook_resid_mid` and
  `hook_resid_post` of BERT stand before these norms.
- `head_out` is as wide as all heads together, `router` as there are experts, `expert_out` as all experts' outputs
  side by side: of each expert what it adds after its weight, zeros where it was not chosen. Other logits at `router`
  choose and weigh experts anew.
- `mixer_out` is what a state space layer adds: `resid_post = resid_pre + mixer_out`.
"""

# What decides where the models of a family differ, and what such a model is called here.
VARIANTS: dict[str, list[tuple[str, dict[str, bool]]]] = {
    "falcon": [
        ("parallel", {"parallel_attn": True, "new_decoder_architecture": False}),
        ("sequential", {"parallel_attn": False, "new_decoder_architecture": False}),
    ],
    "gpt_neox": [("parallel", {"use_parallel_residual": True}), ("sequential", {"use_parallel_residual": False})],
    "opt": [("", {"do_layer_norm_before": True}), ("350m, post-norm", {"do_layer_norm_before": False})],
    "stablelm": [("sequential", {"use_parallel_residual": False}), ("parallel", {"use_parallel_residual": True})],
}


def families() -> Iterator[tuple[str, Family]]:
    for name, family in FAMILIES.items():
        for variant, config in VARIANTS.get(name, [("", {})]):
            yield f"`{name}`" + (f", {variant}" if variant else ""), family(SimpleNamespace(**config))


def where(place: Place) -> str:
    words = {"in": "into", "through": "into", "out": "out of", "router": "logits of", "experts": "each of"}
    return f"{words[place.side]} `{place.path}`" if place.path else ""


def page() -> str:
    kinds = ("head_out", "attn_out", "resid_mid", "mlp_in", "mlp_act", "mlp_out")
    lines = [HEAD, f"| family | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    others = ["", "| family | site | where |", "|---|---|---|"]
    for name, family in families():
        there = family.kinds()
        lines.append(f"| {name} | {' | '.join(where(there[kind]) if kind in there else '-' for kind in kinds)} |")
        for kind in ("mixer_out", "router", "expert_out"):
            others += [f"| {name} | {kind} | {where(there[kind])} |"] if kind in there else []
    return "\n".join([*lines, *others]) + "\n" + TAIL


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        Path(__file__).with_name("families.md").write_text(page(), encoding="utf-8")
