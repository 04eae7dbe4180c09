"""N-grams, held against a plain model with dictionaries that follows the formula word by word."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unweave.text import ngram

V = 5


class Plain:
    """Kneser-Ney as Chen and Goodman 1999 write it: the probability of w after h, one at a time."""

    def __init__(self, rows: list[list[int]], size: int, n: int) -> None:
        self.size, self.n = size, n
        self.seen: Counter[tuple[int, ...]] = Counter()
        for row in rows:
            for end in range(1, len(row) + 1):
                for length in range(1, min(n, end) + 1):
                    self.seen[tuple(row[end - length : end])] += 1
        before = defaultdict(set)
        for gram in self.seen:
            if len(gram) > 1:
                before[gram[1:]].add(gram[0])
        self.new = Counter({gram: len(tokens) for gram, tokens in before.items()})

    def discount(self, counts: Counter[tuple[int, ...]], length: int) -> float:
        of = Counter(count for gram, count in counts.items() if len(gram) == length)
        return of[1] / (of[1] + 2 * of[2]) if of[1] and of[2] else 0.5

    def probability(self, history: tuple[int, ...], token: int, top: bool = True) -> float:
        if top:
            history = history[max(0, len(history) - self.n + 1) :]
        counts = self.seen if top else self.new
        lower = self.probability(history[1:], token, top=False) if history else 1 / self.size
        after = {w: counts[(*history, w)] for w in range(self.size) if counts[(*history, w)]}
        total = sum(after.values())
        if not total:
            return lower
        discount = self.discount(counts, len(history) + 1)
        return (max(after.get(token, 0) - discount, 0) + discount * len(after) * lower) / total


def rows_of(*shape: int, seed: int = 0) -> Tensor:
    """Tokens that follow one another unevenly: a walk of small steps."""
    steps = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(seed))
    return steps.cumsum(-1) % V


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_against_the_plain_model(n: int) -> None:
    train, held_out = rows_of(30, 8), torch.randint(0, V, (20, 10), generator=torch.Generator().manual_seed(1))
    plain = Plain(train.tolist(), V, n)
    expected = [
        [math.log(plain.probability(tuple(row[:end]), row[end])) for end in range(1, len(row))]
        for row in held_out.tolist()
    ]
    found = ngram.fit(train, V, n)
    np.testing.assert_allclose(found.log_probs(held_out), expected, rtol=1e-12)
    assert found.loss(held_out) == pytest.approx(-np.mean(expected), rel=1e-12)


@given(
    train=st.lists(st.lists(st.integers(0, V - 1), min_size=3, max_size=3), min_size=1, max_size=8),
    held_out=st.lists(st.integers(0, V - 1), min_size=2, max_size=6),
    n=st.integers(1, 6),
)
def test_against_the_plain_model_on_anything(train: list[list[int]], held_out: list[int], n: int) -> None:
    plain = Plain(train, V, min(n, 3))  # rows of three hold no longer gram
    expected = [math.log(plain.probability(tuple(held_out[:end]), held_out[end])) for end in range(1, len(held_out))]
    found = ngram.fit(torch.tensor(train), V, n).log_probs(torch.tensor([held_out]))
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)


@given(history=st.lists(st.integers(0, V - 1), min_size=1, max_size=6), n=st.integers(1, 5), seed=st.integers(0, 9))
def test_probabilities_sum_to_one(history: list[int], n: int, seed: int) -> None:
    every = torch.tensor([[*history, token] for token in range(V)])
    probs = np.exp(ngram.fit(rows_of(6, 5, seed=seed), V, n).log_probs(every)[:, -1])
    assert probs.sum() == pytest.approx(1, abs=1e-12)
    assert probs.min() > 0


def test_one_token_at_a_time_is_a_count() -> None:
    rows = torch.tensor([[0, 0, 0, 1, 1, 2]])  # counts 3, 2, 1: the discount is 1 / (1 + 2)
    left = 1 / 3 * 3 / 6 / 4
    expected = [3 - 1 / 3, 2 - 1 / 3, 1 - 1 / 3, 0]
    found = ngram.fit(rows, 4, n=1).log_probs(torch.tensor([[0, 0, 1, 2, 3]]))
    np.testing.assert_allclose(np.exp(found[0]), [count / 6 + left for count in expected], rtol=1e-12)


def test_what_follows_is_learned_from_longer_grams() -> None:
    train, held_out = rows_of(400, 20), rows_of(50, 20, seed=1)
    losses = [ngram.fit(train, V, n).loss(held_out) for n in (1, 2)]
    assert losses[0] == pytest.approx(math.log(V), abs=0.01)
    assert losses[1] == pytest.approx(math.log(3), abs=0.01)  # each step is one of three


def test_a_vocabulary_of_many_tokens() -> None:
    """Five tokens of 100,000 are more than an int64 holds."""
    row = torch.tensor([[99_999, 99_998, 99_997, 99_996, 99_995, 99_994]])
    plain = Plain(row.tolist(), 100_000, 5)
    expected = [math.log(plain.probability(tuple(row[0, :end].tolist()), int(row[0, end]))) for end in range(1, 6)]
    np.testing.assert_allclose(ngram.fit(row, 100_000).log_probs(row)[0], expected, rtol=1e-12)


def test_what_cannot_be_counted() -> None:
    rows = rows_of(2, 4)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        ngram.fit(rows, V, n=0)
    with pytest.raises(ValueError, match=r"one at least, of two tokens at least, not \[0, 4\]"):
        ngram.fit(rows[:0], V)
    with pytest.raises(ValueError, match=r"not \[2, 1\]"):
        ngram.fit(rows, V).loss(rows[:, :1])
    with pytest.raises(ValueError, match="a token is outside 0 to 4"):
        ngram.fit(rows, V).loss(rows + 1 + V)
    with pytest.raises(ValueError, match="a token is outside 0 to 4"):
        ngram.fit(rows - V, V)
