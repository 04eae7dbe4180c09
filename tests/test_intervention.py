"""Changed features against the subject run on activations that were rebuilt by hand."""

from __future__ import annotations

import pytest
import tiny_text
import torch
from tiny_reader import D
from torch.nn import functional

from unweave.dictionary import Dictionary
from unweave.dictionary.codes import dense
from unweave.intervention import Change, Intervention
from unweave.rows import Rows
from unweave.subject import load

SITE, F = "resid_mid.1", 24
CHANGES = [Change(2, "ablate"), Change(5, "clamp", 3.0), Change(7, "add", 1.5), Change(11, "scale", -2.0)]


def place(normalise: str = "none", target: str = "") -> Intervention:
    torch.manual_seed(0)
    dictionary = Dictionary(D, F, "topk(k=6)", seed=3, normalise=normalise).eval().requires_grad_(False)
    dictionary.coder.b_enc.normal_(std=0.3)
    return Intervention(load("tiny_text()"), dictionary, SITE, target)


def by_hand(of: Intervention, rows: Rows, where: torch.Tensor) -> torch.Tensor:
    """Log-probabilities when everywhere in `where` what the dictionary rebuilds is rebuilt from changed codes, and what
    it does not is left."""
    x = of.subject.read(rows.tokens, [SITE])[SITE]
    for row, position in where.nonzero().tolist():
        vector = x[row, position][None]
        codes = dense(of.dictionary.encode(vector))
        error = vector - of.dictionary.decode(codes, vector)
        codes[0, 2], codes[0, 5], codes[0, 7], codes[0, 11] = 0, 3.0, codes[0, 7] + 1.5, codes[0, 11] * -2
        x[row, position] = (of.dictionary.decode(codes, vector) + error)[0]
    return of.subject.run(rows.tokens, {SITE: lambda _: x}).log_softmax(-1)


@pytest.mark.parametrize("normalise", ["none", "centre", "each"])
def test_what_is_changed_is_what_a_rebuilt_vector_gives(normalise: str) -> None:
    of, rows = place(normalise), tiny_text.some_rows()
    found = of.run(rows, CHANGES)
    expected = by_hand(of, rows, rows.learn)
    torch.testing.assert_close(found.before, of.subject.run(rows.tokens).log_softmax(-1))
    torch.testing.assert_close(found.after, expected, rtol=1e-4, atol=1e-5)
    kl = functional.kl_div(expected, found.before, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(found.kl, kl, rtol=1e-3, atol=1e-5)
    assert found.kl.max() > 0.01
    assert (found.codes_after[rows.learn][:, 1] == 3).all()
    assert (found.codes_after[rows.learn][:, 0] == 0).all()
    assert not found.codes_after[~rows.learn].any()


def test_only_where_it_is_asked_for() -> None:
    of, rows = place(), tiny_text.some_rows()
    at = torch.zeros_like(rows.learn)
    at[:, 5] = True
    found = of.run(rows, CHANGES, at)
    torch.testing.assert_close(found.after, by_hand(of, rows, rows.learn & at), rtol=1e-4, atol=1e-5)
    assert found.kl[:, :5].abs().max() < 1e-6, "what stands before is as it was"


def test_a_change_of_nothing_changes_nothing() -> None:
    of, rows = place(), tiny_text.some_rows()
    assert of.run(rows, []).kl.abs().max() < 1e-6
    assert of.run(rows, [Change(3, "scale", 1.0), Change(4, "add", 0.0)]).kl.abs().max() < 1e-6


def test_a_sweep_is_a_run_for_each_value() -> None:
    of, rows = place(), tiny_text.some_rows()
    swept = of.sweep(rows, CHANGES[:2], [0.0, 1.0, 4.0])
    for value, found in zip((0.0, 1.0, 4.0), swept, strict=True):
        torch.testing.assert_close(found.after, of.run(rows, [CHANGES[0], Change(5, "clamp", value)]).after)
    for changes in ([], [Change(1, "ablate")]):
        with pytest.raises(ValueError, match="a sweep needs a change with a value"):
            of.sweep(rows, changes, [1.0])


def test_a_transcoder_changes_what_it_writes() -> None:
    rows, changes = tiny_text.some_rows(), [Change(5, "clamp", 3.0)]
    of = place(target="mlp_out.1")
    delta, old, new = of.changed(rows, changes)
    torch.testing.assert_close(delta, (new - old) * of.dictionary.W_dec[5])
    expected = of.subject.run(rows.tokens, {"mlp_out.1": lambda y: y + delta}).log_softmax(-1)
    torch.testing.assert_close(of.run(rows, changes).after, expected)


def test_text_is_continued_by_the_likeliest_tokens() -> None:
    of, rows = place(), tiny_text.some_rows()[:1]
    made = of.generate(rows, CHANGES, 4)
    expected: list[int] = []
    for _ in range(4):
        more = torch.tensor([expected], dtype=torch.int64)
        known = torch.ones_like(more, dtype=torch.bool)
        longer = Rows(torch.cat([rows.tokens, more], 1), *(torch.cat([m, known], 1) for m in (rows.there, rows.learn)))
        expected.append(int(by_hand(of, longer, longer.learn)[0, -1].argmax()))
    assert made == expected
    assert of.generate(rows, CHANGES, 4, stop=made[2]) == made[: made.index(made[2])]
    assert len(of.generate(rows, CHANGES, 100)) == of.subject.n_positions - rows.tokens.shape[1]
    drawn = [of.generate(rows, CHANGES, 8, temperature=5.0, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_bad_input() -> None:
    of, rows = place(), tiny_text.some_rows()
    for changes, said in (
        ([Change(F, "ablate")], f"there is no feature {F}"),
        ([Change(1, "ablate"), Change(1, "clamp", 2.0)], "feature 1 is changed twice"),
    ):
        with pytest.raises(ValueError, match=said):
            of.run(rows, changes)
    with pytest.raises(ValueError, match="cannot be changed by 'drop': there are ablate, clamp, add, scale"):
        Change(1, "drop")
    with pytest.raises(ValueError, match="one row is continued at a time"):
        of.generate(rows, CHANGES, 3)
    with pytest.raises(ValueError, match=r"mlp_act\.0 has width 64, the dictionary there 16"):
        Intervention(of.subject, of.dictionary, "mlp_act.0")


def test_a_crosscoder_writes_at_all_its_sites() -> None:
    torch.manual_seed(1)
    dictionary = Dictionary(2 * D, F, "topk(k=6)", seed=3).eval().requires_grad_(False)
    of, rows = Intervention(load("tiny_text()"), dictionary, "resid_mid.0+resid_mid.1"), tiny_text.some_rows()
    changes = [Change(5, "clamp", 3.0)]
    delta, _, _ = of.changed(rows, changes)
    edits = {"resid_mid.0": lambda x: x + delta[..., :D], "resid_mid.1": lambda x: x + delta[..., D:]}
    torch.testing.assert_close(of.run(rows, changes).after, of.subject.run(rows.tokens, edits).log_softmax(-1))
