"""The sites of every family: against the library's own hidden states and against each other."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from tiny_models import LAYERS, MODELS, PARALLEL, D, block, ids, subject_of
from torch import Tensor
from torch.testing import assert_close

from unweave.subject import Subject
from unweave.subject.families import FAMILIES
from unweave.subject.huggingface import UNLIMITED, HuggingFace
from unweave.subject.sites import KINDS, OTHER_KINDS


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def subject(name: str) -> HuggingFace:
    return subject_of(name)


def read(subject: HuggingFace) -> dict[str, Tensor]:
    return subject.read(ids(), list(subject.sites()))


def test_every_family_is_tested() -> None:
    assert {name.partition(",")[0] for name in MODELS} == set(FAMILIES)


def test_is_a_subject(name: str, subject: HuggingFace) -> None:
    assert isinstance(subject, Subject)
    assert subject.alphabet.size == tiny_models.V
    assert subject.n_positions == {
        "bloom": UNLIMITED,
        "mamba": UNLIMITED,
        "roberta": tiny_models.POSITIONS - 2,
        "distilbert": 512,
        "falcon, sequential": tiny_models.POSITIONS,
    }.get(name, tiny_models.POSITIONS)


def test_every_site_has_its_shape(subject: HuggingFace) -> None:
    found = read(subject)
    assert {site: (3, 7, width) for site, width in subject.sites().items()} == {
        site: tuple(x.shape) for site, x in found.items()
    }


def test_a_block_has_the_kinds_of_its_family(name: str, subject: HuggingFace) -> None:
    kinds = {site.partition(".")[0] for site in subject.sites() if site.endswith(".1") and site.count(".") == 1}
    expected = {"resid_pre", "head_out", "attn_out", "resid_mid", "mlp_in", "mlp_act", "mlp_out", "resid_post"}
    if name in PARALLEL:
        expected -= {"resid_mid"}
    if name == "mamba":
        expected = {"resid_pre", "mixer_out", "resid_post"}
    if name == "mixtral":
        expected = expected - {"mlp_act"} | {"router", "expert_out"}
    assert kinds == expected
    assert "embed" in subject.sites()


def test_the_stream_is_the_librarys_hidden_states(name: str, subject: HuggingFace) -> None:
    found = read(subject)
    with torch.no_grad():
        hidden = subject.model(input_ids=ids(), output_hidden_states=True).hidden_states
    if name == "mamba":  # it lists what leaves each block, where the others list what enters
        hidden = (subject.model.backbone.embeddings(ids()), hidden[0], hidden[-1])
    assert len(hidden) == LAYERS + 1
    assert_close(found["embed"], hidden[0])
    for layer in range(LAYERS):
        assert_close(found[f"resid_pre.{layer}"], hidden[layer])
        assert layer == 0 or torch.equal(found[f"resid_pre.{layer}"], found[f"resid_post.{layer - 1}"])
    final = MODELS[name].final
    last = found[f"resid_post.{LAYERS - 1}"]
    if name == "opt, post-norm":
        last = subject.model.model.decoder.project_out(last)
    assert_close(subject.model.get_submodule(final)(last) if final else last, hidden[-1])


def test_the_stream_is_a_sum(name: str, subject: HuggingFace) -> None:
    found = read(subject)
    for layer in range(LAYERS):
        x = {kind: found.get(f"{kind}.{layer}") for kind in ("resid_pre", "attn_out", "resid_mid", "mlp_out")}
        pre, attn, mid, mlp = x.values()
        post, mixer = found[f"resid_post.{layer}"], found.get(f"mixer_out.{layer}")
        if mixer is not None:
            assert_close(post, pre + mixer)
        elif norms := MODELS[name].post:
            after_attn, after_mlp = (block(name, layer).get_submodule(norm) for norm in norms)
            assert_close(mid, after_attn(pre + attn))
            assert_close(post, after_mlp(mid + mlp))
        elif name in PARALLEL:
            assert_close(post, pre + attn + mlp)
        else:
            assert_close(mid, pre + attn)
            assert_close(post, mid + mlp)


@pytest.mark.parametrize("name", [name for name, tiny in MODELS.items() if tiny.neurons])
def test_neurons_are_made_of_what_the_mlp_reads(name: str, subject: HuggingFace) -> None:
    neurons, found = MODELS[name].neurons, read(subject)
    assert neurons
    for layer in range(LAYERS):
        assert_close(found[f"mlp_act.{layer}"], neurons(block(name, layer), found[f"mlp_in.{layer}"]))


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama", "gemma2"])
def test_heads_read_only_themselves_at_the_first_position(name: str, subject: HuggingFace) -> None:
    """Where a position sees itself alone, what the heads read are its own values, whatever queries and keys are."""
    found, module = read(subject), block(name, 1)
    norm, values = {
        "gpt2": ("ln_1", lambda m, x: m.attn.c_attn(x)[..., 2 * D :]),
        "opt": ("self_attn_layer_norm", lambda m, x: m.self_attn.v_proj(x)),
    }.get(name, ("input_layernorm", lambda m, x: m.self_attn.v_proj(x).unflatten(-1, (2, 4)).repeat_interleave(2, -2)))
    mine = values(module, module.get_submodule(norm)(found["resid_pre.1"])).flatten(2)
    assert_close(found["head_out.1"][:, 0], mine[:, 0])


@pytest.mark.parametrize("lens", ["hook_resid_pre", "attn.hook_z", "hook_attn_out", "mlp.hook_post", "hook_mlp_out"])
def test_transformer_lens_names(lens: str) -> None:
    for name in ("gpt2", "gpt_neox", "llama", "gemma2"):
        subject = subject_of(name)
        ours = {"attn.hook_z": "head_out", "mlp.hook_post": "mlp_act"}.get(lens, lens.removeprefix("hook_"))
        found = subject.read(ids(), [f"blocks.1.{lens}", f"{ours}.1"])
        assert found[f"blocks.1.{lens}"] is found[f"{ours}.1"]


def test_reading_stops_at_the_last_site(name: str, subject: HuggingFace) -> None:
    reached: list[int] = []
    handles = [block(name, 1).register_forward_pre_hook(lambda *_: reached.append(1))]
    for module in block(name, 0).children():
        handles.append(module.register_forward_pre_hook(lambda *_: reached.append(0)))  # noqa: PERF401
    try:
        subject.read(ids(), ["embed", "resid_pre.0"])
        assert reached == []
        subject.read(ids(), ["embed", "resid_post.0"])
        assert 0 in reached
        assert 1 not in reached
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.bfloat16) for name in ("bert", "gemma2", "gpt2", "mamba", "mixtral", "olmo2", "opt")]
    + [("llama", torch.float16)],
)
def test_other_dtypes(name: str, dtype: torch.dtype) -> None:
    subject = HuggingFace(MODELS[name].build().to(dtype))
    found, exact = read(subject), read(subject_of(name))
    if name != "mamba":  # which keeps its stream in float32
        assert all(found[site].dtype == dtype for site in found if site.partition(".")[0] in KINDS + OTHER_KINDS)
    for site in ("embed", "resid_post.0"):
        assert (found[site] - exact[site]).norm() < 0.05 * exact[site].norm()
    logits = subject.run(ids())
    assert torch.equal(subject.run(ids(), {"resid_post.0": lambda x: x.float()}), logits)
    other = {site: subject.read(ids(2), [site])[site] for site in ("resid_pre.1", "resid_mid.1") if site in found}
    for site, x in other.items():
        assert torch.equal(subject.run(ids(), {site: lambda _, x=x: x}), subject.run(ids(2)))  # and not rounded again
