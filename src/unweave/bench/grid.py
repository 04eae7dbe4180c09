"""What the bench tries of each method: one call for each level of sparsity, the one in the middle first.

Levels were set on the bundled subject so that about 64, 32 and 128 of the features are active where a method lets one
say so; a penalty's weight is varied around what gives about 64. A registered method that is not here, and one of a
user's, is tried with the arguments it comes with.
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
            *("leaky_topk", "without_topk"),
        )
        for k in _K
    ),
    *(f"relu(l1={weight})" for weight in (1.0, 3.0, 0.3)),
    *(f"tanh(l0={weight})" for weight in (0.5, 1.5, 0.15)),
    *(f"smoothed_l0(alpha={weight})" for weight in (1000.0, 3000.0, 300.0)),
    *(f"freshmans_dream(alpha={weight})" for weight in (300.0, 1000.0, 100.0)),
    *(f"dimension_reduction(p={p})" for p in (0.15, 0.08, 0.3)),
    *(f"geometric_dimension_reduction(p={p})" for p in (0.15, 0.08, 0.3)),
    *(f"jumprelu(l0={weight})" for weight in (0.5, 1.5, 0.15)),
    *(f"jumprelu_target(l0={l0})" for l0 in (64.0, 32.0, 128.0)),
    *(f"jumprelu_tanh(l0={weight})" for weight in (0.5, 1.5, 0.15)),
    *(f"gated(l1={weight})" for weight in (1.0, 3.0, 0.3)),
    *(f"glu(l1={weight})" for weight in (1.0, 3.0, 0.3)),
    *(f"p_anneal(weight={weight})" for weight in (0.5, 1.5, 0.15)),
    *(f"gated_p_anneal(weight={weight})" for weight in (0.5, 1.5, 0.15)),
)


def calls() -> list[str]:
    """The grid, then every registered method that is not in it, as it comes."""
    named = {call.partition("(")[0] for call in GRID}
    return [*GRID, *(name for name in METHODS if name not in named)]


def those(own: Sequence[str], only: Sequence[str]) -> dict[str, list[str]]:
    """What takes part: a user's own calls before the grid's; of all methods `only` some, if any are named.

    Raises ValueError for a name that no method has.
    """
    every = contenders([*own, *calls()])
    for name in only:
        if name not in every:
            raise ValueError(f"the bench has no method {name!r}{nearest(name, every)}")
    return {name: of for name, of in every.items() if not only or name in only}
