"""Models of the transformers library in folders, as subjects: loading, refusals, alphabets, masks and module paths."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import MODELS, POSITIONS, D, V, built, ids, subject_of

from unweave.subject import SUBJECTS, Alphabet, huggingface, load, sites
from unweave.subject.huggingface import HuggingFace


def saved(folder: Path, name: str) -> Path:
    MODELS[name].build().save_pretrained(folder)
    return folder


def without(folder: Path, *ends: str) -> None:
    """Take the weights away whose names end so."""
    path = folder / "model.safetensors"
    save_file({k: v.clone() for k, v in load_file(path).items() if not k.endswith(ends)}, path, {"format": "pt"})


def pair(model: Any, path: Path, monkeypatch: pytest.MonkeyPatch, **tokenizer: Any) -> HuggingFace:
    """A model with a tokenizer, of which only the alphabet is asked."""
    of = {"size": V, "pad": 0, "specials": (0, 1), "piece": lambda id: f"<{id}>"} | tokenizer
    monkeypatch.setattr(HuggingFace, "tokenizer", SimpleNamespace(**of))
    (path / "tokenizer.json").touch()
    return HuggingFace(model, str(path))


def test_a_folder_is_loaded_by_its_path(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "gpt2")
    expected = built("gpt2")(ids()).logits.detach()
    for call in (str(folder), f"huggingface(path={str(folder)!r})"):
        subject = load(call)
        assert isinstance(subject, HuggingFace)
        assert torch.equal(subject.run(ids()), expected)
        assert not any(weight.requires_grad for weight in subject.model.parameters())
        assert not subject.model.training
    assert load(f"huggingface(path={str(folder)!r}, dtype='bfloat16')").run(ids()).dtype == torch.bfloat16


def test_an_encoder_without_a_head_is_read_and_not_run(tmp_path: Path) -> None:
    built("bert").bert.save_pretrained(tmp_path)
    subject = load(str(tmp_path))
    site = "resid_post.1"
    assert torch.equal(subject.read(ids(), [site])[site], subject_of("bert").read(ids(), [site])[site])
    with pytest.raises(ValueError, match="BertModel has no head that predicts tokens: it can be read, but not run"):
        subject.run(ids())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": None}))
    without(tmp_path, "pooler.dense.weight")  # which stands behind every site
    assert torch.equal(load(str(tmp_path)).read(ids(), [site])[site], subject.read(ids(), [site])[site])


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "gpt2", "gpt2")
    without(folder, "lm_head.weight")  # tied to the embedding
    load(str(folder))
    without(folder, "1.mlp.c_fc.weight", "1.mlp.c_fc.bias")
    with pytest.raises(ValueError, match=r"no weights for transformer\.h\.1\.mlp\.c_fc\.bias \(2 are missing\)"):
        load(str(folder))
    untied = saved(tmp_path / "llama", "llama")
    without(untied, "lm_head.weight")
    with pytest.raises(ValueError, match=r"incomplete: it has no weights for lm_head\.weight"):
        load(str(untied))


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "gpt2")
    call = f"huggingface(path={str(folder)!r}"
    with pytest.raises(ValueError, match="there is no dtype 'float23' here; did you mean 'float32'"):
        load(f"{call}, dtype='float23')")
    with pytest.raises(ValueError, match="there is no device 'gpu'"):
        load(f"{call}, device='gpu')")
    with pytest.raises(FileNotFoundError, match="there is no folder /nowhere"):
        load("huggingface(path='/nowhere')")
    (folder / "model.safetensors").write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"cannot be loaded: .*header"):
        load(str(folder))
    (folder / "model.safetensors").unlink()
    torch.save(built("gpt2").state_dict(), folder / "pytorch_model.bin")  # a pickle
    with pytest.raises(FileNotFoundError, match=r"no file named model\.safetensors"):
        load(str(folder))
    config = json.loads((folder / "config.json").read_text())
    for changed, message in (
        ({"model_type": "gpt9"}, "model type `gpt9`"),
        ({"architectures": ["GPT9"]}, "has no GPT9; one with code of its own is not run"),
    ):
        (folder / "config.json").write_text(json.dumps(config | changed))
        with pytest.raises(ValueError, match=message):
            load(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        load(str(folder))


def test_an_unreachable_name_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to the hub.\nCheck your connection.")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(FileNotFoundError) as raised:
        SUBJECTS["huggingface"](path="someone/something")
    assert str(raised.value) == (
        "there is no model someone/something, or it cannot be reached: We couldn't connect to the hub."
    )


def test_a_model_that_reads_no_row_of_tokens_is_refused() -> None:
    small = {"vocab_size": V, "d_model": D, "encoder_layers": 1, "decoder_layers": 1}
    config = transformers.BartConfig(**small, encoder_attention_heads=2, decoder_attention_heads=2)
    with pytest.raises(ValueError, match="BartForConditionalGeneration does not read one row of tokens"):
        HuggingFace(transformers.BartForConditionalGeneration(config))
    seeing = transformers.ViTConfig(
        hidden_size=D, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
    )
    with pytest.raises(ValueError, match="ViTModel does not read one row of tokens"):
        HuggingFace(transformers.ViTModel(seeing))


def test_bad_input_is_refused_in_a_sentence() -> None:
    subject = subject_of("gpt2")
    with pytest.raises(ValueError, match=rf"a token id outside 0\.\.{V - 1}"):
        subject.run(ids() + V)
    with pytest.raises(ValueError, match=f"{POSITIONS + 1} tokens in a row: this model has {POSITIONS} positions"):
        subject.read(torch.zeros(1, POSITIONS + 1, dtype=torch.int64), ["embed"])
    with pytest.raises(ValueError, match="two edits at one site under two names"):
        subject.run(ids(), {"resid_post.0": lambda x: x, "blocks.0.hook_resid_post": lambda x: x})
    for site, message in {
        "resid_pots.1": r"did you mean 'resid_post\.1'",
        "resid_post.2": r"this subject has 2 layers, resid_post\.0 to resid_post\.1",
        "transformer.h.0.mpl.act": r"no site is called 'transformer\.h\.0\.mpl\.act'.*did you mean 'transf.*mlp\.act'",
        "router.0": "this subject has no router, it has embed, resid_pre",
    }.items():
        with pytest.raises(ValueError, match=message):
            subject.read(ids(), [site])
    with pytest.raises(ValueError, match="this subject has no resid_mid"):
        subject_of("gptj").read(ids(), ["blocks.0.hook_resid_mid"])
    assert subject.read(ids(), []) == {}


def test_a_module_is_a_site_by_its_path() -> None:
    subject = subject_of("gpt2")
    block = built("gpt2").transformer.h[0]
    found = subject.read(ids(), ["transformer.h.0", "transformer.h.0.attn", "transformer.h.0.mlp.act", "resid_post.0"])
    assert torch.equal(found["transformer.h.0"], found["resid_post.0"])  # a tuple in some versions
    assert torch.equal(found["transformer.h.0.attn"], subject.read(ids(), ["attn_out.0"])["attn_out.0"])
    assert found["transformer.h.0.mlp.act"].shape == (3, 7, 4 * D)
    edited = subject.run(ids(), {"transformer.h.0.mlp.act": torch.zeros_like})
    expected = subject.run(ids(), {"mlp_out.0": lambda x: block.mlp.c_proj.bias.expand_as(x)})
    torch.testing.assert_close(edited, expected)
    assert not {"transformer", "transformer.wpe"} & set(subject.sites())  # several tensors; none for each row


def test_a_family_without_a_row_has_its_modules() -> None:
    config = transformers.CodeGenConfig(vocab_size=V, n_embd=D, n_layer=2, n_head=4, rotary_dim=2, n_positions=32)
    subject = HuggingFace(transformers.CodeGenForCausalLM(config))
    hidden = subject.model(ids(), output_hidden_states=True).hidden_states
    assert torch.equal(subject.read(ids(), ["transformer.h.0"])["transformer.h.0"], hidden[1])
    assert not torch.equal(subject.run(ids(), {"transformer.h.1": lambda x: x * 0}), subject.run(ids()))
    with pytest.raises(ValueError, match="has no resid_post, it has only its modules, by their paths"):
        subject.read(ids(), ["resid_post.0"])


def test_a_module_that_is_called_twice_is_no_site() -> None:
    small = {"hidden_size": D, "embedding_size": 8, "intermediate_size": 24, "num_attention_heads": 2}
    model = transformers.AlbertModel(transformers.AlbertConfig(vocab_size=V, **small, num_hidden_layers=3))
    known = HuggingFace(model).sites()
    assert "embeddings" in known
    assert not [site for site in known if "albert_layers" in site]


def test_the_language_model_within_one_that_sees() -> None:
    text = MODELS["gemma3_text"].config | {"head_dim": 4}
    sight = {"hidden_size": D, "intermediate_size": D, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"image_token_index": V - 1, "boi_token_index": V - 2, "eoi_token_index": V - 3}
    sight = {"image_size": 8, "patch_size": 4} | sight
    config = transformers.Gemma3Config(text_config=text, vision_config=sight, mm_tokens_per_image=1, **tokens)
    subject = HuggingFace(transformers.Gemma3ForConditionalGeneration(config))
    assert set(subject_of("gemma3_text").sites()) & set(sites.widths(2, D, 4)) <= set(subject.sites())
    assert subject.n_positions == POSITIONS
    rows = ids().clamp(max=V - 4)
    hidden = subject.model(rows, output_hidden_states=True).hidden_states
    assert torch.equal(subject.read(rows, ["resid_post.0"])["resid_post.0"], hidden[1])
    causal = subject.read(torch.cat([rows[:, :-1], rows[:, :1]], 1), ["resid_post.1"])["resid_post.1"]
    torch.testing.assert_close(causal[:, :-1], subject.read(rows, ["resid_post.1"])["resid_post.1"][:, :-1])
    assert not subject._looks_ahead  # its sight does


def test_the_alphabet_is_the_tokenizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alphabet = pair(built("gpt2"), tmp_path, monkeypatch, size=V - 2).alphabet
    assert (alphabet.size, alphabet.pad, alphabet.specials) == (V, 0, (0, 1))
    assert [alphabet.name(i) for i in (0, V - 3, V - 2)] == ["<0>", f"<{V - 3}>", str(V - 2)]
    with pytest.raises(ValueError, match=f"the tokenizer of .* has {V + 1} tokens, its model {V}: not a pair"):
        _ = pair(built("gpt2"), tmp_path, monkeypatch, size=V + 1).alphabet
    assert HuggingFace(built("gpt2")).alphabet == Alphabet(V)


def test_a_tokenizer_beside_the_weights_is_used(tmp_path: Path) -> None:
    saved(tmp_path, "gpt2")
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "[UNK]": 1, "b": 2, "a": 3}, "[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(tmp_path)
    subject = load(str(tmp_path))
    assert isinstance(subject, HuggingFace)
    assert subject.tokenizer.encode(["a b c"]) == [[3, 2, 1]]
    assert (subject.alphabet.size, subject.alphabet.pad) == (V, 0)
    assert [subject.alphabet.name(i) for i in (2, 3, 4)] == ["b", "a", "4"]


@pytest.mark.parametrize("name", ["gpt2", "mamba", "bert", "distilbert", "roberta"])
def test_padding_at_the_end_changes_nothing_before_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pad = 1
    subject = pair(built(name), tmp_path, monkeypatch, pad=pad)
    padded = torch.cat([ids(), torch.full((3, 2), pad)], 1)
    both = ["embed", "resid_post.1"]
    alone, beside = subject.read(ids(), both), subject.read(padded, both)
    for site in both:
        torch.testing.assert_close(beside[site][:, :7], alone[site])
    torch.testing.assert_close(subject.run(padded)[:, :7], subject.run(ids()))


def test_threads_that_run_it_at_the_same_time_know_nothing_of_each_other() -> None:
    subject, (one, other) = subject_of("gpt2"), (ids(1), ids(2))
    alone, read_alone = subject.run(one), subject.read(one, ["mlp_out.0"])["mlp_out.0"]
    inside, done = Event(), Event()

    def edit(x: torch.Tensor) -> torch.Tensor:
        inside.set()
        assert done.wait(30), "the other thread's pass ended within this one"
        return torch.zeros_like(x)

    with ThreadPoolExecutor(1) as pool:
        edited = pool.submit(subject.run, other, {"mlp_out.0": edit})
        assert inside.wait(30)
        assert torch.equal(subject.run(one), alone)
        assert torch.equal(subject.read(one, ["mlp_out.0"])["mlp_out.0"], read_alone)
        done.set()
        assert torch.equal(edited.result(), subject.run(other, {"mlp_out.0": torch.zeros_like}))


def test_the_library_is_only_loaded_for_its_models() -> None:
    program = "import sys, unweave, unweave.subject; print({'transformers', 'huggingface_hub'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert huggingface.huggingface in [SUBJECTS[name] for name in SUBJECTS]
