"""Every metric has one name, a version, and a text that a newcomer can read."""

from __future__ import annotations

import re

import pytest
import torch

from unweave.evaluation import definitions
from unweave.evaluation.definitions import DEFINITIONS, Definition
from unweave.evaluation.language import definitions as language
from unweave.evaluation.reconstruction import Reconstruction
from unweave.evaluation.sparsity import Sparsity

BOARD = {
    *(f"pairs{within}{state}/1" for within in ("", "_within") for state in ("", "_mine", "_theirs", "_empty")),
    *("features/1", "features_within/1", "legal/1", "legal_within/1"),
    *(f"coverage_{of}/1" for of in ("128", "192", "corrected", "legal")),
    *(f"reconstruction_{of}/1" for of in ("128", "192", "legal")),
    "f1_pairs/1",
}
EVERY = DEFINITIONS | language.DEFINITIONS
REST = {
    *("l0/1", "density_median/1", "dead/1"),
    *("fvu/1", "explained_variance/1", "mse_element/1", "mse_sum/1", "l2_ratio/1", "shrinkage/1"),
    *("ce/1", "ce_zero/1", "ce_mean/1", "ce_spliced/1", "ce_score/1", "kl/1", "legal_rate/1", "legal_rate_spliced/1"),
}
OF_TEXT = {
    *("explained_variance_token/1", "mse_relative/1", "cosine/1", "perplexity/1", "perplexity_spliced/1"),
    *("ce_increase/1", "ce_score_mean/1", "kl_zero/1", "kl_score/1"),
}


def test_the_metrics_are_those_of_the_file_format() -> None:
    assert set(DEFINITIONS) == BOARD | REST
    assert set(language.DEFINITIONS) == REST - {"legal_rate/1", "legal_rate_spliced/1"} | OF_TEXT
    assert all(
        language.DEFINITIONS[key] is DEFINITIONS[key] for key in DEFINITIONS.keys() & language.DEFINITIONS.keys()
    )


def test_no_key_is_defined_twice() -> None:
    groups = [value for value in vars(definitions).values() if isinstance(value, list)]
    keys = [metric.key for group in groups for metric in group]
    assert sorted(keys) == sorted(DEFINITIONS)


@pytest.mark.parametrize("key", EVERY)
def test_a_definition_is_complete(key: str) -> None:
    metric = EVERY[key]
    assert metric.key == key
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*/[1-9][0-9]*", key)
    for text in (metric.title, metric.definition, metric.source, metric.unit, metric.null):
        assert text
        assert text == text.strip()
        assert "{" not in text
    assert metric.definition.endswith(".")
    assert metric.out_of is None or metric.out_of >= 1


def test_titles_tell_metrics_apart() -> None:
    assert len({metric.title for metric in EVERY.values()}) == len(EVERY)


def test_definitions_name_only_metrics_that_exist() -> None:
    for metric in EVERY.values():
        assert set(re.findall(r"[a-z0-9_]+/[0-9]+\b", f"{metric.definition} {metric.null}")) <= {
            *EVERY,
            *("2/3",),
        }


def test_what_is_measured_is_defined() -> None:
    sparsity, reconstruction = Sparsity(3, "embed"), Reconstruction(2, "embed")
    sparsity.update(torch.rand(4, 3))
    x = torch.rand(4, 2)
    reconstruction.update(x, x)
    assert {*sparsity.result(), *reconstruction.result()} <= set(DEFINITIONS)


def test_a_definition_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        DEFINITIONS["fvu/1"].better = "higher"  # type: ignore[misc]
    assert isinstance(DEFINITIONS["fvu/1"], Definition)
