"""Work in parts, on several threads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unweave import threads


@given(st.integers(1, 50), st.integers(1, 60), st.integers(1, 4))
def test_every_part_is_done_once(n: int, size: int, team: int) -> None:
    done = [0] * n
    parts = []

    def work(start: int, stop: int) -> None:
        parts.append(stop - start)
        for i in range(start, stop):
            done[i] += 1

    with threads.on(team):
        threads.in_parts(n, size, work)
    assert done == [1] * n
    assert max(parts) <= size


def test_what_a_part_raises_is_raised() -> None:
    def work(start: int, stop: int) -> None:
        if start:
            raise ValueError(f"part {start}")

    with threads.on(2), pytest.raises(ValueError, match="part 3"):
        threads.in_parts(6, 3, work)


def test_parts_of_parts_do_not_wait_for_one_another() -> None:
    inner = []
    with threads.on(2):
        threads.in_parts(4, 1, lambda start, stop: threads.in_parts(4, 1, lambda a, b: inner.append(start)))
    assert len(inner) == 16


def test_torch_has_one_thread_in_each_and_as_many_as_before_outside() -> None:
    before, seen = torch.get_num_threads(), []
    with threads.on(3) as team:
        threads.in_parts(3, 1, lambda start, stop: seen.append(torch.get_num_threads()))
    assert seen == [1, 1, 1]
    assert torch.get_num_threads() == before
    assert team.seconds >= 0
