"""Corpora: games as they always were, and rows of text without end, each as often as every other."""

from pathlib import Path

import pytest
import tiny_reader
import tiny_subject
import torch
from tiny_reader import CONTEXT

from unweave.activations.corpus import Corpus, Games, Text, corpus
from unweave.activations.harvest import harvest
from unweave.config import DataConfig
from unweave.othello import games, tokens


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    return DataConfig(text=str(tiny_reader.write(tmp_path / "some.jsonl", tiny_reader.documents(300))), context=CONTEXT)


def text(data: DataConfig) -> Text:
    made = corpus(data, tiny_reader.tiny())
    assert isinstance(made, Text)
    assert isinstance(made, Corpus)
    return made


def test_games_are_those_of_the_stream() -> None:
    of = corpus(DataConfig(), tiny_subject.tiny())
    assert isinstance(of, Games)
    rows = of.sample("test", 5, 1)
    assert torch.equal(rows.tokens, tokens.encode(games.sample("test", 5, 1)))
    assert torch.equal(rows.there, rows.tokens != tokens.PAD)
    assert rows.learn is rows.there
    stream = of.stream("train", n=3, seed=2)
    next(stream)
    assert torch.equal(next(stream).tokens, next(of.stream("train", n=3, seed=2, skip=1)).tokens)


def test_every_row_of_a_text_is_served_once_before_any_is_again(data: DataConfig) -> None:
    of = text(data)
    whole = torch.cat([rows.tokens for rows in of.once("train", 7)])
    n, rounds = len(whole), 3
    stream = of.stream("train", n=10, seed=4)
    served = torch.cat([next(stream).tokens for _ in range(-(-rounds * n // 10))])[: rounds * n]
    orders = [part.tolist() for part in served.split(n)]
    assert all(sorted(order) == sorted(whole.tolist()) for order in orders)
    assert orders[0] != orders[1] != orders[2] != whole.tolist()


def test_a_stream_goes_on_from_anywhere(data: DataConfig) -> None:
    of = text(data)
    stream = of.stream("train", n=9, seed=4)
    first = [next(stream) for _ in range(30)]
    for skip in (0, 1, 13, 29):
        assert torch.equal(next(of.stream("train", n=9, seed=4, skip=skip)).tokens, first[skip].tokens)


def test_a_sample_has_no_row_twice_and_splits_share_none(data: DataConfig) -> None:
    of = text(data)
    samples = {split: of.sample(split, 10_000, 0).tokens for split in ("train", "validation", "test")}
    for split, rows in samples.items():
        assert len(rows) == sum(len(part) for part in of.once(split, 100))
        assert len(of.sample(split, 3, 0)) == 3
    documents = {name: tiny_reader.words().decode(rows.flatten().tolist()) for name, rows in samples.items()}
    assert len(set(documents.values())) == 3


def test_separators_and_first_positions_are_not_learnt_from_unless_asked(data: DataConfig) -> None:
    rows = text(data).sample("train", 50, 0)
    separators = torch.isin(rows.tokens, torch.tensor(tiny_reader.words().specials))
    assert separators[:, 1:].any()
    first = torch.zeros_like(separators)
    first[:, 0] = True
    assert torch.equal(rows.learn, ~(separators | first))
    assert rows.there.all()
    asked = DataConfig(text=data.text, context=CONTEXT, specials=True)
    assert text(asked).sample("train", 50, 0).learn.all()
    found = harvest(tiny_reader.tiny(), rows, ["resid_post.0"])
    assert len(found.row) == int(rows.learn.sum())
    assert (found.position > 0).all()


def test_rows_can_be_taken_apart(data: DataConfig) -> None:
    rows = text(data).sample("train", 10, 0)
    parts = list(rows.split(4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([part.learn for part in parts]), rows.learn)
    assert rows.until(5).tokens.shape == (10, 5)
    assert [len(part) for part in rows[:0].split(4)] == [0]


def test_nan_is_named_with_its_site_and_tokens() -> None:
    subject = tiny_subject.tiny()
    row = torch.tensor([[1, 2, 3, 4, 5, 6], [4, 7, 8, 9, 10, 0]])
    subject.embed.weight.data[9] = torch.nan  # type: ignore[index]
    said = r"infinite activations at embed, at position 3, where the tokens end in \[4, 7, 8, 9\]"
    with pytest.raises(ValueError, match=said):
        harvest(subject, tiny_subject.rows(row), ["embed"])


@pytest.mark.parametrize(
    ("subject", "changed", "said"),
    [
        (tiny_reader.tiny, {"text": ""}, "reads text: name a file"),
        (tiny_subject.tiny, {}, "reads games of Othello, not text"),
        (tiny_reader.tiny, {"context": 100}, "takes 24 tokens at most"),
        (tiny_reader.tiny, {"text": "no/such.txt"}, "there is no file or folder"),
    ],
)
def test_bad_input(data: DataConfig, subject, changed: dict, said: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        corpus(DataConfig(**{"text": data.text, "context": CONTEXT} | changed), subject())
