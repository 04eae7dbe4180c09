"""Tokenizers: ours and those of others, held against transformers; what tokens are called; what is refused."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from unweave.text import tokenizer
from unweave.text.sources import Document
from unweave.text.tokenizer import Tokenizer

TEXTS = ["The lazy dog.", "jumping  over\n\nit", "naïve 日本 🦊", "def f(x):\n    return x", ""]


def reference(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


@pytest.fixture(params=["ours", "bert", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "ours":
        request.getfixturevalue("ours").save(tmp_path / "ours")
        return tmp_path / "ours"
    return request.getfixturevalue(request.param)


def test_tokens_are_those_of_transformers(folder: Path) -> None:
    found, theirs = Tokenizer.load(folder), reference(folder)
    assert found.encode(TEXTS) == theirs(TEXTS, add_special_tokens=False).input_ids
    assert [[*found.prefix, *ids, *found.suffix] for ids in found.encode(TEXTS)] == theirs(TEXTS).input_ids
    assert found.size == len(theirs)
    for ids in found.encode(TEXTS):
        assert found.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)


def test_roles(ours: Tokenizer, bert: Path, llama: Path) -> None:
    def roles(found: Tokenizer) -> tuple[object, ...]:
        return found.pad, found.bos, found.eos, found.prefix, found.suffix, found.specials

    assert roles(ours) == (None, 0, 0, (), (), (0,))
    assert roles(Tokenizer.load(bert)) == (0, 2, 3, (2,), (3,), (0, 2, 3, 4))  # not 1: [UNK] stands for a word
    assert roles(Tokenizer.load(llama)) == (None, 1, 2, (1,), (), (1, 2))


def test_there_and_back_through_a_folder(folder: Path, tmp_path: Path) -> None:
    first = Tokenizer.load(folder)
    first.save(tmp_path / "copy")
    second = Tokenizer.load(tmp_path / "copy")
    assert second.fingerprint == first.fingerprint
    assert (
        second.encode(TEXTS)
        == first.encode(TEXTS)
        == reference(tmp_path / "copy")(TEXTS, add_special_tokens=False).input_ids
    )
    assert (second.pad, second.bos, second.eos, second.specials) == (first.pad, first.bos, first.eos, first.specials)


@given(text=st.text())
def test_every_text_has_tokens_and_gets_back_from_them(ours: Tokenizer, text: str) -> None:
    ids = ours.encode([text])[0]
    assert ours.decode(ids) == text
    assert all(0 < id < ours.size for id in ids)


@given(texts=st.lists(st.text(max_size=20), max_size=20))
def test_many_texts_are_as_each_alone(ours: Tokenizer, texts: list[str]) -> None:
    assert ours.encode(texts) == [ours.encode([text])[0] for text in texts]


def test_a_special_name_in_a_text_is_text(ours: Tokenizer, bert: Path) -> None:
    text = f"a{tokenizer.END}b"
    assert 0 not in ours.encode([text])[0]
    assert ours.decode(ours.encode([text])[0]) == text
    found = Tokenizer.load(bert)
    assert not {*found.specials} & {*found.encode(["the [SEP] dog [PAD]"])[0]}


def test_a_copy_is_the_same(ours: Tokenizer) -> None:
    text = f"a{tokenizer.END}b"
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert copied.encode([text]) == ours.encode([text])
        assert copied.fingerprint == ours.fingerprint


def test_a_tokenizer_that_cuts_texts_off_does_not(ours: Tokenizer) -> None:
    backend = tokenizers.Tokenizer.from_str(ours._backend.to_str())
    backend.enable_truncation(2)
    backend.enable_padding(length=9, pad_id=0)
    assert Tokenizer(backend, bos=0, eos=0).encode(TEXTS) == ours.encode(TEXTS)
    assert backend.truncation["max_length"] == 2  # and the one it was given stays as it was


@given(text=st.text(st.characters(max_codepoint=127)))
def test_the_pieces_of_a_text_are_the_text(ours: Tokenizer, text: str) -> None:
    assert "".join(map(ours.piece, ours.encode([text])[0])) == text


def pieces(found: Tokenizer, text: str) -> list[str]:
    return [found.piece(id) for id in found.encode([text])[0]]


def test_pieces_of_bytes(ours: Tokenizer) -> None:
    assert pieces(ours, "\x00 \n\t~¡") == ["\x00", " ", "\n", "\t", "~", r"\xc2", r"\xa1"]
    assert "".join(pieces(ours, "𝄞")) == r"\xf0\x9d\x84\x9e"
    assert ours.piece(0) == "<|endoftext|>"
    assert any(piece.startswith(" ") and len(piece) > 1 for piece in map(ours.piece, range(ours.size)))


def test_pieces_of_wordpiece_are_no_bytes(bert: Path) -> None:
    found = Tokenizer.load(bert)
    assert pieces(found, "Jumping, café") == [
        found._backend.id_to_token(id) for id in found.encode(["Jumping, café"])[0]
    ]
    assert "##" in "".join(pieces(found, "Jumping"))
    assert [found.piece(id) for id in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_pieces_of_sentencepiece(llama: Path) -> None:
    found = Tokenizer.load(llama)
    assert pieces(found, "the é\n") == [" t", "he", " ", r"\xc3", r"\xa9", "\n"]
    assert found.piece(1) == "<s>"


def test_a_character_that_spaces_are_written_as_elsewhere_is_itself(ours: Tokenizer) -> None:
    assert "".join(pieces(ours, "▁")) == r"\xe2\x96\x81"
    assert pieces(ours, "##") == ["#", "#"]


def test_a_hole_between_the_ids_is_called_by_its_number() -> None:
    found = Tokenizer(tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 3}, unk_token="a")))
    assert found.size == 4
    assert [found.piece(id) for id in range(4)] == ["a", "1", "2", "b"]


@pytest.mark.parametrize("id", [-1, 300])
def test_no_piece_outside(ours: Tokenizer, id: int) -> None:
    with pytest.raises(ValueError, match=rf"no token {id}: this tokenizer has ids 0 to 299"):
        ours.piece(id)


def test_training_is_the_same_each_time(ours: Tokenizer) -> None:
    documents = [Document("", "the cat sat on the mat, the cat" * 2), Document("", "on the other hand" * 2)]
    first, again = (tokenizer.train(iter(documents), 270) for _ in range(2))
    assert first.fingerprint == again.fingerprint != ours.fingerprint
    assert tokenizer.train(documents, 265).fingerprint != first.fingerprint
    assert first.size == 270
    assert len(first.encode(["the cat"])[0]) < len("the cat")


def test_another_role_is_another_fingerprint(ours: Tokenizer) -> None:
    assert Tokenizer(ours._backend, bos=0, eos=0, pad=0).fingerprint != ours.fingerprint
    assert Tokenizer(ours._backend, bos=0, eos=0).fingerprint == ours.fingerprint


def test_a_tokenizer_cannot_be_trained_on_nothing() -> None:
    with pytest.raises(ValueError, match="at least 257 tokens"):
        tokenizer.train([Document("", "a")], 256)
    with pytest.raises(ValueError, match="there is no document to train a tokenizer on"):
        tokenizer.train([], 300)


def test_a_source_that_fails_says_so() -> None:
    def documents() -> Iterator[Document]:
        yield Document("", "some text")
        raise ValueError("corpus.jsonl, line 2: damaged")

    with pytest.raises(ValueError, match=r"corpus\.jsonl, line 2: damaged"):
        tokenizer.train(documents(), 300)


def nothing(folder: Path) -> None:
    pass


def a_model_without_one(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "gpt2"}')


def an_encoder_without_one(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def a_damaged_one(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model"')
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')


def ours_damaged(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model"')
    (folder / "tokenizer_config.json").write_text('{"made_by": "unweave"}')


def ours_without_its_vocabulary(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"made_by": "unweave"}')


def settings_cut_short(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"made_by"')


@pytest.mark.parametrize(
    "make",
    [
        nothing,
        a_model_without_one,
        an_encoder_without_one,
        a_damaged_one,
        ours_damaged,
        ours_without_its_vocabulary,
        settings_cut_short,
    ],
)
def test_a_folder_without_a_tokenizer(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(
        ValueError, match=r"holds no tokenizer that can be read|missing or damaged|damaged or half-written"
    ) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_folder() -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder nowhere"):
        Tokenizer.load("nowhere")


def test_one_that_only_runs_in_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "canine"}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
    with pytest.raises(ValueError, match=r"only runs in Python \(CanineTokenizer\): it has no fast form"):
        Tokenizer.load(tmp_path)


def test_code_in_a_folder_is_never_run(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "bert")
    (tmp_path / "bert" / "own.py").write_text("raise SystemExit('ran')")
    settings = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    (tmp_path / "bert" / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"holds no tokenizer that can be read"):
        Tokenizer.load(tmp_path / "bert")
