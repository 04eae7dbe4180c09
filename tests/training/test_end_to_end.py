"""Objectives that look through the subject to its output: their values, their gradients, and what they leave alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unweave.activations.batches import Batch, of_rows, whole_rows
from unweave.activations.buffer import Place
from unweave.activations.corpus import Games, of_games
from unweave.config import DataConfig, RunConfig, override
from unweave.dictionary import METHODS
from unweave.dictionary.codes import dense
from unweave.evaluation.faithfulness import Faithfulness
from unweave.othello import games, tokens
from unweave.runs import train
from unweave.subject import SUBJECTS, Subject, disk, joined
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.subject.sequences import Sequences
from unweave.training.loop import Trainer
from unweave.training.properties import fitting

D, F, SITE = 16, 40, "resid_post.0"


@pytest.fixture
def subject() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layers=2, d_model=D, n_heads=2), ALPHABET)
    for weight in model.parameters():
        weight.data.mul_(5)  # the initial weights are so small that nothing would depend on anything
    return model.requires_grad_(False)


def some_games() -> Tensor:
    """Four games, of which two are broken off."""
    moves = games.sample("train", 4, 0).clone()
    moves[1, 20:] = -1
    moves[2, 5:] = -1
    return moves


def trainer(batch: Batch, **settings) -> Trainer:
    """A trainer before its first step, with normalisation and b_dec from the batch."""
    base = RunConfig(site=SITE, method="topk(k=4)", d_sae=F, objective="kl()", revive="none()")
    config = override(base, {"training.steps": 100, "training.warmup": 1} | settings)
    x, target = batch.vectors[config.site], batch.vectors.get(config.target)
    made = Trainer(config, x.shape[1], None if target is None else target.shape[1])
    made.fit_(x, target)
    return made


def loss(t: Trainer, batch: Batch) -> Tensor:
    at = t.config.target or t.config.site
    step = t.look(batch.vectors[t.config.site], batch.vectors.get(t.config.target), batch.downstream[at])
    return t.parts(step)["error"]


def update(t: Trainer, batch: Batch) -> None:
    at = t.config.target or t.config.site
    t.update(batch.vectors[t.config.site], batch.vectors.get(t.config.target), batch.downstream[at])


def by_hand(subject: Subject, moves: Tensor, t: Trainer) -> tuple[float, float]:
    """KL and cross-entropy game by game without any padding, position by position."""
    site, target = t.config.site, t.config.target or t.config.site
    divergence, cross_entropy = [], []
    for row in tokens.encode(moves):
        row = row[row != tokens.PAD][None]
        inputs, following = row[:, :59], row[0, 1:]
        x_hat = t.dictionary(joined.read(subject, inputs, [site])[site][0])[None]
        p = subject.run(inputs)[0].log_softmax(-1)
        q = subject.run(inputs, {target: lambda _x, x_hat=x_hat: x_hat})[0].log_softmax(-1)
        for position, token in enumerate(following.tolist()):
            divergence.append((p[position].exp() * (p[position] - q[position])).sum().item())
            cross_entropy.append(-q[position, token].item())
    assert len(divergence) == 59 + 19 + 4 + 59
    return sum(divergence) / len(divergence), sum(cross_entropy) / len(cross_entropy)


@pytest.mark.parametrize(
    "settings",
    [
        *({"normalise": kind} for kind in ("none", "scale", "centre", "each", "direction", "whiten")),
        {"site": "mlp_act.1"},
        {"site": "mlp_in.1", "target": "mlp_out.1", "skip": True},
        {"site": "resid_post.0+mlp_in.1", "target": "mlp_out.1"},
    ],
)
def test_the_loss_is_what_loops_over_games_and_positions_give(subject: GPT, settings: dict) -> None:
    moves = some_games()
    batch = of_rows(
        subject,
        of_games(moves),
        [site for key, site in ({"site": SITE} | settings).items() if key in ("site", "target")],
    )
    t = trainer(batch, **settings)
    kl, ce = by_hand(subject, moves, t)
    assert kl > 0.01
    assert loss(t, batch).item() == pytest.approx(kl, rel=1e-4)
    both = trainer(batch, objective="cross_entropy(weight=2.0, squared=0.5)", **settings)
    squared = trainer(batch, objective="squared()", **settings)
    assert loss(both, batch).item() == pytest.approx(2 * ce + 0.5 * loss(squared, batch).item(), rel=1e-4)


def test_it_is_what_evaluation_measures(subject: GPT) -> None:
    moves = some_games()
    batch = of_rows(subject, of_games(moves), [SITE])
    t = trainer(batch)
    measured = Faithfulness(subject, SITE, of_games(moves), torch.zeros(D)).spliced(t.dictionary(batch.vectors[SITE]))
    assert loss(t, batch).item() == pytest.approx(measured["kl/1"], rel=1e-4)
    t = trainer(batch, objective="cross_entropy()")
    assert loss(t, batch).item() == pytest.approx(measured["ce_spliced/1"], rel=1e-4)


def test_a_perfect_dictionary_has_no_divergence_and_the_subjects_own_cross_entropy(subject: GPT) -> None:
    """relu(x) - relu(-x) = x: a feature each way along every axis."""
    moves = some_games()
    batch = of_rows(subject, of_games(moves), [SITE])
    axes = torch.cat([torch.eye(D), -torch.eye(D)])
    for objective in ("kl()", "cross_entropy()"):
        t = trainer(batch, method="relu", d_sae=2 * D, objective=objective)
        with torch.no_grad():
            t.dictionary.W_dec.copy_(axes)
            t.dictionary.coder.W_enc.copy_(axes.T)  # type: ignore[operator, union-attr]
        own = Faithfulness(subject, SITE, of_games(moves), torch.zeros(D)).scores["ce/1"]
        expected = 0 if objective == "kl()" else own
        assert loss(t, batch).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("objective", ["kl()", "cross_entropy(squared=0.1)"])
@pytest.mark.parametrize("normalise", ["each", "centre"])
def test_gradients_equal_finite_differences(subject: GPT, objective: str, normalise: str) -> None:
    """In float64 along random directions, where the active features stay the same."""
    batch = of_rows(subject.double(), of_games(some_games()), [SITE])
    x = batch.vectors[SITE]
    t = trainer(Batch({SITE: x.float()}), method="relu", objective=objective, normalise=normalise)
    t.dictionary.double()
    loss(t, batch).backward()
    eps, checked, g = 1e-6, 0, torch.Generator().manual_seed(0)
    for name, p in t.dictionary.named_parameters():
        assert p.grad is not None, name
        direction = torch.randn(p.shape, generator=g, dtype=p.dtype)
        ends, supports = [], []
        with torch.no_grad():
            for by in (eps, -2 * eps):
                p += by * direction
                ends.append(loss(t, batch).item())
                supports.append(dense(t.dictionary.encode(x)) > 0)
            p += eps * direction
        if torch.equal(*supports):
            checked += 1
            assert (p.grad * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / (2 * eps), rel=1e-5), name
    assert checked >= 3
    assert all(p.grad is None for p in subject.parameters())


def test_padding_does_not_matter(subject: GPT) -> None:
    moves = some_games()
    batch = of_rows(subject, of_games(moves), [SITE])
    assert len(batch.vectors[SITE]) == 59 + 20 + 5 + 59
    assert len(batch.downstream[SITE].next) == 59 + 19 + 4 + 59
    t = trainer(batch)
    padded = of_rows(subject, of_games(torch.cat([torch.full_like(moves[:2], -1), moves])), [SITE])
    torch.testing.assert_close(padded.vectors[SITE], batch.vectors[SITE])
    torch.testing.assert_close(loss(t, padded), loss(t, batch))
    apart = [of_rows(subject, of_games(game[None]), [SITE]) for game in moves]
    sums = [loss(t, one) * len(one.downstream[SITE].next) for one in apart]
    torch.testing.assert_close(torch.stack(sums).sum() / (59 + 19 + 4 + 59), loss(t, batch), rtol=1e-4, atol=1e-6)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def test_whole_rows_come_in_batches_of_about_as_many_vectors_and_again_from_anywhere(
    subject: GPT, pool: ThreadPoolExecutor
) -> None:
    data = DataConfig(sequences=24, passes=2, seed=3)

    def take(n: int, start: Place) -> list[tuple[Place, Batch]]:
        stream = whole_rows(subject, Games(), ["embed"], data, batch=256, start=start, pool=pool)
        return [next(stream) for _ in range(n)]

    whole = take(14, Place())
    assert all(3 * 59 < len(batch.vectors["embed"]) <= 4 * 59 for _, batch in whole)
    first = [batch.vectors["embed"][:59] for _, batch in whole]
    assert len({x.sum().item() for x in first}) > 7, "another order at each pass"
    for done in (2, 7, 10):
        for (p, a), (q, b) in zip(whole[done:], take(14 - done, whole[done - 1][0]), strict=True):
            assert p == q
            assert torch.equal(a.vectors["embed"], b.vectors["embed"])
            assert torch.equal(a.downstream["embed"].log_probs, b.downstream["embed"].log_probs)
    with pytest.raises(ValueError, match="needs more rows at a time"):
        next(whole_rows(subject, Games(), ["embed"], data, batch=2048, start=Place(), pool=pool))


def test_training_lowers_the_divergence_more_than_the_squared_error_does_and_leaves_the_subject_alone(
    subject: GPT, pool: ThreadPoolExecutor
) -> None:
    before = {name: weight.clone() for name, weight in subject.state_dict().items()}
    held_out = Games().sample("validation", 20, 0)
    measure = Faithfulness(subject, SITE, held_out, torch.zeros(D))
    x = Sequences(subject, held_out).read([SITE])[SITE]
    divergence = {}
    for objective in ("squared()", "kl()", "cross_entropy()"):
        stream = whole_rows(subject, Games(), [SITE], DataConfig(sequences=64), batch=236, start=Place(), pool=pool)
        _, batch = next(stream)
        t = trainer(batch, objective=objective, **{"training.lr": 1e-2})
        while not t.done:
            _, batch = next(stream)
            update(t, batch)
        divergence[objective] = measure.spliced(t.dictionary.eval()(x))["kl/1"]
    assert divergence["kl()"] < 0.8 * divergence["squared()"]
    assert all(torch.equal(weight, before[name]) for name, weight in subject.state_dict().items())
    assert all(weight.grad is None for weight in subject.parameters())


def test_every_site_and_a_subject_of_another_kind_can_be_trained_through(subject: GPT) -> None:
    toy = SUBJECTS.build("toy(n_features=24, d=16)")
    for model, site in (*((subject, site) for site in subject.sites()), (toy, "embed")):
        batch = of_rows(model, of_games(some_games()), [site])
        t = trainer(batch, site=site)
        was = t.dictionary.W_dec.detach().clone()
        update(t, batch)
        assert t.dictionary.W_dec.isfinite().all()
        assert (t.dictionary.W_dec - was).abs().max() > 0, site


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_is_trained_through(name: str, subject: GPT) -> None:
    batch = of_rows(subject, of_games(some_games()), [SITE])
    t = trainer(batch, method=fitting(name, F))
    for _ in range(3):
        update(t, batch)
    assert all(p.isfinite().all() for p in t.dictionary.parameters())


def test_a_run_is_served_whole_rows_and_its_neighbours_are_not_changed_by_it(subject: GPT, tmp_path: Path) -> None:
    disk.save(subject, tmp_path / "model")
    settings = {"training.steps": 8, "training.batch": 128, "training.log_every": 1, "data.sequences": 16}
    config = override(RunConfig(subject=str(tmp_path / "model"), method="topk(k=4)", d_sae=32), settings)
    through = override(config, {"objective": "kl(squared=0.1)"})
    run, other = train({tmp_path / "a": config, tmp_path / "b": through})
    (alone,) = train({tmp_path / "c": config})
    held = [each.dictionary().state_dict() for each in (run, alone)]
    assert all(torch.equal(tensor, held[1][name]) for name, tensor in held[0].items())
    assert "trained on about 1,024 activations (8 steps of about 128)" in (other.folder / "card.md").read_text()
    assert [line["step"] for line in other.metrics()] == list(range(1, 9))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"objective": "kll()"}, "no objective is called 'kll'; did you mean 'kl'"),
        ({"objective": "kl(squred=1.0)"}, "did you mean 'squared'"),
        ({"objective": "kl(weight=0.0)"}, "a weight above 0"),
        ({"objective": "cross_entropy(squared=-1.0)"}, "squared at least 0"),
        ({"site": "resid_post.0+resid_post.1"}, "into one site of the subject: at resid_post.0.resid_post.1"),
        ({"target": "mlp_out.0+mlp_out.1"}, r"kl\(\) puts its reconstruction into one site"),
        ({"data.sequences": 2}, "needs more rows at a time"),
    ],
)
def test_what_cannot_be_is_told(subject: GPT, tmp_path: Path, settings: dict, sentence: str) -> None:
    disk.save(subject, tmp_path / "model")
    base = RunConfig(subject=str(tmp_path / "model"), method="topk(k=4)", d_sae=32, objective="kl()")
    with pytest.raises(ValueError, match=sentence):
        train({tmp_path / "a": override(base, {"training.batch": 256} | settings)})


def test_vectors_from_everywhere_are_not_enough(subject: GPT) -> None:
    batch = of_rows(subject, of_games(some_games()), [SITE])
    with pytest.raises(ValueError, match="it needs whole rows"):
        trainer(batch).update(batch.vectors[SITE])
