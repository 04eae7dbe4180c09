"""The strongest examples of each feature, against sorting all of them."""

import numpy as np
import torch
from boards import some_labels
from hypothesis import given
from hypothesis import strategies as st

from unweave.evaluation.context import Half
from unweave.evaluation.own import _TOP, _strongest
from unweave.evaluation.readout import SparseColumns


@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([2, 1000]))
def test_the_strongest_are_the_first_of_all_sorted(seed: int, n: int, values: int) -> None:
    """With ties, of which the first are kept, and with features that have fewer or none."""
    draw = np.random.default_rng(seed)
    codes = (draw.integers(0, values, (n, 3)) * (draw.random((n, 3)) < [0.0, 0.3, 1.0])).astype(np.float32)
    rows, features = codes.nonzero()
    offsets = np.append(0, np.bincount(rows, minlength=n).cumsum())
    half = Half(torch.zeros(1, 60), some_labels(n, seed), {}, torch.arange(n) * 7, torch.arange(n) % 59)
    found = _strongest(SparseColumns.from_rows(offsets, features, codes[rows, features], 3), half)
    for feature in range(3):
        order = [row for row in np.argsort(-codes[:, feature], kind="stable") if codes[row, feature] > 0][:_TOP]
        missing = [-1] * (_TOP - len(order))
        assert found["top_value"][feature].tolist() == [*codes[order, feature].tolist(), *missing]
        assert found["top_game"][feature].tolist() == [*(7 * row for row in order), *missing]
        assert found["top_ply"][feature].tolist() == [*(row % 59 for row in order), *missing]
