"""Normalisation, initialisation, revival, and what the core refuses."""

import inspect

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor
from torch.nn import functional as F

from unweave.config import RunConfig, override
from unweave.dictionary import METHODS, Dictionary, export
from unweave.dictionary.codes import dense
from unweave.dictionary.initial import centre, geometric_median
from unweave.dictionary.methods.batch_topk import BatchTopK
from unweave.dictionary.normalise import normalisation
from unweave.dictionary.objective import OBJECTIVES
from unweave.dictionary.revive import REVIVALS
from unweave.training.loop import Trainer


def sample(n: int = 500, d: int = 8) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(3)) * torch.arange(1, d + 1) + 4


@pytest.mark.parametrize("kind", ["none", "scale", "centre", "each", "direction", "whiten"])
def test_normalisation(kind: str) -> None:
    x, n = sample(), normalisation(8, kind)
    n.fit_(x)
    torch.testing.assert_close(n.undo(n(x), x), x)
    if kind != "none":
        assert n(x).pow(2).sum(-1).mean().item() == pytest.approx(8, rel=1e-5)
    if kind in ("centre", "whiten"):
        assert n(x).mean(0).abs().max() < 1e-5
    if kind in ("each", "direction"):
        torch.testing.assert_close(n(x).norm(dim=1), torch.full((500,), 8**0.5))
    if kind == "whiten":
        torch.testing.assert_close(n(x).T @ n(x) / 500, torch.eye(8), atol=1e-4, rtol=0)


def test_whitening_leaves_alone_what_does_not_vary() -> None:
    x, n = sample(), normalisation(9, "whiten")
    flat = torch.cat([x, torch.ones(500, 1)], 1)
    n.fit_(flat)
    assert n(flat).abs().max() < 10
    torch.testing.assert_close(n.undo(n(flat), None), flat, rtol=1e-4, atol=1e-4)


def test_a_vectors_own_length_cannot_be_made_up() -> None:
    d = Dictionary(8, 16, "relu", normalise="each")
    with pytest.raises(ValueError, match="to decode, give the vectors that were encoded"):
        d.decode(d.encode(sample()))
    torch.testing.assert_close(d(3 * sample()), 3 * d(sample()))


def test_a_direction_is_as_long_as_what_it_stands_for() -> None:
    d = Dictionary(8, 16, "relu", normalise="direction")
    x = sample()
    torch.testing.assert_close(d(x).norm(dim=1), x.norm(dim=1))
    each = Dictionary(8, 16, "relu", normalise="each")
    cosine = torch.nn.functional.cosine_similarity
    torch.testing.assert_close(cosine(d(x), x), cosine(each(x), x))
    with pytest.raises(ValueError, match="to decode, give the vectors that were encoded"):
        d.decode(d.encode(x))


def test_normalisation_refuses() -> None:
    with pytest.raises(ValueError, match="choose one of none, scale, centre, each, direction, whiten"):
        normalisation(8, "bleach")
    with pytest.raises(ValueError, match="do not vary"):
        normalisation(8, "centre").fit_(torch.ones(5, 8))
    with pytest.raises(ValueError, match="do not vary"):
        normalisation(8, "whiten").fit_(torch.ones(5, 8))


def test_geometric_median_against_scipy() -> None:
    x = sample(80, 3)
    found = geometric_median(x).numpy()
    best = scipy.optimize.minimize(
        lambda p: np.linalg.norm(x.numpy() - p, axis=1).mean(), x.mean(0).numpy(), method="Nelder-Mead", tol=1e-10
    )
    np.testing.assert_allclose(found, best.x, atol=5e-3)


def test_geometric_median_ignores_a_far_point() -> None:
    x = torch.cat(
        [
            torch.zeros(99, 2) + 0.01 * torch.randn(99, 2, generator=torch.Generator().manual_seed(0)),
            torch.tensor([[1e4, 0.0]]),
        ]
    )
    assert geometric_median(x).norm() < 0.01
    assert centre(x, "mean").norm() > 50
    assert torch.equal(centre(x, "zero"), torch.zeros(2))


def along_axes(seed: int, n: int = 128) -> Tensor:
    """Sums of eight axes, each of which takes part in 1 of 5 vectors: seven living features leave one for an eighth."""
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(n, 8, generator=g) < 0.2) * (2 + 2 * torch.rand(n, 8, generator=g))


def planted(method: str, revive: str, steps: int = 600) -> tuple[Trainer, Tensor]:
    """A trainer after some steps, feature 0 of which could not fire by itself at first; where its encoder was."""
    settings = {"training.steps": steps, "training.batch": 128, "training.warmup": 1, "training.lr": 1e-2}
    t = Trainer(override(RunConfig(method=method, d_sae=8, revive=revive), settings), 8)
    t.fit_(along_axes(0, 500))
    bias = t.dictionary.coder.b_gate if "gated" in method else t.dictionary.coder.b_enc
    assert isinstance(bias, Tensor)
    with torch.no_grad():
        bias[0] = -4.0
        t.dictionary.coder.W_enc[:, 0] *= 0.1  # type: ignore[index]
    start = t.dictionary.coder.W_enc[:, 0].clone()  # type: ignore[index]
    for i in range(steps):
        t.update(along_axes(i + 1))
    return t, start


@pytest.mark.parametrize("method", ["topk(k=3)", "relu(l1=0.1)", "gated(l1=0.1)", "jumprelu"])
@pytest.mark.parametrize("name", [name for name in REVIVALS if name != "none"])
def test_a_planted_dead_feature_comes_alive(name: str, method: str) -> None:
    """It fires, and not its bias alone has moved: its encoder has."""
    wanted = {"after": 1000, "weight": 1.0, "every": 50}
    arguments = {n: wanted[n] for n in inspect.signature(REVIVALS[name]).parameters if n in wanted}
    revived, start = planted(method, f"{name}({', '.join(f'{n}={v}' for n, v in arguments.items())})")
    assert revived.silent[0] < 2000
    assert (revived.dictionary.coder.W_enc[:, 0] - start).norm() > 0.1  # type: ignore[index]


@pytest.mark.parametrize("method", ["topk(k=3)", "relu(l1=0.1)", "jumprelu"])
def test_without_revival_it_stays_dead(method: str) -> None:
    left, start = planted(method, "none(after=1000)")
    assert torch.equal(left.dictionary.coder.W_enc[:, 0], start)  # type: ignore[index]
    assert left.silent[0] == 600 * 128


def test_resampling_starts_features_anew_and_the_optimiser_forgets_them() -> None:
    settings = {"training.steps": 20, "training.warmup": 1}
    t = Trainer(override(RunConfig(method="relu", d_sae=16, revive="resample(every=10, after=500)"), settings), 8)
    t.fit_(sample())
    with torch.no_grad():
        t.dictionary.coder.b_enc[:2] = -300.0  # type: ignore[index]
        t.dictionary.coder.W_enc[:, :2] *= 5  # type: ignore[index]  # must not count in the average length
    for i in range(9):
        t.update(sample(100) + i / 100)
    coder, d = t.dictionary.coder, t.dictionary
    living = coder.W_enc[:, 2:].norm(dim=0).mean()  # type: ignore[index]
    before = d.W_dec.detach().clone()
    t.update(sample(100))
    reads = coder.W_enc[:, :2]  # type: ignore[index]
    torch.testing.assert_close(F.normalize(reads, dim=0), d.W_dec[:2].T)
    assert reads.norm(dim=0).tolist() == pytest.approx([0.2 * living.item()] * 2, rel=0.02)
    assert coder.b_enc[:2].tolist() == [0, 0]  # type: ignore[index]
    assert not torch.allclose(before[:2], d.W_dec[:2], atol=1e-2)
    assert torch.allclose(before[2:], d.W_dec[2:], atol=1e-1)
    memory = t.optimiser.inner.state
    assert memory[d.W_dec]["exp_avg"][:2].abs().max() == 0
    assert memory[d.W_dec]["exp_avg_sq"][2:].abs().max() > 0
    assert memory[coder.W_enc]["exp_avg_sq"][:, :2].abs().max() == 0  # type: ignore[index]
    assert t.silent[:2].max() <= 100


def test_auxk_leaves_the_living_alone() -> None:
    t = Trainer(RunConfig(method="topk(k=2)", d_sae=16), 8)
    t.fit_(sample())
    report = [t.update(sample(128)) for _ in range(50)][-1]
    assert report is not None
    assert report["auxk"] == 0


def test_batch_topk_passes_k_a_row_on_average_and_keeps_a_threshold() -> None:
    t = Trainer(override(RunConfig(method="batch_topk(k=3)", d_sae=32), {"training.steps": 600}), 8)
    t.fit_(sample())
    x = sample(256)
    for _ in range(600):
        t.update(x)
    assert (dense(t.dictionary.encode(x)) > 0).sum() == 3 * 256
    counts = (dense(t.dictionary.encode(x)) > 0).sum(1)
    assert counts.min() < counts.max(), "rows may differ"
    activation = t.dictionary.coder.activation  # type: ignore[union-attr]
    assert isinstance(activation, BatchTopK)
    assert activation.threshold > 0
    assert (dense(t.dictionary.eval().encode(x)) > 0).sum().item() / 256 == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("topk(k=100)", "does not fit a dictionary of d_sae=48"),
        ("batch_topk(k=0)", "k must be 1 to 48"),
        ("topj(k=3)", "did you mean 'topk'"),
        ("topk(j=3)", r"topk has no argument 'j'.*topk\(k=32, anneal=0.0\)"),
        ("relu(l1=-1.0)", "cannot be negative"),
        ("topk(__import__('os'))", "cannot read"),
    ],
)
def test_bad_methods_get_one_clear_sentence(call: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Dictionary(24, 48, call)


def test_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width 24, not 25"):
        Dictionary(24, 48, "topk").encode(torch.zeros(2, 25))


def test_descriptions_are_calls() -> None:
    assert METHODS.describe("topk") == "topk(k=32, anneal=0.0)"


def test_objectives_word_for_word() -> None:
    x_hat, x = torch.randn(5, 8), torch.randn(5, 8)
    rows = [((a - b) ** 2).sum().item() for a, b in zip(x_hat, x, strict=True)]
    cosines = [(a @ b / a.norm() / b.norm()).item() for a, b in zip(x_hat, x, strict=True)]
    expected = {
        "squared()": sum(rows) / 5,
        "unsquared()": sum(r**0.5 for r in rows) / 5,
        "unsquared(by_width=True)": sum(r**0.5 for r in rows) / 5 / 8,
        "cosine(weight=8.0)": 8 * (1 - sum(cosines) / 5),
    }
    for call, value in expected.items():
        assert OBJECTIVES.build(call).distance(x_hat, x).item() == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if not OBJECTIVES.build(name).end_to_end])
def test_every_objective_is_what_training_lowers(objective: str) -> None:
    settings = {"training.steps": 200, "training.batch": 128, "training.log_every": 1}
    t = Trainer(override(RunConfig(method="topk(k=2)", d_sae=16, objective=objective), settings), 8)
    t.fit_(sample())
    reports = [t.update(sample(128) + i / 1000) for i in range(200)]
    assert reports[0] is not None
    assert reports[-1] is not None
    assert reports[-1]["error"] < 0.9 * reports[0]["error"]


def test_a_deep_encoder_begins_as_the_affine_one_and_is_exported_whole() -> None:
    x, one = sample(), Dictionary(8, 16, "topk(k=2)", seed=3)
    t = Trainer(override(RunConfig(method="topk(k=2)", d_sae=16, encoder="deep(width=32)", seed=3), {}), 8)
    torch.testing.assert_close(dense(t.dictionary.encode(x)), dense(one.encode(x)))
    t.fit_(x)
    for _ in range(50):
        t.update(x)
    assert t.dictionary.lift.W_out.abs().max() > 0  # type: ignore[operator]
    folded = export.export(t.dictionary, x)
    torch.testing.assert_close(folded(x), t.dictionary(x), rtol=1e-4, atol=1e-3)


def test_a_deep_encoder_is_saved_and_loaded(tmp_path) -> None:
    d = Dictionary(8, 16, "relu", encoder="deep(width=4)")
    export.save(d, tmp_path / "sae.safetensors")
    loaded = export.load(tmp_path / "sae.safetensors")
    assert loaded.encoder == "deep(width=4)"
    assert torch.equal(dense(loaded.encode(sample())), dense(d.encode(sample())))


def test_penalties_are_brought_in_slowly() -> None:
    settings = {"training.steps": 10, "training.penalty_warmup": 0.5}
    t, shares = Trainer(override(RunConfig(method="relu(l1=1.0)", d_sae=16), settings), 8), []
    t.fit_(sample())
    for number in range(10):
        t.step = number
        step = t.look(sample())
        shares.append(t.parts(step)["l1"].item() / dense(step.codes).sum(1).mean().item())
    assert shares == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1], abs=1e-5)


@pytest.mark.parametrize("method", ["topk", "batch_topk"])
def test_an_annealed_k_falls_to_its_value(method: str) -> None:
    t = Trainer(override(RunConfig(method=f"{method}(k=2, anneal=0.5)", d_sae=12), {"training.steps": 20}), 8)
    t.fit_(sample())
    passing = [t.dictionary.coder.activation.passing]  # type: ignore[union-attr]
    for i in range(20):
        t.update(sample(100) + i / 100)
        passing.append(t.dictionary.coder.activation.passing)  # type: ignore[union-attr]
    assert passing == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, *[2] * 11]
    t.dictionary.coder.activation.now.fill_(5)  # type: ignore[union-attr, operator]
    assert t.dictionary.coder.activation.passing == 5  # type: ignore[union-attr]
    t.dictionary.eval()
    assert t.dictionary.coder.activation.passing == 2, "k itself, once trained"  # type: ignore[union-attr]


def test_starts_set_the_encoder_alone() -> None:
    def weights(start: str) -> tuple[Tensor, Tensor]:
        t = Trainer(RunConfig(method="relu", d_sae=16, start=start), 8)
        return t.dictionary.coder.W_enc.detach(), t.dictionary.W_dec.detach()  # type: ignore[return-value, operator]

    read, written = weights("transpose(scale=0.5)")
    torch.testing.assert_close(read, 0.5 * written.T)
    other, same = weights("independent(scale=0.1)")
    torch.testing.assert_close(other.norm(dim=0), torch.full((16,), 0.1))
    assert torch.equal(same, written)
    assert (F.normalize(other, dim=0) * same.T).sum(0).abs().mean() < 0.6
    with pytest.raises(ValueError, match="scale must be above 0"):
        weights("transpose(scale=0.0)")


@pytest.mark.parametrize(("d_in", "d_sae"), [(8, 1), (1, 8)])
@pytest.mark.parametrize("method", ["none", "gated", "glu", "topk(k=1)"])
def test_no_two_parameters_are_one(method: str, d_in: int, d_sae: int) -> None:
    """A transposed matrix with one row or column is contiguous as it is: it must be a copy all the same."""
    parameters = list(Dictionary(d_in, d_sae, method).parameters())
    assert len({parameter.data_ptr() for parameter in parameters}) == len(parameters)
