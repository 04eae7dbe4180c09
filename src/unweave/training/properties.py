"""What every method must be, ours or a user's: the common suite, one function a property.

Each takes a method's name, trains small dictionaries with it on vectors made for the purpose, and raises ValueError
with one sentence if the property does not hold. Shapes: B batch, D width, F features.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.dictionary import METHODS, Dictionary, export
from unweave.dictionary.codes import dense, sparse
from unweave.training.finetune import Finetuner, Finetuning
from unweave.training.loop import Trainer
from unweave.training.prune import pruned

D, F, B = 24, 48, 256

Property = Callable[[str], None]
PROPERTIES: dict[str, Property] = {}


def _property(check: Property) -> Property:
    PROPERTIES[check.__name__] = check
    return check


def check(name: str) -> None:
    """Hold a method against every property. Raises ValueError that names the first that is broken."""
    for title, holds in PROPERTIES.items():
        try:
            holds(name)
        except Exception as error:  # whatever a user's code raises is news about this property
            raise ValueError(f"the method {name} breaks the property {title!r}: {error}") from error


def vectors(seed: int, n: int = B) -> Tensor:
    """`[n, D]`: sparse non-negative sums of 40 directions, away from the origin, as activations are."""
    g = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(40, D, generator=torch.Generator().manual_seed(99)), dim=1)
    on = torch.rand(n, 40, generator=g) < 0.1
    return 3 * (on * (0.5 + torch.rand(n, 40, generator=g))) @ directions + 2


def fitting(name: str, d_sae: int = F) -> str:
    """The method as it comes, with a k that suits so small a dictionary if it has one."""
    return f"{name}(k={min(8, d_sae - 2)})" if "k" in inspect.signature(METHODS[name]).parameters else name


def begun(name: str, d_sae: int = F, steps: int = 60, log_every: int = 10) -> Trainer:
    """A trainer before its first step."""
    settings = {"training.steps": steps, "training.warmup": 5, "training.log_every": log_every}
    trainer = Trainer(override(RunConfig(method=fitting(name, d_sae), d_sae=d_sae, revive="none()"), settings), D)
    trainer.fit_(vectors(0, 1024))
    return trainer


def trained(name: str, d_sae: int = F, steps: int = 60, log_every: int = 10) -> Trainer:
    """A trainer after its last step."""
    trainer = begun(name, d_sae, steps, log_every)
    for step in range(steps):
        trainer.update(vectors(step + 1))
    return trainer


def _require(holds: bool | Tensor, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ValueError:
        return True
    return False


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@_property
def shapes(name: str) -> None:
    """Codes are [B, F] and not negative, reconstructions [B, D], pre-activations [B, F], in training and after it."""
    d = Dictionary(D, F, fitting(name))
    for mode in (True, False):
        codes = d.train(mode).encode(vectors(1))
        for what, found, width in (
            ("codes", dense(codes), F),
            ("a reconstruction", d.decode(codes), D),
            ("pre-activations", d.pre(vectors(1)), F),
        ):
            _require(found.shape == (B, width), f"{what} of shape {list(found.shape)}, not {[B, width]}")
            _require(found.isfinite().all(), f"{what} with values that are not finite")
        _require((dense(codes) >= 0).all(), "codes below 0")


@_property
def features_of_pre_activations(name: str) -> None:
    """The pre-activations of some features are those columns of all."""
    d, some = Dictionary(D, F, fitting(name)), torch.tensor([7, 2, 30])
    x = d.input(vectors(1))
    wrong = (d.pre_normalised(x, some) - d.pre_normalised(x)[:, some]).abs().max()
    _require(wrong < 1e-4, f"pre of some features differs from those columns of pre by {wrong:.1e}")


@_property
def learning(name: str) -> None:
    """Sixty steps lower the error; every parameter stays finite, and none is left untouched."""
    trainer = begun(name, log_every=1)
    before = {n: p.detach().clone() for n, p in trainer.dictionary.named_parameters()}
    reports = [trainer.update(vectors(step + 1)) for step in range(60)]
    first, last = reports[0], reports[-1]
    _require(bool(first and last and last["fvu"] < first["fvu"]), "60 steps do not lower the error")
    for n, p in trainer.dictionary.named_parameters():
        _require(p.isfinite().all(), f"{n} is not finite after 60 steps")
        _require(not (p.requires_grad and torch.equal(p, before[n])), f"{n} is a parameter that nothing trains")


@_property
def gradients(name: str) -> None:
    """They equal finite differences, in float64 along random directions; where the set of active features changes
    within the difference is left out, and so are parameters whose gradient is a rule of the method's own."""
    trainer = trained(name, steps=20)
    d, x, g = trainer.dictionary.double().train(), vectors(7).double(), torch.Generator().manual_seed(0)

    def loss() -> Tensor:
        return torch.stack(list(trainer.parts(trainer.look(x)).values())).sum()

    loss().backward()
    checked, eps = 0, 1e-7
    for n, p in d.named_parameters():
        if n in d.method.own_gradient or not p.requires_grad:
            continue
        if p.grad is None:
            raise ValueError(f"{n} gets no gradient")
        gradient = p.grad.clone()
        for _ in range(3):
            direction = torch.randn(p.shape, generator=g, dtype=p.dtype)
            slope, ends, supports = (gradient * direction).sum().item(), [], []
            with torch.no_grad():
                for by in (eps, -2 * eps, eps):
                    p += by * direction
                    ends.append(loss().item())
                    supports.append(dense(d.encode(x)) > 0)
            if torch.equal(supports[0], supports[1]):
                checked += 1
                expected = (ends[0] - ends[1]) / (2 * eps)
                wrong = abs(slope - expected)
                _require(
                    wrong <= 1e-4 + 1e-4 * abs(expected), f"the gradient of {n} is {slope:.6g}, not {expected:.6g}"
                )
    _require(checked >= 4, "too few gradients could be checked: the active features change with every step")


@_property
def saving(name: str) -> None:
    """A dictionary that was written and read again gives the same codes, bit for bit."""
    d = export.fold(trained(name).dictionary)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sae.safetensors"
        export.save(d, path)
        again = export.load(path)
    _require(torch.equal(dense(again.encode(vectors(5))), dense(d.encode(vectors(5)))), "a saved dictionary differs")


@_property
def exporting(name: str) -> None:
    """The exported form gives the codes and reconstructions of the trained one, and normalises nothing any more where
    the coder lets that be folded in."""
    d = trained(name).dictionary
    folded, x = export.export(d, vectors(5)), vectors(6)
    d.eval()
    _require(not d.coder.folds or torch.equal(folded.input(x), x), "something is left to normalise after the export")
    wrong = (folded(x) - d(x)).abs().max()
    _require(wrong < 1e-3, f"the exported form's reconstruction differs by {wrong:.1e}")


@_property
def pruning(name: str) -> None:
    """Without some features a dictionary has the pre-activations of the others, and, where those were not active, their
    codes and the same reconstruction."""
    d, x = export.export(trained(name).dictionary, vectors(5)), vectors(6)
    codes, pre = dense(d.encode(x)), d.pre(x)
    rarest = (codes > 0).sum(0).argsort(stable=True)[:3]
    keep = torch.ones(F, dtype=torch.bool)
    keep[rarest] = False
    d_less = pruned(d, keep)
    wrong = (d_less.pre(x) - pre[:, keep]).abs().max()
    _require(wrong < 1e-3, f"the pre-activations of features that are kept differ by {wrong:.1e}")
    rows = (codes[:, rarest] == 0).all(1)
    _require(rows.any(), "the rarest features are active in every input: nothing can be compared")
    wrong = (dense(d_less.encode(x))[rows] - codes[rows][:, keep]).abs().max()
    _require(wrong < 1e-3, f"where no removed feature was active, codes differ by {wrong:.1e}")
    wrong = (d_less(x) - d(x))[rows].abs().max()
    _require(wrong < 1e-3, f"where no removed feature was active, reconstructions differ by {wrong:.1e}")


@_property
def finetuning(name: str) -> None:
    """Training the decoder once more changes no code, and lowers the error; only a method without an encoder refuses.
    What comes out can be exported."""
    d = export.export(trained(name).dictionary, vectors(5))
    if d.coder.reads_decoder:
        _require(_refused(lambda: Finetuner(d, "squared()", Finetuning(), b_dec=True)), "it has no encoder to keep")
        return
    tuner, before = (
        Finetuner(d, "squared()", Finetuning(steps=60, log_every=1), b_dec=True),
        dense(d.encode(vectors(6))),
    )
    reports = [tuner.update(vectors(step + 1)) for step in range(60)]
    first, last = reports[0], reports[-1]
    _require(bool(first and last and last["fvu"] < first["fvu"]), "60 steps do not lower the error")
    made = export.export(tuner.finish(), vectors(5))
    wrong = (dense(made.encode(vectors(6))) - before).abs().max()
    _require(wrong < 1e-3, f"codes differ by {wrong:.1e} after training the decoder alone")


@_property
def seeding(name: str) -> None:
    """The seed decides every weight."""
    states = [trained(name, steps=10).dictionary.state_dict() for _ in range(2)]
    _require(_same(*states), "two trainings with one seed differ")


@_property
def sparsity(name: str) -> None:
    """Dense and sparse codes decode to the same."""
    d = trained(name).dictionary.eval()
    codes = d.encode(vectors(5))
    wrong = (d.decode(sparse(codes)) - d.decode(dense(codes))).abs().max()
    _require(wrong < 1e-4, f"dense and sparse codes decode to what differs by {wrong:.1e}")


@_property
def narrowness(name: str) -> None:
    """It works with fewer features than inputs."""
    found = trained(name, d_sae=6).dictionary(vectors(3))
    _require(found.isfinite().all(), "with fewer features than inputs a reconstruction is not finite")


@_property
def silence(name: str) -> None:
    """Logging changes nothing of what training does next."""
    states = [trained(name, steps=15, log_every=every).dictionary.state_dict() for every in (1, 1000)]
    _require(_same(*states), "logging changes the training")


@_property
def provenance(name: str) -> None:
    """It says what it does and where it is from."""
    _require(bool((METHODS[name].__doc__ or "").strip()), "it has no docstring")
    _require(bool(METHODS.build(name).source.strip()), "it names no source")
