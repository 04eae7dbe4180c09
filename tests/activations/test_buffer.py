"""The shuffle: it mixes, it loses nothing, it can be taken up anywhere."""

from collections.abc import Iterator

import torch
from torch import Tensor

from unweave.activations.buffer import Place, shuffled

GAMES, PLIES = 200, 59
START = Place()


def source(start: int) -> Iterator[dict[str, Tensor]]:
    """Vectors that carry their own game and ply, at two sites."""
    index = start
    while True:
        game = index * GAMES + torch.arange(GAMES).repeat_interleave(PLIES)
        x = torch.stack([game, torch.arange(PLIES).repeat(GAMES)], 1).float()
        yield {"a": x, "b": -x}
        index += 1


def take(n: int, start: Place = START) -> list[tuple[Place, dict[str, Tensor]]]:
    stream = shuffled(source, batch=256, seed=1, start=start)
    return [next(stream) for _ in range(n)]


def test_a_batch_comes_from_very_many_games() -> None:
    """256 draws from 2 x 200 games' vectors reach about 400 (1 - e^(-256/400)) = 189 of them; no neighbours follow."""
    for _, batch in take(120)[30:]:
        games = batch["a"][:, 0]
        assert len(games.unique()) > 160
        assert len((games // GAMES).unique()) == 2
        assert (games.diff() == 0).float().mean() < 0.02


def test_plies_are_mixed_too() -> None:
    for _, batch in take(20):
        assert 24 < batch["a"][:, 1].mean() < 34


def test_every_vector_is_served_once_but_for_what_is_left_of_a_round() -> None:
    batches = take(46 * 4)
    rows = torch.cat([b["a"] for _, b in batches])
    assert len(rows.unique(dim=0)) == len(rows)
    inside = rows[(rows[:, 0] >= GAMES) & (rows[:, 0] < 2 * GAMES)]  # one chunk, wholly behind us
    assert len(inside) > 0.97 * GAMES * PLIES


def test_passes_serve_a_round_again_in_another_order() -> None:
    once = [batch["a"] for _, batch in take(23)]
    stream = shuffled(source, batch=256, seed=1, passes=2)
    twice = [next(stream) for _ in range(100)]
    assert all(torch.equal(a, b["a"]) for a, (_, b) in zip(once, twice, strict=False))
    rows, times = torch.cat([batch["a"] for _, batch in twice[:46]]).unique(dim=0, return_counts=True)
    assert (times == 2).float().mean() > 0.95
    assert len(rows) <= GAMES * PLIES // 2
    again = shuffled(source, batch=256, seed=1, passes=2, start=twice[29][0])
    assert all(torch.equal(next(again)[1]["a"], batch["a"]) for _, batch in twice[30:])


def test_sites_stay_together() -> None:
    for _, batch in take(10):
        assert torch.equal(batch["a"], -batch["b"])


def test_it_can_be_taken_up_anywhere() -> None:
    whole = take(130)
    for done in (1, 22, 23, 24, 60, 99):
        place = whole[done - 1][0]
        for (p, b), (q, c) in zip(whole[done:], take(130 - done, place), strict=True):
            assert p == q
            assert torch.equal(b["a"], c["a"])


def test_another_seed_is_another_order() -> None:
    assert not torch.equal(take(1)[0][1]["a"], next(shuffled(source, batch=256, seed=2))[1]["a"])
