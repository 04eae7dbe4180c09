"""The main job from end to end on a tiny subject: the demo's command, then every verb on what it made."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from unweave import demo, files
from unweave.cli import app
from unweave.dashboards.reading import View
from unweave.evaluation.definitions import DEFINITIONS
from unweave.runs import Run
from unweave.subject import GPT, GPTConfig, save
from unweave.subject.othello import ALPHABET

SMALL = ["training.steps=30", "training.batch=256", "data.sequences=64", "training.log_every=10"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the demo has run, and the subject it was run on."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("demo")
    save(GPT(GPTConfig(n_layers=2, d_model=16, n_heads=2), ALPHABET), folder / "model")
    subject = str(folder / "model")
    settings = [f"--set={text}" for text in (*SMALL, f"subject={subject}")]
    done = CliRunner().invoke(app, ["demo", str(folder / "runs"), "--games", "40", *settings], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "report.html" in done.output
    assert done.output.rstrip().endswith(f"view {folder / 'runs'}")
    return folder / "runs", subject


def verb(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_demo_makes_scored_runs_and_a_report(made: tuple[Path, str]) -> None:
    folder, _ = made
    assert sorted(path.name for path in folder.iterdir()) == [
        *("leaky_readout-1024", "report.html", demo.CONTROL, "topk-512"),
    ]
    evaluation = files.read_json(folder / "leaky_readout-1024" / "evaluation.json")
    names = [row["name"] for row in evaluation["rows"]]
    assert names == [
        *("dictionary", "dictionary", "linear probe", "shuffled subject", "shuffled subject", "neurons mlp_act.0"),
        *("residual dimensions", "PCA", "position alone", "always on"),
    ]
    own = evaluation["rows"][0]["scores"]
    assert set(own) == set(DEFINITIONS) == set(evaluation["metrics"])
    assert evaluation["games"]["chosen_on"] == evaluation["games"]["scored_on"] == 20
    for row in evaluation["rows"]:
        if row["readout"] == "pre-activations":
            assert {"pairs/1", "pairs_within/1", "legal/1", "features/1"} <= set(row["scores"]) < set(own)
        else:
            assert set(row["scores"]) == set(own), "every number has the same of the controls beside it"
    scores = {row["name"]: row["scores"] for row in evaluation["rows"]}
    for exact in ("residual dimensions", "PCA"):
        assert scores[exact]["fvu/1"] == pytest.approx(0, abs=1e-6)
        assert scores[exact]["ce_spliced/1"] == pytest.approx(own["ce/1"], abs=1e-4)
    assert scores["position alone"]["l0/1"] == 3
    always_on = scores["always on"]
    assert always_on["l0/1"] == 1
    assert always_on["fvu/1"] == pytest.approx(1, abs=0.05)  # the mean of half A is not quite that of half B
    assert always_on["pairs/1"] == always_on["pairs_within/1"] == 0
    assert 0.35 < always_on["coverage_128/1"] < 0.47
    assert abs(always_on["coverage_corrected/1"]) < 1e-9


def test_the_arrays_beside_the_scores(made: tuple[Path, str]) -> None:
    arrays, _ = files.read_tensors(made[0] / "topk-512" / "evaluation.safetensors")
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    assert shapes == {
        "moves": (20, 60),
        "density": (512,),
        "max": (512,),
        "label_of": (512,),
        "best_feature": (252,),
        "auroc": (512, 252),
        "auroc_within": (512, 252),
        "probe_auroc": (252,),
        "top_game": (512, 12),
        "top_ply": (512, 12),
        "top_value": (512, 12),
    }
    there = arrays["top_value"] > 0
    assert (arrays["top_game"][there] >= 0).all()
    assert (arrays["top_value"].max(1).values.clamp(min=0) == arrays["max"]).all()


def test_the_demo_does_not_train_again(made: tuple[Path, str]) -> None:
    folder, subject = made
    before = (folder / "topk-512" / "sae.safetensors").stat().st_mtime_ns
    settings = [f"--set={text}" for text in (*SMALL, f"subject={subject}")]
    found = json.loads(verb("demo", folder, "--games", "40", "--json", *settings))
    assert len(found) == 2
    assert (folder / "topk-512" / "sae.safetensors").stat().st_mtime_ns == before


def test_evaluate_trains_its_own_control_and_repeats_itself(made: tuple[Path, str]) -> None:
    run = made[0] / "topk-512"
    with pytest.raises(ValueError, match="cannot be halved"):
        verb("evaluate", run, "--games", "1")
    assert not (run / "control").exists(), "it is said before the control is trained"
    one = json.loads(verb("evaluate", run, "--games", "40", "--json"))
    assert (run / "control" / "sae.safetensors").exists()
    assert (
        one == json.loads(verb("evaluate", run, "--games", "40", "--json")) == files.read_json(run / "evaluation.json")
    )
    assert "linear probe" in verb("evaluate", run, "--games", "40")


def test_runs_and_report(made: tuple[Path, str]) -> None:
    folder, _ = made
    listed = {Path(row["run"]).name: row for row in json.loads(verb("runs", folder, "--json"))}
    assert {"topk-512", "leaky_readout-1024", demo.CONTROL} <= set(listed)
    assert listed["topk-512"]["state"] == "trained"
    assert "leaky_readout-1024" in verb("runs", folder)
    page = Path(json.loads(verb("report", folder, "--json"))["report"])
    assert page.stat().st_size > 10_000
    assert verb("report", folder / "topk-512")


def test_the_best_run_has_a_view(made: tuple[Path, str]) -> None:
    folder, _ = made
    best = demo.best([Run(folder / "leaky_readout-1024"), Run(folder / "topk-512")])
    pairs = {
        path.parent.name: files.read_json(path)["rows"][0]["scores"]["pairs/1"] for path in folder.glob("*/e*.json")
    }
    assert pairs[best.name] == max(pairs.values())
    view = View(best.folder)
    assert len(view.rows) == 40
    assert view.stale() == ""


def test_train_from_a_config_file(made: tuple[Path, str], tmp_path: Path) -> None:
    config = made[0] / "topk-512" / "config.json"
    last = json.loads(verb("train", tmp_path / "again", "--config", config, "--seed", "3", "--json"))
    assert last["step"] == 30
    theirs = files.read_json(tmp_path / "again" / "config.json")["config"]
    ours = files.read_json(config)["config"]
    assert theirs == ours | {"seed": 3}


@pytest.mark.parametrize(
    "name",
    ["demo", "methods", "pretrain", "train", "evaluate", "view", "label", "steer", "report", "runs", "bench", "study"],
)
def test_every_verb_shows_an_example(name: str) -> None:
    assert "Example" in verb(name, "--help")
    assert f"unweave {name}" in verb(name, "--help")
