"""Dictionaries spliced into a subject of text, alone and together, against forward passes that are written out."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tiny_reader import D, Reader, tiny
from tiny_text import some_rows
from torch import Tensor

from unweave.evaluation.faithfulness import Faithfulness
from unweave.evaluation.language.predictions import Predictions
from unweave.evaluation.language.splice import Place, Rebuild, Splice
from unweave.rows import Rows
from unweave.subject.gpt import Tap
from unweave.subject.sequences import Sequences

SITE = "resid_post.0"


def half(x: Tensor) -> Tensor:
    return 0.5 * x


def same(x: Tensor) -> Tensor:
    return x


@pytest.fixture
def subject() -> Reader:
    return tiny()


@pytest.fixture
def rows() -> Rows:
    return some_rows()


def replacing(rows: Rows, row: int, of: dict[str, Rebuild]) -> Tap:
    """A tap for one row of its real length that rebuilds position by position where dictionaries learn from it."""

    def tap(site: str, x: Tensor) -> Tensor:
        if site not in of:
            return x
        out = x.clone()
        for position in range(x.shape[1]):
            if rows.learn[row, position]:
                out[0, position] = of[site](x[0, position][None])[0]
        return out

    return tap


def by_hand(subject: Reader, rows: Rows, tap_of: Callable[[int], Tap]) -> dict[str, float]:
    """Cross-entropy and KL, row by row without padding, position by position."""
    ce, kl = [], []
    for row in range(len(rows)):
        n = int(rows.there[row].sum())
        tokens = rows.tokens[row : row + 1, :n]
        normal = subject(tokens)[0].double().log_softmax(-1)
        spliced = subject(tokens, tap_of(row))[0].double().log_softmax(-1)
        for position in range(n - 1):
            p, q = normal[position], spliced[position]
            ce.append(-q[tokens[0, position + 1]].item())
            kl.append(sum((a.exp() * (a - b)).item() for a, b in zip(p, q, strict=True)))
    assert len(ce) == int(rows.there.sum()) - len(rows)
    return {"ce": sum(ce) / len(ce), "kl": sum(kl) / len(kl)}


def learnt(subject: Reader, rows: Rows, site: str) -> Tensor:
    """`[N, D]`, position by position."""
    x = subject.read(rows.tokens, [site])[site]
    where = [(g, s) for g in range(len(rows)) for s in range(rows.tokens.shape[1]) if rows.learn[g, s]]
    return torch.stack([x[place] for place in where])


def test_alone_against_loops(subject: Reader, rows: Rows) -> None:
    mean = learnt(subject, rows, SITE).mean(0)
    found = Predictions(subject, rows).spliced([{SITE: torch.tanh}, {SITE: half}])
    normal, zero, at_mean, *spliced = (
        by_hand(subject, rows, lambda row, f=f: replacing(rows, row, {SITE: f}))
        for f in (same, torch.zeros_like, lambda x: mean.expand_as(x), torch.tanh, half)
    )
    for scores, by in zip(found, spliced, strict=True):
        expected = {
            "ce/1": normal["ce"],
            "perplexity/1": math.exp(normal["ce"]),
            "ce_zero/1": zero["ce"],
            "ce_mean/1": at_mean["ce"],
            "ce_spliced/1": by["ce"],
            "perplexity_spliced/1": math.exp(by["ce"]),
            "ce_increase/1": by["ce"] - normal["ce"],
            "ce_score/1": (zero["ce"] - by["ce"]) / (zero["ce"] - normal["ce"]),
            "ce_score_mean/1": (at_mean["ce"] - by["ce"]) / (at_mean["ce"] - normal["ce"]),
            "kl/1": by["kl"],
            "kl_zero/1": zero["kl"],
            "kl_score/1": 1 - by["kl"] / zero["kl"],
        }
        assert scores == pytest.approx(expected, rel=1e-3)
    assert len({round(each["ce"], 2) for each in (normal, zero, at_mean, *spliced)}) == 5


def test_it_agrees_with_othellos(subject: Reader, rows: Rows) -> None:
    mean = Predictions(subject, rows).means([SITE])[SITE].float()
    (found,) = Predictions(subject, rows).spliced([{SITE: torch.tanh}])
    other = Faithfulness(subject, SITE, rows, mean)
    x = Sequences(subject, rows).read([SITE])[SITE]
    expected = other.scores | other.spliced(torch.tanh(x))
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-5)


def test_together_each_reads_what_those_before_it_left(subject: Reader, rows: Rows) -> None:
    of: dict[Place, Rebuild] = {"resid_post.1": half, "mlp_out.0": torch.tanh, SITE: torch.sin}
    (found,) = Predictions(subject, rows).spliced([of])
    single = {str(site): rebuild for site, rebuild in of.items()}
    expected = by_hand(subject, rows, lambda row: replacing(rows, row, single))
    assert found["ce_spliced/1"] == pytest.approx(expected["ce"], rel=1e-4)
    assert found["kl/1"] == pytest.approx(expected["kl"], rel=1e-4)
    zero = by_hand(subject, rows, lambda row: replacing(rows, row, dict.fromkeys(single, torch.zeros_like)))
    assert found["ce_zero/1"] == pytest.approx(zero["ce"], rel=1e-4)


@pytest.mark.parametrize("beside", [{}, {"mlp_in.1": torch.sin, "mlp_act.0": torch.tanh}])
def test_a_transcoder_writes_what_it_makes_of_what_it_read(
    subject: Reader, rows: Rows, beside: dict[str, Rebuild]
) -> None:
    (found,) = Predictions(subject, rows).spliced([{("mlp_in.1", "mlp_out.1"): torch.cos, **beside}])

    def tap_of(row: int) -> Tap:
        kept: dict[str, Tensor] = {}
        others = replacing(rows, row, beside)

        def tap(site: str, x: Tensor) -> Tensor:
            x = others(site, x)
            if site == "mlp_in.1":
                kept["x"] = x
            if site == "mlp_out.1":
                learn = rows.learn[row, : x.shape[1], None]
                x = torch.where(learn, torch.cos(kept["x"]), x)
            return x

        return tap

    assert found["ce_spliced/1"] == pytest.approx(by_hand(subject, rows, tap_of)["ce"], rel=1e-4)


@pytest.mark.parametrize("place", ["resid_post.0+mlp_out.1", ("resid_post.1", "mlp_out.0")])
def test_one_that_writes_before_it_has_read_all_is_given_the_subject_as_it_is(
    subject: Reader, rows: Rows, place: Place
) -> None:
    (found,) = Predictions(subject, rows).spliced([{place: torch.tanh}])
    site, target = (place, place) if isinstance(place, str) else place

    def tap_of(row: int) -> Tap:
        n = int(rows.there[row].sum())
        parts = target.split("+")
        clean = torch.cat([subject.read(rows.tokens[row : row + 1, :n], [s])[s] for s in site.split("+")], -1)
        of = dict(zip(parts, torch.tanh(clean).split(D, -1), strict=True))
        learn = rows.learn[row, :n, None]
        return lambda site, x: torch.where(learn, of[site], x) if site in of else x

    assert found["ce_spliced/1"] == pytest.approx(by_hand(subject, rows, tap_of)["ce"], rel=1e-4)


def test_a_perfect_reconstruction_changes_nothing(subject: Reader, rows: Rows) -> None:
    for group in ({SITE: same}, {SITE: same, "mlp_out.1": same}, {"embed+resid_post.1": same}):
        (found,) = Predictions(subject, rows).spliced([group])
        assert found["ce_spliced/1"] == found["ce/1"]
        assert found["ce_score/1"] == found["ce_score_mean/1"] == found["kl_score/1"] == 1
        assert found["ce_increase/1"] == found["kl/1"] == 0


def test_zeros_and_the_mean_are_the_ablations(subject: Reader, rows: Rows) -> None:
    mean = Predictions(subject, rows).means([SITE])[SITE].float()
    assert torch.allclose(mean, learnt(subject, rows, SITE).mean(0), atol=1e-6)
    zero, at_mean = Predictions(subject, rows).spliced(
        [{SITE: torch.zeros_like}, {SITE: lambda x: mean.expand(len(x), -1)}]
    )
    assert zero["ce_spliced/1"] == zero["ce_zero/1"]
    assert zero["ce_score/1"] == zero["kl_score/1"] == 0
    assert at_mean["ce_spliced/1"] == at_mean["ce_mean/1"]
    assert at_mean["ce_score_mean/1"] == 0


@pytest.mark.parametrize("positions", [1, 25, 10_000])
def test_how_many_rows_are_run_at_a_time_does_not_matter(subject: Reader, rows: Rows, positions: int) -> None:
    group = {SITE: torch.tanh, "mlp_out.1": half}
    assert Predictions(subject, rows, positions=positions).spliced([group, {SITE: half}]) == [
        pytest.approx(scores, rel=1e-5) for scores in Predictions(subject, rows).spliced([group, {SITE: half}])
    ]


def test_rows_longer_than_the_subject_reads_are_cut(subject: Reader) -> None:
    rows, of = some_rows(7, 24), {SITE: torch.tanh}
    longer = Rows(*(torch.cat([x, x], 1) for x in (rows.tokens, rows.there, rows.learn)))
    one_more = longer.until(subject.n_positions + 1)
    assert Predictions(subject, longer).spliced([of]) == Predictions(subject, one_more).spliced([of])
    assert Predictions(subject, longer).spliced([of]) != Predictions(subject, rows).spliced([of])


def test_a_site_that_does_not_matter_has_no_score(subject: Reader, rows: Rows) -> None:
    subject.blocks[1].down.weight.zero_()  # type: ignore[union-attr]
    (found,) = Predictions(subject, rows).spliced([{"mlp_act.1": torch.zeros_like}])
    assert math.isnan(found["ce_score/1"])
    assert math.isnan(found["kl_score/1"])
    assert found["kl/1"] == 0


def test_what_is_wrong_is_said(subject: Reader, rows: Rows) -> None:
    with pytest.raises(ValueError, match=r"two dictionaries write mlp_out\.1: the later would hide"):
        Splice(subject, {"mlp_out.1": same, ("mlp_in.1", "blocks.1.hook_mlp_out"): same})
    with pytest.raises(ValueError, match=r"did you mean 'resid_post\.0'"):
        Splice(subject, {"resid_pots.0": same})
    with pytest.raises(ValueError, match=r"the reconstructions at resid_post\.0 should be \[\d+, 16\]"):
        Predictions(subject, rows).spliced([{SITE: lambda x: x[:, 1:]}])
    with pytest.raises(ValueError, match=r"the reconstructions at resid_post\.0 have NaN or infinite values"):
        Predictions(subject, rows).spliced([{SITE: lambda x: x / 0}])
    with pytest.raises(ValueError, match="every target is padding"):
        Predictions(subject, Rows(rows.tokens, torch.zeros_like(rows.there), rows.learn))
    with pytest.raises(ValueError, match="every position is a separator or the first of its row"):
        Predictions(subject, Rows(rows.tokens, rows.there, torch.zeros_like(rows.learn))).spliced([{SITE: same}])
    subject.head.weight[3] = math.nan
    with pytest.raises(ValueError, match="predictions as it is are not finite at position 0, where the tokens end in"):
        Predictions(subject, rows).spliced([{SITE: same}])
    subject.embed.weight[rows.tokens[0, 2]] = math.nan
    with pytest.raises(ValueError, match=r"NaN or infinite activations at resid_post\.0, at position \d+, where"):
        Predictions(subject, rows).spliced([{SITE: same}])
