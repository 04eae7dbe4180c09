"""Normalisation, initialisation, revival, and what the core refuses."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.dictionary import METHODS, Dictionary, export
from unweave.dictionary.codes import dense
from unweave.dictionary.initial import centre, geometric_median
from unweave.dictionary.methods.batch_topk import BatchTopK
from unweave.dictionary.normalise import Normalisation
from unweave.training.loop import Trainer


def sample(n: int = 500, d: int = 8) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(3)) * torch.arange(1, d + 1) + 4


@pytest.mark.parametrize("kind", ["none", "scale", "centre"])
def test_normalisation(kind) -> None:
    x, n = sample(), Normalisation(8)
    n.fit_(x, kind)
    torch.testing.assert_close(n.undo(n(x)), x)
    if kind != "none":
        assert n(x).pow(2).sum(-1).mean().item() == pytest.approx(8, rel=1e-5)
    if kind == "centre":
        assert n(x).mean(0).abs().max() < 1e-5


def test_normalisation_refuses() -> None:
    with pytest.raises(ValueError, match="choose one of none, scale, centre"):
        Normalisation(8).fit_(sample(), "whiten")
    with pytest.raises(ValueError, match="do not vary"):
        Normalisation(8).fit_(torch.ones(5, 8), "centre")


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


def test_auxk_brings_a_planted_dead_feature_back() -> None:
    """Feature 0 can never fire by itself; after training its encoder column, not only its bias, has moved."""

    def run(revive: str) -> tuple[Trainer, Tensor]:
        settings = {"training.steps": 400, "training.batch": 128, "training.warmup": 1}
        t = Trainer(override(RunConfig(method="topk(k=2)", d_sae=16, revive=revive), settings), 8)
        t.fit_(sample())
        with torch.no_grad():
            t.dictionary.coder.b_enc[0] = -30.0  # type: ignore[index]
        start = t.dictionary.coder.W_enc[:, 0].clone()  # type: ignore[index]
        g = torch.Generator().manual_seed(5)
        for _ in range(400):
            t.update(torch.randn(128, 8, generator=g) * torch.arange(1, 9) + 4)
        return t, start

    revived, start = run("auxk(k=4, weight=1.0, after=1000)")
    assert (revived.dictionary.coder.W_enc[:, 0] - start).norm() > 0.1  # type: ignore[index]
    left, start = run("none(after=1000)")
    assert torch.equal(left.dictionary.coder.W_enc[:, 0], start)  # type: ignore[index]
    assert left.silent[0] == 400 * 128


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
        ("topk(j=3)", r"topk has no argument 'j'.*topk\(k=32\)"),
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


def test_a_damaged_or_foreign_dictionary_is_refused(tmp_path) -> None:
    path = tmp_path / "sae.safetensors"
    d = Dictionary(4, 8, "topk(k=2)")
    export.save(d, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged, half-written"):
        export.load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        export.load(tmp_path / "no.safetensors")
    del d.coder.b_enc  # type: ignore[attr-defined]
    export.save(d, path)
    with pytest.raises(ValueError, match=r"lacks tensor coder.b_enc"):
        export.load(path)


def test_export_refuses_a_form_that_differs(monkeypatch) -> None:
    t = Trainer(RunConfig(method="relu", d_sae=16), 8)
    t.fit_(sample())
    with torch.no_grad():
        t.dictionary.coder.b_enc += 1.0  # type: ignore[operator]
    monkeypatch.setattr(type(t.dictionary.coder), "rescale_", lambda self, factor: None)
    with pytest.raises(ValueError, match="does not equal the trained one"):
        export.export(t.dictionary, sample())


def test_descriptions_are_calls() -> None:
    assert METHODS.describe("topk") == "topk(k=32)"
