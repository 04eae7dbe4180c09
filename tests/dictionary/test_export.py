"""What is kept of a trained dictionary: its folded form, checked, in a file."""

import pytest
import torch
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.dictionary import Dictionary, export
from unweave.dictionary.codes import dense
from unweave.training.loop import Trainer


def sample(n: int = 500, d: int = 8) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(3)) * torch.arange(1, d + 1) + 4


@pytest.mark.parametrize("method", ["topk(k=2)", "batch_topk(k=2)", "gated(l1=0.1)", "matching_pursuit(k=2)"])
@pytest.mark.parametrize("kind", ["none", "scale", "centre", "each", "direction", "whiten"])
def test_the_exported_dictionary_equals_the_trained_one_and_survives_a_file(kind: str, method: str, tmp_path) -> None:
    t = Trainer(override(RunConfig(method=method, d_sae=16, normalise=kind), {"training.steps": 50}), 8)
    t.fit_(sample())
    for i in range(50):
        t.update(sample() + i / 50)
    folded = export.export(t.dictionary, sample())
    export.save(folded, tmp_path / "sae.safetensors")
    again = export.load(tmp_path / "sae.safetensors")
    x = sample()[:100]
    torch.testing.assert_close(again(x), t.dictionary.eval()(x), rtol=1e-3, atol=1e-3)
    stays = kind in ("each", "direction", "whiten") or "pursuit" in method
    assert again.normalise == (kind if stays else "none")


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


def test_export_lets_equals_change_places_but_not_others(monkeypatch) -> None:
    """Two features that read the same, where TopK has room for one: rounding decides, the same way in like inputs."""
    d = Dictionary(8, 16, "topk(k=1)")
    with torch.no_grad():
        d.coder.W_enc[:, 1] = d.coder.W_enc[:, 0]  # type: ignore[index]
    batch = torch.cat([d.coder.W_enc[:, 0].detach()[None].expand(20, 8), sample()[:100]])  # type: ignore[index]
    honest = export.fold

    def folded(by: float):
        def fold(trained: Dictionary) -> Dictionary:
            other = honest(trained)
            with torch.no_grad():
                other.coder.b_enc[1] += by  # type: ignore[operator]
            return other

        return fold

    monkeypatch.setattr(export, "fold", folded(1e-6))
    found = export.export(d, batch)
    assert not torch.equal(dense(found.encode(batch)), dense(d.encode(batch))), "they changed places"
    monkeypatch.setattr(export, "fold", folded(0.1))
    with pytest.raises(ValueError, match="does not equal the trained one"):
        export.export(d, batch)


@pytest.mark.parametrize("method", ["dimension_reduction", "geometric_dimension_reduction"])
def test_export_lets_rounding_decide_what_double_precision_decides_alike(method: str) -> None:
    """On the edge between two sizes of what passes, where one decision changes many codes of an input."""
    t = Trainer(RunConfig(method=f"{method}(epsilon=0.1)", d_sae=16), 8)
    t.fit_(sample())
    d = t.dictionary.eval()
    low, high = sample().split(250)
    for _ in range(40):
        middle = (low + high) / 2
        one, between, other = (dense(d.encode(x)).detach() for x in (low, middle, high))
        jump_is_above = ((between - one).norm(dim=1) < (other - between).norm(dim=1))[:, None]
        low, high = torch.where(jump_is_above, middle, low), torch.where(jump_is_above, high, middle)
    edge = torch.cat([low, high])
    codes, folded = dense(d.encode(edge)) / export.scale_of(d), dense(export.fold(d).encode(edge))
    assert ((codes - folded).abs() > 0.01 * codes.max()).any(1).sum() > 10, "they are not on the edge"
    export.export(d, torch.cat([sample(), edge]))


def test_export_refuses_features_that_all_change_places(monkeypatch) -> None:
    """The same codes in another order, and a decoder that belongs to it: all but the features' names is as it was."""
    d, honest = Dictionary(8, 16, "topk(k=4)"), export.fold

    def permuted(trained: Dictionary) -> Dictionary:
        other = honest(trained)
        with torch.no_grad():
            for tensor, axis in ((other.coder.W_enc, 1), (other.coder.b_enc, 0), (other.W_dec, 0)):
                tensor.copy_(tensor.flip(axis))  # type: ignore[union-attr]
        return other

    monkeypatch.setattr(export, "fold", permuted)
    assert torch.allclose(permuted(d)(sample()), d(sample()), atol=1e-5), "the reconstruction says nothing"
    with pytest.raises(ValueError, match="does not equal the trained one"):
        export.export(d, sample())
