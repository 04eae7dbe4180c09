"""From text to trained dictionaries to their scores, by the command line and from Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_reader
import tiny_text  # which names the subjects, too
from tiny_reader import CONTEXT
from torch import Tensor
from typer.testing import CliRunner

from unweave import files
from unweave.activations.corpus import corpus
from unweave.activations.harvest import harvest
from unweave.cli import app
from unweave.config import RunConfig, override
from unweave.dictionary.codes import dense
from unweave.evaluation.context import Context
from unweave.evaluation.controls import control_of
from unweave.evaluation.language import Predictions, evaluate
from unweave.evaluation.language.definitions import DEFINITIONS
from unweave.evaluation.language.group import says_what_comes_next
from unweave.runs import Run, train
from unweave.subject import load

SMALL = {
    "subject": "tiny_text()",
    "method": "topk(k=4)",
    "d_sae": 32,
    "data.context": CONTEXT,
    "data.sequences": 32,
    "training.steps": 40,
    "training.batch": 64,
    "training.warmup": 5,
}
SITES = {"early": {"site": "resid_post.0"}, "late": {"site": "mlp_in.1", "target": "mlp_out.1"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("text")
    tiny_reader.write(folder / "some.jsonl", tiny_reader.documents(1500))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        yield folder


def config(home: Path, **settings: Any) -> RunConfig:
    return override(RunConfig(), {**SMALL, "data.text": str(home / "some.jsonl"), **settings})


@pytest.fixture(scope="module")
def trained(home: Path) -> list[Run]:
    jobs = {home / name: config(home, **sites) for name, sites in SITES.items()}
    runs = train({**jobs, home / "early" / "control": control_of(jobs[home / "early"])})
    return runs[:2]


@pytest.fixture(scope="module")
def found(trained: list[Run]) -> dict[str, Any]:
    return evaluate(trained, n_rows=40)


def arrays(run: Run) -> dict[str, Tensor]:
    return files.read_tensors(run.folder / "evaluation.safetensors")[0]


def test_each_run_has_its_scores_beside_what_learned_nothing(trained: list[Run], found: dict[str, Any]) -> None:
    for run, of in zip(trained, found["runs"], strict=True):
        assert run.evaluation() == of
        own, *others = of["rows"]
        assert set(own["scores"]) == set(DEFINITIONS) == set(of["metrics"])
        assert all(set(row["scores"]) == set(own["scores"]) for row in others)
        assert all(row["is_control"] for row in others)
    early, late = ([row["name"] for row in of["rows"]] for of in found["runs"])
    assert early == ["dictionary", "untrained", "PCA of 4", "shuffled subject"]
    assert late == ["dictionary", "untrained", "PCA of 4"]
    scores = {row["name"]: row["scores"] for row in found["runs"][0]["rows"]}
    assert scores["PCA of 4"]["l0/1"] == 4
    assert scores["dictionary"]["fvu/1"] < scores["untrained"]["fvu/1"]
    assert scores["shuffled subject"]["ce/1"] != scores["dictionary"]["ce/1"] == scores["untrained"]["ce/1"]
    assert found["runs"][1]["target"] == "mlp_out.1"


def test_they_are_of_held_out_rows_and_nothing_else(home: Path, trained: list[Run], found: dict[str, Any]) -> None:
    run, subject = trained[0], load("tiny_text()")
    of = corpus(run.config.data, subject)
    rows = of.sample("test", 40, 1)
    told = found["runs"][0]["text"]
    assert told["rows"] == len(rows) == 40
    assert told["positions"] == int(rows.learn.sum())
    assert told["predictions"] == 40 * (CONTEXT - 1)
    x, d = harvest(subject, rows, ["resid_post.0"]).vectors["resid_post.0"], run.dictionary()
    codes = dense(d.encode(x)).detach()
    x_hat = d(x).detach()
    scores = found["runs"][0]["rows"][0]["scores"]
    assert scores["l0/1"] == pytest.approx((codes > 0).sum(1).double().mean().item())
    fvu = (x - x_hat).square().sum() / (x - x.mean(0)).square().sum()
    assert scores["fvu/1"] == pytest.approx(fvu.item(), rel=1e-4)
    (by_hand,) = Predictions(subject, rows).spliced([{"resid_post.0": d}])
    assert {key: scores[key] for key in by_hand} == pytest.approx(by_hand, rel=1e-5)


def test_the_arrays_add_up_to_the_scores(trained: list[Run], found: dict[str, Any]) -> None:
    for run, of in zip(trained, found["runs"], strict=True):
        scores, held = of["rows"][0]["scores"], arrays(run)
        assert held["position_rebuilt"][0] == 0  # first positions are not learnt from, but counted
        assert held["position_counted"][0] == 40
        assert held["position_counted"][-1] == 0
        for by, n in (("position", CONTEXT), ("token", load("tiny_text()").alphabet.size)):
            rebuilt, counted = held[f"{by}_rebuilt"], held[f"{by}_counted"]
            assert len(rebuilt) == n
            assert rebuilt.sum() == of["text"]["positions"]
            assert (held[f"{by}_l0"].nan_to_num() * rebuilt).sum() / rebuilt.sum() == pytest.approx(scores["l0/1"])
            for array, key in (("ce", "ce/1"), ("ce_spliced", "ce_spliced/1")):
                mean = (held[f"{by}_{array}"].nan_to_num() * counted).sum() / counted.sum()
                assert mean == pytest.approx(scores[key], rel=1e-4)
        assert held["count"].sum() / of["text"]["positions"] == pytest.approx(scores["l0/1"])
        assert held["density_histogram"].sum() == (held["count"] > 0).sum()


def test_the_most_hurt_tokens_are_told_by_name(trained: list[Run], found: dict[str, Any]) -> None:
    hurt, held = found["runs"][0]["hurt"], arrays(trained[0])
    increases = [token["ce_increase"] for token in hurt]
    assert increases == sorted(increases, reverse=True)
    often = held["token_counted"] >= 10
    assert increases[0] == pytest.approx(float((held["token_ce_spliced"] - held["token_ce"])[often].max()))
    assert len(hurt) == min(20, int(often.sum()))
    for token in hurt:
        assert token["count"] == held["token_counted"][token["token"]] >= 10
        assert token["name"] == load("tiny_text()").tokenizer.piece(token["token"])  # type: ignore[attr-defined]


def test_all_are_spliced_in_together(trained: list[Run], found: dict[str, Any]) -> None:
    whole = found["together"]
    assert [row["name"] for row in whole["rows"]] == ["dictionary", "untrained", "PCA"]
    assert [place["target"] for place in whole["runs"]] == ["resid_post.0", "mlp_out.1"]
    subject = load("tiny_text()")
    rows = corpus(trained[0].config.data, subject).sample("test", 40, 1)
    early, late = (run.dictionary() for run in trained)
    (by_hand,) = Predictions(subject, rows).spliced([{"resid_post.0": early, ("mlp_in.1", "mlp_out.1"): late}])
    assert whole["rows"][0]["scores"] == pytest.approx(by_hand, rel=1e-5)
    assert set(by_hand) <= set(whole["metrics"])


def test_the_rows_are_those_of_the_split_and_the_seed(trained: list[Run], found: dict[str, Any]) -> None:
    def ce(**which: Any) -> float:
        return evaluate(trained[:1], n_rows=40, baselines=False, **which)["runs"][0]["rows"][0]["scores"]["ce/1"]

    assert ce() == found["runs"][0]["rows"][0]["scores"]["ce/1"]
    assert len({ce(), ce(seed=2), ce(split="validation")}) == 3
    assert evaluate(trained[:1], n_rows=10_000, baselines=False)["runs"][0]["text"]["rows"] < 1000  # all there are


def test_two_runs_that_write_one_site_are_scored_alone(home: Path, trained: list[Run]) -> None:
    (other,) = train({home / "other": config(home, site="blocks.0.hook_resid_post", method="relu(l1=0.1)")})
    found = evaluate([trained[0], other], n_rows=10, baselines=False)
    assert found["together"] is None
    assert found["runs"][1]["site"] == "resid_post.0"
    said = verb("evaluate", trained[0].folder, other.folder, "--rows", "10")
    assert "not spliced in together: two of them write the same site" in said


def test_an_encoder_is_read_and_not_run(home: Path) -> None:
    (run,) = train({home / "encoder": config(home, subject="tiny_encoder()")})
    found = evaluate([run, run], n_rows=20)
    scores = found["runs"][0]["rows"][0]["scores"]
    assert {"fvu/1", "l0/1", "cosine/1"} <= set(scores)
    assert not [key for key in scores if key.startswith(("ce", "kl", "perplexity"))]
    assert found["together"] is None
    assert found["runs"][0]["hurt"] == []
    assert found["runs"][0]["text"]["predictions"] == 0
    said = verb("evaluate", run.folder, "--rows", "20")
    assert "does not predict the next token" in said
    assert "EV/token" in said
    assert "CE" not in said


def test_what_sees_the_next_token_does_not_predict_it() -> None:
    class Bidirectional(tiny_reader.Reader):
        def run(self, tokens: Tensor, edits: object = None) -> Tensor:
            return super().run(tokens) + super().run(tokens.flip(1)).flip(1)

    tokens = tiny_text.some_rows().tokens[:1]
    seeing = tiny_reader.tiny()
    assert says_what_comes_next(seeing, tokens)
    seeing.__class__ = Bidirectional
    assert not says_what_comes_next(seeing, tokens)


def verb(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_verbs_from_text_to_scores(home: Path) -> None:
    settings = [f"--set={name}={value}" for name, value in SMALL.items() if "." in name]
    common = ["--subject", "tiny_text()", "--text", home / "some.jsonl", "--d-sae", "24", "--method", "topk(k=3)"]
    runs = [home / "verbs" / name for name in ("one", "two")]
    for run, site in zip(runs, ("resid_post.0", "mlp_out.1"), strict=True):
        verb("train", run, *common, "--site", site, *settings)
    said = verb("evaluate", *runs, "--rows", "30", "--together", home / "together.json", "--control")
    for words in (
        "CE score",
        "untrained",
        "PCA of 3",
        "shuffled subject",
        "where two costs most",
        "spliced in together",
    ):
        assert words in said
    assert "pairs" not in said
    assert files.read_json(home / "together.json")["rows"][0]["scores"]["kl/1"] > 0
    told = json.loads(verb("evaluate", runs[0], "--rows", "30", "--json"))
    assert told["runs"][0] == Run(runs[0]).evaluation()
    assert told["together"] is None
    assert "0." in verb("runs", home / "verbs")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["evaluate", "early", "--together", "x.json"], "name two runs at least"),
        (["evaluate", "early", "other-text"], "must read the same text: data.context differs"),
        (["evaluate", "early", "--rows", "0"], "held-out rows: at least 1"),
        (["report", "early"], "reads text: the page shows boards"),
    ],
)
def test_what_is_wrong_is_said(home: Path, trained: list[Run], arguments: list[str], sentence: str) -> None:
    if "other-text" in arguments:
        train({home / "other-text": config(home, **{"data.context": 10})})
    evaluate(trained[:1], n_rows=10, baselines=False)
    given = [str(home / each) if (home / each).is_dir() else each for each in arguments]
    with pytest.raises(ValueError, match=sentence):
        CliRunner().invoke(app, given, catch_exceptions=False)


def test_what_is_of_another_kind_is_said(home: Path, trained: list[Run]) -> None:
    with pytest.raises(ValueError, match=r"tiny_text\(\) reads text, not games"):
        Context("tiny_text()", "resid_post.0")
    with pytest.raises(ValueError, match="name at least one run"):
        evaluate([])
    with pytest.raises(FileNotFoundError, match="holds no trained dictionary"):
        evaluate([Run(home / "nowhere")])
    (stray,) = train({home / "stray": config(home)})
    train({stray.folder / "control": config(home, seed=3)})
    with pytest.raises(ValueError, match="is no control of"):
        evaluate([stray], n_rows=10, baselines=False)
