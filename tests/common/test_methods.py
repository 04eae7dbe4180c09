"""Every registered method passes every check; a new method is found by the registry."""

import inspect

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.dictionary import METHODS, Dictionary, export
from unweave.dictionary.codes import dense, sparse
from unweave.training.loop import Trainer

D, B = 24, 256
METHOD_NAMES = list(METHODS)


def fitting(name: str, d_sae: int = 48) -> str:
    """The method with a k that suits so small a dictionary, if it has one."""
    return f"{name}(k={min(8, d_sae - 2)})" if "k" in inspect.signature(METHODS[name]).parameters else name


def batch(seed: int, n: int = B) -> Float[Tensor, "n D"]:
    """Sparse non-negative sums of 40 directions, away from the origin, as activations are."""
    g = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(40, D, generator=torch.Generator().manual_seed(99)), dim=1)
    on = torch.rand(n, 40, generator=g) < 0.1
    return 3 * (on * (0.5 + torch.rand(n, 40, generator=g))) @ directions + 2


def trained(name: str, d_sae: int = 48, steps: int = 60) -> Trainer:
    settings = {"training.steps": steps, "training.warmup": 5, "training.log_every": 10}
    config = RunConfig(method=fitting(name, d_sae), d_sae=d_sae, revive="none()")
    trainer = Trainer(override(config, settings), D)
    trainer.fit_(batch(0, 1024))
    for step in range(steps):
        trainer.update(batch(step + 1))
    return trainer


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_shapes_and_sign(name: str) -> None:
    d = Dictionary(D, 48, fitting(name))
    for mode in (True, False):
        codes = dense(d.train(mode).encode(batch(1)))
        assert isinstance(codes, Float[Tensor, "256 48"])
        assert isinstance(d.decode(d.encode(batch(1))), Float[Tensor, "256 24"])
        assert isinstance(d.pre(batch(1)), Float[Tensor, "256 48"])
        assert (codes >= 0).all()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_it_learns_and_trains_every_parameter(name: str) -> None:
    settings = {"training.steps": 60, "training.log_every": 1}
    trainer = Trainer(override(RunConfig(method=fitting(name), d_sae=48), settings), D)
    trainer.fit_(batch(0, 1024))
    before = {n: p.detach().clone() for n, p in trainer.dictionary.named_parameters()}
    first = trainer.update(batch(1))
    last = [trainer.update(batch(i + 2)) for i in range(59)][-1]
    assert first is not None
    assert last is not None
    assert last["fvu"] < first["fvu"]
    for n, p in trainer.dictionary.named_parameters():
        assert torch.isfinite(p).all(), n
        assert not torch.equal(p, before[n]), f"{n} is a parameter that nothing trains"


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_gradients_equal_finite_differences(name: str) -> None:
    """In float64, along random directions; where the support of the codes changes within the step is left out."""
    torch.manual_seed(0)
    trainer = trained(name, steps=20)
    d = trainer.dictionary.double().train()
    x = batch(7).double()

    def loss() -> Tensor:
        return torch.stack(list(trainer.parts(trainer.look(x)).values())).sum()

    def support() -> Tensor:
        return dense(d.encode(x)) > 0

    loss().backward()
    checked = 0
    for parameter, p in d.named_parameters():
        if parameter in d.method.own_gradient:
            continue  # its gradient is a rule that the method's own tests hold it to
        for _ in range(3):
            direction, eps = torch.randn_like(p), 1e-7
            assert p.grad is not None
            slope = (p.grad * direction).sum().item()
            with torch.no_grad():
                p += eps * direction
                up, s_up = loss().item(), support()
                p -= 2 * eps * direction
                down, s_down = loss().item(), support()
                p += eps * direction
            if torch.equal(s_up, s_down):
                checked += 1
                assert slope == pytest.approx((up - down) / (2 * eps), rel=1e-4, abs=1e-4)
    assert checked >= 4


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_save_and_load_give_the_same_codes(name: str, tmp_path) -> None:
    d = export.fold(trained(name).dictionary)
    export.save(d, tmp_path / "sae.safetensors")
    assert torch.equal(dense(export.load(tmp_path / "sae.safetensors").encode(batch(5))), dense(d.encode(batch(5))))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_export_equals_the_trained_form(name: str) -> None:
    d = trained(name).dictionary
    folded = export.export(d, batch(5))
    d.eval()
    assert torch.equal(folded.input(batch(5)), batch(5)), "nothing is left to normalise"
    torch.testing.assert_close(folded(batch(6)), d(batch(6)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_seed_decides_all(name: str) -> None:
    one, two = trained(name, steps=10).dictionary.state_dict(), trained(name, steps=10).dictionary.state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_dense_and_sparse_codes_agree(name: str) -> None:
    d = trained(name).dictionary.eval()
    codes = d.encode(batch(5))
    torch.testing.assert_close(d.decode(sparse(codes)), d.decode(dense(codes)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_fewer_features_than_inputs(name: str) -> None:
    d = trained(name, d_sae=6).dictionary
    assert torch.isfinite(d(batch(3))).all()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_logging_never_changes_training(name: str) -> None:
    states = []
    for every in (1, 1000):
        settings = {"training.steps": 15, "training.log_every": every}
        trainer = Trainer(override(RunConfig(method=fitting(name), d_sae=48), settings), D)
        trainer.fit_(batch(0, 1024))
        for step in range(15):
            trainer.update(batch(step))
        states.append(trainer.dictionary.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_it_says_where_it_is_from(name: str) -> None:
    assert METHODS[name].__doc__
    assert METHODS.build(name).source
