"""The agenda of report 003 on tiny subjects: every experiment has its figures, against others made by hand, and the
study goes on where it was."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_reader
import tiny_text  # noqa: F401 (enters the registry)
import torch
from typer.testing import CliRunner

from unweave import files
from unweave.activations.corpus import corpus
from unweave.activations.harvest import harvest
from unweave.cli import app
from unweave.runs import find
from unweave.studies.agenda import EXPERIMENTS, Study, carry_out, others
from unweave.studies.agenda.objectives import ahead
from unweave.subject import TextShape, load
from unweave.view.agenda import SHOWN, compared, console_tables, differences, seconds, tables
from unweave.view.table import MINUS

SMALL = TextShape(n_layers=2, d_model=16, n_heads=2, n_positions=tiny_reader.CONTEXT, n_tokens=290)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("agenda")
    text = tiny_reader.write(folder / "text.jsonl", tiny_reader.documents(400))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        yield Study(
            folder=folder / "study",
            subject="tiny_text()",
            text=str(text),
            tokens=2048,
            ratio=2,
            seeds=2,
            held_out=8,
            small=SMALL,
            steps=40,
            keep=2,
        )


@pytest.fixture(scope="module")
def found(study: Study):
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(EXPERIMENTS, "dynamics", lambda lab: stop_in_the_middle())
        with pytest.raises(KeyboardInterrupt):
            carry_out(study)
    stages: list[str] = []
    made = carry_out(study, lambda what, steps: stages.append(what))
    assert stages == ["dynamics", "experts"]  # the rest had its figures
    return made


def stop_in_the_middle() -> dict[str, object]:
    raise KeyboardInterrupt


def test_every_experiment_has_a_row_for_each_seed(study, found) -> None:
    assert list(found["experiments"]) == list(EXPERIMENTS)
    for name, experiment in found["experiments"].items():
        if name != "models":
            for row in experiment["rows"]:
                assert len(row["seeds"]) == (1 if row["name"] == "linear map" else 2), row["name"]
                assert row["name"] == "random directions" or math.isfinite(row["seeds"][0]["fvu/1"])
    sites = {name: each["site"] for name, each in found["experiments"].items() if name != "models"}
    assert sites["kl"] == sites["mamba"] == sites["dynamics"] == "resid_post.0"
    assert (sites["transcoder"], sites["experts"]) == ("mlp_in.0 to mlp_out.0", "mlp_in.0")


def test_runs_are_what_their_rows_say(study, found) -> None:
    trained = find(study.folder / "runs")
    assert all(run.trained for run in trained)
    configs = [run.config for run in trained]
    assert {c.objective for c in configs if c.subject == "tiny_text()"} == {
        "squared()",
        "kl(weight=1e-09, squared=1.0)",
        "kl(weight=16.0, squared=1.0)",
        "cosine(weight=32.0)",
    }
    assert all((c.objective.startswith("cosine")) == (c.normalise == "direction") for c in configs)
    assert {c.target for c in configs} == {"", "mlp_out.0"}
    assert {c.data.context for c in configs if c.subject != "tiny_text()"} == {SMALL.n_positions}
    assert len({c.hash for c in configs}) == len(configs)  # what two experiments need was trained once
    squared = found["experiments"]["kl"]["rows"][0]["seeds"]
    assert squared == found["experiments"]["cosine"]["rows"][0]["seeds"]


def test_given_lengths_change_the_length_and_nothing_else(found) -> None:
    as_it_is, given, cosine = found["experiments"]["cosine"]["rows"][:3]
    for before, after, other in zip(as_it_is["seeds"], given["seeds"], cosine["seeds"], strict=True):
        assert after["l2_ratio/1"] == pytest.approx(1, abs=1e-5)
        assert other["l2_ratio/1"] == pytest.approx(1, abs=1e-5)
        assert after["cosine/1"] == pytest.approx(before["cosine/1"], abs=1e-6)
        assert after["l0/1"] == before["l0/1"]


def test_the_linear_map_is_least_squares(study, found) -> None:
    """Held out, a little worse than the best fit to the held-out rows themselves, and than no map by far better."""
    config = next(run.config for run in find(study.folder / "runs") if run.config.target)
    of = load("tiny_text()")
    x = harvest(of, corpus(config.data, of).sample("test", 8, 1), ["mlp_in.0", "mlp_out.0"]).vectors
    inputs = torch.cat([x["mlp_in.0"], torch.ones(len(x["mlp_in.0"]), 1)], 1).double()
    y = x["mlp_out.0"].double()
    left = y - inputs @ torch.linalg.lstsq(inputs, y).solution
    best = float(left.square().sum() / (y - y.mean(0)).square().sum())
    (linear,) = found["experiments"]["transcoder"]["rows"][-1]["seeds"]
    assert best < linear["fvu/1"] < min(1, best + 0.3)


def test_the_models_learned_their_text(found) -> None:
    losses = {row["name"]: row["loss"] for row in found["experiments"]["models"]["rows"]}
    assert list(losses) == ["gpt2", "mamba", "mixtral", "5-gram", "unigram"]
    assert losses["5-gram"] < losses["unigram"] < math.log(290)
    assert all(losses[kind] < math.log(290) for kind in ("gpt2", "mamba", "mixtral"))
    last = found["experiments"]["dynamics"]["rows"][1]["seeds"][0]["ce/1"]
    assert last < found["experiments"]["dynamics"]["rows"][0]["seeds"][0]["ce/1"]  # after 40 steps, and after one


def test_along_a_training_the_end_is_like_itself(study, found) -> None:
    first, last, chance = found["experiments"]["dynamics"]["rows"]
    assert (first["name"], last["name"]) == ("step 1", "step 40")
    assert [scores["matched"] for scores in last["seeds"]] == [1, 1]
    runs = [run for run in find(study.folder / "runs") if "gpt2/checkpoints/step-000040" in run.config.subject]
    W = {run.config.seed: torch.nn.functional.normalize(run.dictionary().W_dec.detach(), dim=1) for run in runs}
    if last["seeds"][0]["dead/1"] == 0:
        assert last["seeds"][0]["mean_other"] == pytest.approx(float((W[0] @ W[1].T).amax(1).mean()), abs=1e-5)
    assert chance["is_control"]
    assert chance["seeds"][0]["mean"] < 1


def test_features_against_experts_and_the_transformer(found) -> None:
    experts = found["experiments"]["experts"]
    assert sum(experts["used"]) == pytest.approx(2)  # of the four, two are chosen at each token
    assert [row["name"] for row in experts["told"] if not row["is_control"]] == ["dictionary"]
    own, fresh, token, shuffled = (row["seeds"][0]["auroc"] for row in experts["told"])
    assert min(own, fresh, token) > shuffled
    alike = {row["name"]: row["seeds"][0]["mean"] for row in found["experiments"]["mamba"]["alike"]}
    assert min(alike, key=lambda name: alike[name]) == "the Transformer, other tokens"


def test_halves_stay_apart_when_choices_are_shuffled() -> None:
    order = others._shuffle(11)
    assert sorted(order[:5].tolist()) == [*range(5)]
    assert sorted(order[5:].tolist()) == [*range(5, 11)]
    logits = torch.tensor([[0.1, 3.0, 2.0, -1.0], [5.0, 0.0, 1.0, 4.0]])
    assert others._chosen(logits).tolist() == [[False, True, True, False], [True, False, False, True]]


def test_what_is_ahead_of_a_curve() -> None:
    curve = [{"l0/1": 10.0, "fvu/1": 0.4}, {"l0/1": 1000.0, "fvu/1": 0.2}, {"l0/1": 2000.0, "fvu/1": 0.1}]
    assert ahead({"l0/1": 100.0, "fvu/1": 0.25}, curve, "fvu/1") == pytest.approx(-0.05)  # halfway in the logarithm
    assert ahead(curve[1], curve[::-1], "fvu/1") == pytest.approx(0)
    assert ahead({"l0/1": 9.0, "fvu/1": 0.1}, curve, "fvu/1") is None


def test_it_goes_on_where_it_was_and_keeps_its_settings(study, found, monkeypatch) -> None:
    for name in EXPERIMENTS:
        monkeypatch.setitem(EXPERIMENTS, name, lambda lab: stop_in_the_middle())
    assert carry_out(study) == found == files.read_json(study.folder / "study.json")
    with pytest.raises(ValueError, match=r"made with other settings \(steps is 40 there, 41 here\)"):
        carry_out(replace(study, steps=41))
    for wrong, message in (
        ({"tokens": 64}, "64 tokens are less than one batch of 1024"),
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"keep": 1}, "keep must be at least 2, not 1"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(study, **wrong)


def test_the_tables_show_them_all(found) -> None:
    drawn = tables(found)
    assert [shown.title for shown, *_ in drawn[1:]] == [shown.title for shown in SHOWN]
    for _, head, lines, _ in drawn:
        assert all(len(line) == len(head) for line in lines)
    a, b = (scores["fvu/1"] for scores in found["experiments"]["kl"]["rows"][0]["seeds"])
    assert drawn[1][2][0][1] == f"{(a + b) / 2:.1%} ± {abs(a - b) / 2:.1%}"
    assert len(console_tables(found)) == len(drawn)
    assert seconds(found).startswith("minutes: kl ")


def test_differences_say_whether_seeds_agree() -> None:
    rows = [{"name": n, "seeds": [{"fvu/1": v} for v in vs]} for n, vs in (("a", (0.3, 0.5)), ("b", (0.2, 0.1)))]
    assert compared(rows, "a", "b", "fvu/1") == "a against b, unexplained: +25.0% (+10.0% to +40.0%; all seeds agree)"
    assert differences([0.1, -0.2], "mean") == f"{MINUS}0.050 ({MINUS}0.200 to +0.100; the seeds do not agree)"
    assert differences([0.1], "mean") == "+0.100 with one seed, which says nothing of its spread"


def test_the_page_has_every_table(found) -> None:
    path = Path(__file__).parents[2] / "docs" / "agenda.py"
    spec = importlib.util.spec_from_file_location("agenda_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page(found, "unweave study agenda")
    assert page.count("Made by `unweave study agenda`") == 1 + len(SHOWN)
    assert all(f"## {shown.title}" in page for shown, *_ in tables(found))


def test_the_verb(study, found) -> None:
    words = ["--folder", str(study.folder), "--subject", "tiny_text()", "--tokens", "2048", "--seeds", "2"]
    with pytest.raises(ValueError, match="made with other settings"):  # ratio and shape are not for the command line
        CliRunner().invoke(app, ["study", "agenda", *words], catch_exceptions=False)
    for option, takers in (("--games", "quaisley"), ("--seed", "quaisley and openmoss")):
        with pytest.raises(ValueError, match=f"{option} is for the study {takers}, not for agenda"):
            CliRunner().invoke(app, ["study", "agenda", option, "5"], catch_exceptions=False)
