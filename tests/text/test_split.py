"""Splits: they share no text, whatever the order and the names; and they stay as they are."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from unweave.text.sources import Document
from unweave.text.split import split_of


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=2), max_size=50))
def test_no_two_splits_share_a_text(texts: list[str]) -> None:
    found: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for number, text in enumerate(texts):
        found[split_of(Document(f"document {number}", text))].add(text)
    assert sum(map(len, found.values())) == len(set(texts))


def test_a_key_decides_in_the_place_of_the_text() -> None:
    assert {split_of(Document(str(i), str(i), key="json/decoder.py")) for i in range(200)} == {
        split_of(Document("", "json/decoder.py"))
    }


def test_how_many_belong_to_each() -> None:
    counts = Counter(split_of(Document("", f"text {i}")) for i in range(20_000))
    assert set(counts) == {"train", "validation", "test"}
    for split in ("validation", "test"):  # 5 in 100: 1000 expected, standard deviation 31
        assert 850 < counts[split] < 1150


def test_a_document_stays_where_it_is() -> None:
    """A model that was trained by these splits must not be tested by others."""
    expected = {"text 0": "train", "text 8": "validation", "text 7": "test"}
    assert {text: split_of(Document("", text)) for text in expected} == expected
