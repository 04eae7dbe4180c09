"""The order in which the bench tries things, as a pure function of what it has found."""

from hypothesis import given
from hypothesis import strategies as st

from unweave.bench import grid
from unweave.bench.trial import Trial, contenders, stages
from unweave.dictionary import METHODS

THOSE = {"a": ["a(k=2)", "a(k=1)", "a(k=3)"], "b": ["b"]}
RATES = (2.0, 1.0)


def carried_out(score) -> list[Trial]:
    """Every trial in order, where each gets `score(trial)`."""
    found: dict[Trial, float] = {}
    order: list[Trial] = []
    while left := [t for _, trials in stages(THOSE, RATES, 3, found) for t in trials if t not in found][:1]:
        order += left
        found[left[0]] = score(left[0])
    return order


def test_each_method_once_then_rates_for_all_then_seeds_then_levels() -> None:
    order = carried_out(lambda t: t.lr if t.method == "a" else -t.lr)
    assert [(t.call, t.lr, t.seed) for t in order] == [
        *(("a(k=2)", 2.0, 0), ("b", 2.0, 0)),
        *(("a(k=2)", 1.0, 0), ("b", 1.0, 0)),
        *(("a(k=2)", 2.0, 1), ("b", 1.0, 1), ("a(k=2)", 2.0, 2), ("b", 1.0, 2)),
        *(("a(k=1)", 2.0, 0), ("a(k=3)", 2.0, 0)),
        *(("a(k=1)", 2.0, 1), ("a(k=3)", 2.0, 1)),
        *(("a(k=1)", 2.0, 2), ("a(k=3)", 2.0, 2)),
    ]


@given(st.randoms(use_true_random=False))
def test_no_method_gets_more_rates_than_another_whatever_is_found(random) -> None:
    order = carried_out(lambda t: random.choice([float("-inf"), 0.0, 1.0, 2.0]))
    assert len(order) == len(set(order)) == 2 * 2 + 2 + 2 * 4
    for name in THOSE:
        assert {t.lr for t in order if t.method == name} == set(RATES)


def test_contenders_are_calls_by_method_in_the_order_given() -> None:
    assert contenders(["topk(k=2)", "none", "topk(k=1)", "topk(k=2)"]) == {
        "topk": ["topk(k=2)", "topk(k=1)"],
        "none": ["none"],
    }


def test_the_grid_has_every_registered_method_and_only_calls_that_can_be_built() -> None:
    those = contenders(grid.calls())
    assert set(those) == set(METHODS)
    for calls in those.values():
        for call in calls:
            METHODS.build(call)


def test_ones_own_methods_take_part_whichever_others_are_named() -> None:
    assert set(grid.those(["mine(weight=2.0)"], ["topk", "relu"])) == {"mine", "topk", "relu"}
    assert set(grid.those(["mine(weight=2.0)"], ["mine"])) == {"mine"}
    assert set(grid.those(["mine(weight=2.0)"], [])) == {"mine", *METHODS}


def test_folders_of_trials_differ_and_are_plain() -> None:
    trials = [Trial(call, lr, seed) for call in grid.calls() for lr in (1e-3, 2e-3) for seed in (0, 1)]
    names = {trial.folder for trial in trials}
    assert len(names) == len(trials)
    assert all(name.replace("-", "").replace(".", "").replace("_", "").isalnum() for name in names)
