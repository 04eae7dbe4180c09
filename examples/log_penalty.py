"""A penalty of one's own, as the page "Add a method" has it."""

from torch import Tensor

from unweave.dictionary.codes import dense
from unweave.dictionary.core import Linear, Method, Step, method
from unweave.dictionary.methods.relu import ReLU
from unweave.dictionary.terms import error


@method
def log_penalty(weight: float = 1.0) -> Method:
    """codes = relu(pre); error + weight * sum over F of log(1 + f), which grows ever more slowly with a code."""

    def logarithm(step: Step) -> Tensor:
        return dense(step.codes).log1p().sum(-1).mean()

    return Method(
        source="my own idea",
        coder=lambda W_dec: Linear(W_dec, ReLU()),
        losses={"error": (1.0, error)},
        penalties={"log": (weight, logarithm)},
    )
