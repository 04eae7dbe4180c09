"""The names of sites, ours and TransformerLens's."""

from __future__ import annotations

import pytest

from unweave.subject import sites

KNOWN = sites.widths(6, 8, 32)


def test_widths_name_every_place_once() -> None:
    assert len(KNOWN) == 1 + 6 * 8
    assert KNOWN["mlp_act.5"] == 32
    assert all(width == 8 for site, width in KNOWN.items() if not site.startswith("mlp_act"))


@pytest.mark.parametrize(
    ("lens", "ours"),
    [
        ("blocks.3.hook_resid_pre", "resid_pre.3"),
        ("blocks.3.hook_resid_mid", "resid_mid.3"),
        ("blocks.3.hook_resid_post", "resid_post.3"),
        ("blocks.3.hook_attn_out", "attn_out.3"),
        ("blocks.3.attn.hook_z", "head_out.3"),
        ("blocks.3.hook_mlp_out", "mlp_out.3"),
        ("blocks.3.mlp.hook_post", "mlp_act.3"),
        ("blocks.3.ln2.hook_normalized", "mlp_in.3"),
        ("blocks.3.hook_mlp_in", "resid_mid.3"),  # theirs is before the LayerNorm
    ],
)
def test_transformer_lens_names(lens: str, ours: str) -> None:
    assert sites.resolve(lens, KNOWN) == ours
    assert sites.resolve(ours, KNOWN) == ours


def test_parse() -> None:
    assert sites.parse("embed") == ("embed", None)
    assert sites.parse("mlp_act.12") == ("mlp_act", 12)
    assert sites.parse("blocks.0.hook_resid_post") == ("resid_post", 0)


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("resid_pots.3", "did you mean 'resid_post.3'"),
        ("resid_post.6", "no site resid_post.6: this subject has 6 layers, resid_post.0 to resid_post.5"),
        ("blocks.9.hook_mlp_out", "this subject has 6 layers, mlp_out.0 to mlp_out.5"),
        ("resid_post", "needs a layer: resid_post.0 to resid_post.5"),
        ("resid_post.-1", "no site is called 'resid_post.-1'"),
        ("blocks.3.mlp.hook_pre", "no site here corresponds to TransformerLens's 'blocks.3.mlp.hook_pre'"),
        ("hook_embed", "one part of the embedding"),
        ("", "no site is called ''"),
    ],
)
def test_an_unknown_site_is_refused(site: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sites.resolve(site, KNOWN)
