"""The n-gram model that a language model's loss is held against: interpolated Kneser-Ney.

Source: Kneser and Ney 1995; Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling",
Sect. 2.7, with one discount an order. Shapes: R rows, S positions, U different grams of an order, C of the order below
it, which are their contexts, N positions of an order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


class _Counted:
    """How often each gram of an order counts, and how much of a context's probability that leaves for the order below.

    The discount is n1 / (n1 + 2 n2), of the numbers of grams that count once and twice; 1/2 where that is 0 or 1, which
    would leave nothing for what was never seen, or nothing for what was seen once.
    """

    def __init__(self, counts: np.ndarray, contexts: np.ndarray, n_contexts: int) -> None:
        """counts: `[U]`. contexts: `[U]`, which of the C contexts each gram begins with."""
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        self.discount = once / (once + 2 * twice) if once and twice else 0.5
        self.counts = counts
        self.total = np.bincount(contexts, weights=counts, minlength=n_contexts)
        self.different = np.bincount(contexts[counts > 0], minlength=n_contexts)

    def mixed(self, grams: np.ndarray, contexts: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """Probabilities `[R, N]` of the last tokens of `grams [R, N]` after `contexts [R, N]`, both -1 where they were
        never seen, with `lower [R, N]`, their probabilities in the order below."""
        counts = np.where(grams >= 0, self.counts[grams], 0)
        total = np.where(contexts >= 0, self.total[contexts], 0)
        left = self.discount * self.different[contexts] * lower
        return np.where(total > 0, (np.maximum(counts - self.discount, 0) + left) / np.maximum(total, 1), lower)


@dataclass(frozen=True)
class _Order:
    """The grams of one length. keys: `[U] int64`, sorted, of each the number of its context times V, plus its last
    token. seen: by how often a gram was seen, for where no longer one can be asked; new: by after how many different
    tokens it was."""

    keys: np.ndarray
    seen: _Counted
    new: _Counted


class NGram:
    """What `fit` returns."""

    def __init__(self, size: int, orders: list[_Order]) -> None:
        self.size, self._orders = size, orders

    def loss(self, rows: Tensor) -> float:
        """Nats per token of `rows [R, S]`: the mean over all tokens but the first of each row, as of a model that reads
        from the row's start. Raises what `log_probs` does."""
        return float(-self.log_probs(rows).mean())

    def log_probs(self, rows: Tensor) -> np.ndarray:
        """`[R, S - 1] float64`, of every token but the first of each row, given those before it. Raises ValueError for
        a token that is not 0..size-1, and for rows of fewer than two."""
        tokens = _checked(rows, self.size)
        probs = np.zeros(tokens.shape)
        lower = np.full((len(tokens), tokens.shape[1] + 1), 1 / self.size)  # of the order 0: all tokens alike
        contexts = np.zeros_like(tokens)
        for length, order in enumerate(self._orders[: tokens.shape[1]], start=1):
            grams = _find(order.keys, contexts, tokens[:, length - 1 :], self.size)
            lower = lower[:, 1:]
            longest = length == len(self._orders)
            here = slice(None) if longest else slice(1)  # no longer context: there is none in the model, or the row
            probs[:, length - 1 :][:, here] = order.seen.mixed(grams[:, here], contexts[:, here], lower[:, here])
            lower, contexts = order.new.mixed(grams, contexts, lower), grams[:, :-1]
        return np.log(probs[:, 1:])


def fit(rows: Tensor, size: int, n: int = 5) -> NGram:
    """The model of up to `n` tokens at a time of `rows [R, S]`, ids 0..size-1; no gram reaches over a row's end.

    Raises ValueError for an n below 1, rows of fewer than two tokens, none at all, and a token that is not 0..size-1.
    """
    if n < 1:
        raise ValueError(f"n is how many tokens a gram has, at least 1, not {n}")
    tokens = _checked(rows, size)
    keys: list[np.ndarray] = []
    seen: list[np.ndarray] = []
    new: list[np.ndarray] = []
    contexts = grams = np.zeros_like(tokens)  # before order 1: all tokens have the one context of length 0
    for length in range(1, min(n, tokens.shape[1]) + 1):
        found, first, which, counts = np.unique(
            contexts * size + tokens[:, length - 1 :], return_index=True, return_inverse=True, return_counts=True
        )
        if length > 1:  # the order below: each gram here is one more token before its last `length - 1`
            new[-1] = np.bincount(grams[:, 1:].ravel()[first], minlength=len(keys[-1]))
        keys.append(found)
        seen.append(counts)
        new.append(counts)
        grams = which.reshape(len(tokens), -1)
        contexts = grams[:, :-1]
    orders = []
    for i, found in enumerate(keys):
        begins, n_contexts = found // size, len(keys[i - 1]) if i else 1
        orders.append(_Order(found, _Counted(seen[i], begins, n_contexts), _Counted(new[i], begins, n_contexts)))
    return NGram(size, orders)


def _find(keys: np.ndarray, contexts: np.ndarray, last: np.ndarray, size: int) -> np.ndarray:
    """Which of `keys` each gram of a context and a last token is: `[R, N]`, -1 for none."""
    wanted = contexts * size + last
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((contexts >= 0) & (keys[at] == wanted), at, -1)


def _checked(rows: Tensor, size: int) -> np.ndarray:
    if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] < 2:
        raise ValueError(f"rows should be [R, S], one at least, of two tokens at least, not {list(rows.shape)}")
    if int(rows.min()) < 0 or int(rows.max()) >= size:
        raise ValueError(f"a token is outside 0 to {size - 1}: the rows are of another tokenizer")
    return rows.cpu().numpy().astype(np.int64, copy=False)
