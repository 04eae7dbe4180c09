"""Training on another device than the processor: to the same weights, with nothing left behind."""

from pathlib import Path
from typing import Any

import pytest
import torch
from elsewhere import THERE, Elsewhere, elsewhere
from torch import Tensor

from unweave.activations.batches import Downstream
from unweave.config import RunConfig, TrainingConfig, override
from unweave.dictionary import METHODS, export
from unweave.dictionary.revive import REVIVALS
from unweave.training import checkpoint
from unweave.training.device import device
from unweave.training.finetune import Finetuner, Finetuning
from unweave.training.loop import Trainer
from unweave.training.optimisers import OPTIMISERS
from unweave.training.properties import fitting

D, F, B = 16, 64, 80

SETTINGS = (
    *({"method": fitting(name)} for name in METHODS),
    *({"revive": "resample(every=2, after=100)" if name == "resample" else f"{name}(after=100)"} for name in REVIVALS),
    *({"training.optimiser": f"{name}()"} for name in OPTIMISERS),
    *({"normalise": kind} for kind in ("none", "scale", "each", "direction", "whiten")),
    {"encoder": "deep(width=8)", "start": "independent()", "b_dec": "mean"},
    {"objective": "cosine()", "training.decoder_norm": "bounded", "training.gradient_norm": 1.0},
    {"target": "resid_post.1", "skip": True},
    {"method": "topk(k=4, anneal=0.5)"},
    {"method": "matching_pursuit(k=3)"},
)


def vectors(seed: int, width: int = D) -> Tensor:
    return torch.randn(B, width, generator=torch.Generator().manual_seed(seed)) * 2 + 1


def made(settings: dict[str, Any]) -> Trainer:
    often = {"training.steps": 6, "training.log_every": 1, "training.warmup": 2}
    return Trainer(
        override(RunConfig(d_sae=F, method="topk(k=4)"), often | settings), D, 9 if "target" in settings else None
    )


def trained(settings: dict[str, Any], steps: int = 5) -> tuple[Trainer, list[dict[str, float | int] | None]]:
    trainer = made(settings)
    target = vectors(1, 9) if "target" in settings else None
    trainer.fit_(vectors(0), target)
    return trainer, [trainer.update(vectors(2 + i), target) for i in range(steps)]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_training_elsewhere_goes_where_it_goes_here(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, expected = trained(settings)
    with elsewhere(monkeypatch):
        there, found = trained(settings)
        tensors = checkpoint._tensors(there)
        on = {name for name, tensor in tensors.items() if not isinstance(tensor, Elsewhere)}
        assert on <= {name for name in tensors if name.endswith(".weight") and tensors[name].ndim == 0}
        there.dictionary.cpu()
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-6)
    weights = there.dictionary.state_dict()
    for name, weight in here.dictionary.state_dict().items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-2, atol=1e-3)


def test_what_meets_from_two_devices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere(monkeypatch):
        there = torch.ones(3, device=THERE)
        assert torch.equal((2 * there + torch.tensor(1.0)).cpu(), torch.full((3,), 3.0))
        with pytest.raises(RuntimeError, match="two devices"):
            _ = there + torch.ones(3)
        with pytest.raises(Exception, match=r"convert|numpy"):
            there.numpy()


def test_a_training_elsewhere_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere(monkeypatch):
        whole, _ = trained({})
        half, _ = trained({}, 2)
        checkpoint.save(half, tmp_path / "state.safetensors", {})
        again = made({})
        checkpoint.restore(again, tmp_path / "state.safetensors")
        for i in range(2, 5):
            again.update(vectors(2 + i))
        kept = {name: tensor.cpu() for name, tensor in checkpoint._tensors(whole).items()}
        for name, tensor in checkpoint._tensors(again).items():
            assert torch.equal(tensor.cpu(), kept[name]), name
        dictionary = export.export(again.dictionary.cpu(), vectors(0))
    assert type(dictionary(vectors(3))) is Tensor


def test_an_end_to_end_objective_may_have_its_subject_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    words = torch.randn(D, 11, generator=torch.Generator().manual_seed(0))

    def spliced(x: Tensor) -> Tensor:
        return (x.cpu() @ words).log_softmax(-1)

    def losses() -> list[float]:
        found = []
        for objective in ("kl()", "cross_entropy(squared=0.1)"):
            trainer = made({"objective": objective})
            trainer.fit_(vectors(0))
            x = vectors(1)
            report = trainer.update(x, None, Downstream(spliced(x), torch.arange(B) % 11, spliced))
            assert report is not None
            found.append(report["loss"])
        return found

    expected = losses()
    with elsewhere(monkeypatch):
        assert losses() == pytest.approx(expected, rel=1e-4)


def test_finetuning_elsewhere_goes_where_it_goes_here(monkeypatch: pytest.MonkeyPatch) -> None:
    dictionary = export.export(trained({})[0].dictionary, vectors(0))

    def tuned() -> Tensor:
        tuner = Finetuner(dictionary, "squared()", Finetuning(steps=3), b_dec=True)
        for i in range(3):
            tuner.update(vectors(i))
        return tuner.finish().W_dec.detach()

    expected = tuned()
    with elsewhere(monkeypatch):
        found = tuned()
    assert type(found) is torch.nn.Parameter or type(found) is Tensor
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_device_that_is_not_there_is_named() -> None:
    assert device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"cuda:99.*torch sees"):
        device("cuda:99")
    with pytest.raises(ValueError, match="gpu"):
        device("gpu")
    with pytest.raises(ValueError, match=r"training\.device"):
        TrainingConfig(device="tpu")
    with pytest.raises(ValueError, match="cuda:99"):
        made({"training.device": "cuda:99"})


@pytest.mark.gpu
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_training_on_a_gpu_goes_where_it_goes_here(settings: dict[str, Any]) -> None:
    _, expected = trained(settings)
    _, found = trained(settings | {"training.device": "cuda"})
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=1e-2, abs=1e-4)
