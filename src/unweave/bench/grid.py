"""What the bench tries of each method: one call for each level of sparsity, the one in the middle first.

A k says how many of the features are active: 64, 32 and 128. A penalty's weight was set on training activations of the
bundled subject at mlp_in.1 (512 features, rate 2e-3) to give about as many. A registered method that is not here, and
one of a user's, is tried with the arguments it comes with.
"""

from __future__ import annotations

from collections.abc import Sequence

from unweave.bench.trial import contenders
from unweave.dictionary import METHODS
from unweave.registry import nearest

_K = (64, 32, 128)

GRID: tuple[str, ...] = (
    *(
        f"{name}(k={k})"
        for name in (
            *("topk", "batch_topk", "multi_topk", "group_max", "matching_pursuit", "orthogonal", "matryoshka"),
            *("leaky_topk", "leaky_readout", "without_topk"),
        )
        for k in _K
    ),
    *(f"relu(l1={weight})" for weight in (1.2, 3.0, 0.5)),
    *(f"tanh(l0={weight})" for weight in (1.0, 2.0, 0.5)),
    *(f"smoothed_l0(alpha={weight}, delta=1.0)" for weight in (1500.0, 5000.0, 700.0)),
    *(f"freshmans_dream(alpha={weight})" for weight in (5000.0, 7000.0, 3500.0)),
    *(f"dimension_reduction(p={p})" for p in (0.15, 0.3, 0.08)),
    *(f"geometric_dimension_reduction(p={p})" for p in (0.15, 0.3, 0.08)),
    *(f"jumprelu(l0={weight})" for weight in (0.3, 0.7, 0.12)),
    *(f"jumprelu_target(l0={l0})" for l0 in (64.0, 32.0, 128.0)),
    *(f"jumprelu_tanh(l0={weight})" for weight in (0.07, 0.2, 0.03)),
    *(f"gated(l1={weight})" for weight in (2.0, 4.0, 0.8)),
    *(f"glu(l1={weight})" for weight in (1.0, 2.5, 0.4)),
    *(f"p_anneal(weight={weight})" for weight in (0.7, 1.5, 0.3)),
    *(f"gated_p_anneal(weight={weight})" for weight in (1.5, 3.0, 0.7)),
)


def calls() -> list[str]:
    """The grid, then every registered method that is not in it, as it comes."""
    named = {call.partition("(")[0] for call in GRID}
    return [*GRID, *(name for name in METHODS if name not in named)]


def those(own: Sequence[str], only: Sequence[str]) -> dict[str, list[str]]:
    """What takes part: a user's own calls before the grid's; of all other methods `only` some, if any are named.

    Raises ValueError for a name that no method has.
    """
    every = contenders([*own, *calls()])
    for name in only:
        if name not in every:
            raise ValueError(f"the bench has no method {name!r}{nearest(name, every)}")
    wanted = {*only, *contenders(own)} if only else {*every}
    return {name: of for name, of in every.items() if name in wanted}
