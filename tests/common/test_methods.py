"""Every registered method has every property; both are found by their registries."""

import pytest
import torch
from torch import Tensor

from unweave.dictionary import METHODS
from unweave.dictionary.core import Activation, Linear, Method, Step
from unweave.dictionary.terms import error
from unweave.training.properties import PROPERTIES, check


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("title", list(PROPERTIES))
def test_every_method_has_every_property(title: str, name: str) -> None:
    PROPERTIES[title](name)


class Odd(Activation):
    """A ReLU with one thing wrong."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        self.wrong = wrong
        if wrong == "learning":
            self.unused = torch.nn.Parameter(torch.zeros(()))
        if wrong == "seeding":
            self.scale = torch.nn.Parameter(torch.rand(()) + 0.5)

    def forward(self, pre: Tensor) -> Tensor:
        match self.wrong:
            case "shapes":
                return pre
            case "gradients":
                return pre.relu().detach() + 0.5 * pre.relu() - 0.5 * pre.relu().detach()
            case "exporting":  # a threshold that does not follow the units
                return (pre - 0.5).relu()
            case "seeding":
                return pre.relu() * self.scale
            case "narrowness":
                return pre.relu() / (pre.shape[1] != 6)
            case "pruning":
                return pre.relu() / pre.shape[1]
        return pre.relu()


class Deaf(Linear):
    """Its codes change when b_dec moves."""

    def follow_(self, by: Tensor) -> None:
        pass


@pytest.mark.parametrize(
    "wrong", ["shapes", "learning", "gradients", "exporting", "pruning", "finetuning", "seeding", "narrowness"]
)
def test_a_method_with_one_thing_wrong_is_told_which(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd() -> Method:
        """A ReLU with one thing wrong."""
        coder = Deaf if wrong == "finetuning" else Linear
        return Method(source="-", coder=lambda W: coder(W, Odd(wrong)), losses={"error": (1.0, error)})

    monkeypatch.setitem(METHODS._builders, "odd", odd)
    with pytest.raises(ValueError, match=f"the method odd breaks the property '{wrong}': .+"):
        check("odd")


def test_a_method_that_raises_is_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd() -> Method:
        """A term that does not work."""

        def term(step: Step) -> Tensor:
            return step.codes.no_such_thing  # type: ignore[union-attr]

        return Method(source="-", coder=lambda W: Linear(W, Odd("")), losses={"odd": (1.0, term)})

    monkeypatch.setitem(METHODS._builders, "odd", odd)
    with pytest.raises(ValueError, match=r"breaks the property 'learning': .*no_such_thing"):
        check("odd")
