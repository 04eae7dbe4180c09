"""The planted subject: what it says it is."""

import pytest
import torch

from unweave.othello import games, tokens
from unweave.subject import Subject, load
from unweave.subject.toy import Toy, _hash


def played(n: int = 300, seed: int = 0) -> torch.Tensor:
    return tokens.encode(games.sample("train", n, seed))[:, :59]


def apart(x: torch.Tensor) -> torch.Tensor:
    """Of `[B, S, ...]` the positions at which games have parted: before, many share their tokens and so their codes."""
    return x[:, 8:].flatten(0, 1)


def made(**settings: float) -> Toy:
    found = load(f"toy({', '.join(f'{name}={value}' for name, value in settings.items())})")
    assert isinstance(found, Toy)
    return found


def test_it_is_a_subject_and_its_hash_is_splitmix64() -> None:
    assert isinstance(load("toy()"), Subject)
    found = _hash(torch.tensor([0, 1, 2**62])).tolist()
    assert [x % 2**64 for x in found[:2]] == [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1]


def test_each_feature_is_active_as_often_as_it_should_and_on_its_own() -> None:
    toy = made(n_features=20, p=0.1)
    codes = apart(toy.codes(played()))
    active = (codes > 0).float()
    torch.testing.assert_close(active.mean(0), torch.full((20,), 0.1), atol=0.01, rtol=0)
    together = torch.corrcoef(active.T)
    assert (together - torch.eye(20)).abs().max() < 0.05
    assert codes[codes > 0].min() >= 0.5
    assert codes.max() <= 1.5
    assert codes[codes > 0].mean().item() == pytest.approx(1, abs=0.01)


def test_the_same_tokens_give_the_same_activations_and_only_those_before() -> None:
    toy, ids = made(), played(5)
    assert torch.equal(toy.activations(ids), made().activations(ids))
    other = ids.clone()
    other[:, 30] = (other[:, 30] % 60) + 1
    same = (toy.activations(ids) == toy.activations(other)).all(-1)
    assert same[:, :30].all()
    assert not same[:, 30:].all(0).any()


def test_pairs_go_together_and_children_only_with_their_parents() -> None:
    toy = made(n_features=20, p=0.2, pairs=3, correlation=0.8, children=4)
    active = apart(toy.codes(played())) > 0
    for i in range(3):
        first, second = active[:, 2 * i], active[:, 2 * i + 1]
        assert (second & first).sum() / first.sum() == pytest.approx(0.8 + 0.2 * 0.2, abs=0.02)
        assert second.float().mean().item() == pytest.approx(0.2, abs=0.02)
    for parent, child in zip(range(12, 16), range(16, 20), strict=True):
        assert not (active[:, child] & ~active[:, parent]).any()
        assert active[:, child].sum() / active[:, parent].sum() == pytest.approx(0.5, abs=0.03)
    assert toy.independent.nonzero().squeeze(1).tolist() == list(range(6, 12))


def test_activations_are_sums_of_the_directions_and_edits_reach_the_logits() -> None:
    toy, ids = made(n_features=10, d=6), played(3)
    assert toy.read(ids, ["embed"])["embed"].shape == (3, 59, 6)
    torch.testing.assert_close(toy.activations(ids), torch.einsum("bsf,fd->bsd", toy.codes(ids), toy.directions))
    assert toy.run(ids, {"embed": torch.zeros_like}).abs().max() == 0
    assert toy.run(ids).abs().max() > 0
    with pytest.raises(ValueError, match="the shape must stay"):
        toy.run(ids, {"embed": lambda x: x[:1]})


@pytest.mark.parametrize("call", ["toy(p=0.0)", "toy(pairs=40)", "toy(children=-1)", "toy(correlation=2.0)"])
def test_what_cannot_be_drawn_is_refused(call: str) -> None:
    with pytest.raises(ValueError, match="toy:"):
        load(call)
