"""Pruned and fine-tuned runs: their numbers against plain ones, and folders that are runs like any other."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from unweave import after, files, runs
from unweave.activations.corpus import of_games
from unweave.activations.harvest import harvest
from unweave.cli import app
from unweave.config import RunConfig, override
from unweave.dictionary.codes import dense
from unweave.othello import games
from unweave.runs import Run
from unweave.subject import disk, load
from unweave.subject.gpt import GPT, GPTConfig
from unweave.training.finetune import Finetuning
from unweave.training.prune import Rules

SMALL = {
    "training.steps": 150,
    "training.batch": 128,
    "training.warmup": 10,
    "training.decoder_norm": "bounded",
    "data.sequences": 32,
}
RULES = Rules(max_activation=0.8, decoder_norm=0.97, frequency=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A dictionary as report 003's, with a penalty strong enough to shrink what it rebuilds."""
    folder = tmp_path_factory.mktemp("after")
    torch.manual_seed(0)
    disk.save(GPT(GPTConfig(n_layers=1, d_model=16, n_heads=2)), folder / "subject")
    config = RunConfig(
        subject=str(folder / "subject"),
        method="relu(l1=0.01)",
        d_sae=48,
        objective="by_centred_norm()",
        normalise="each",
        b_dec="none",
        revive="none()",
    )
    (made,) = runs.train({folder / "run": override(config, SMALL)})
    return made


@pytest.fixture(scope="module")
def pruned(run: Run):
    folder = run.folder.with_name("pruned")
    (found,) = after.prune({folder: run}, RULES, tokens=3000, held_out=20)
    return Run(folder), found


@pytest.fixture(scope="module")
def finetuned(pruned):
    folder = pruned[0].folder.with_name("finetuned")
    (found,) = after.finetune({folder: pruned[0]}, Finetuning(steps=150, lr=3e-3), held_out=20)
    return Run(folder), found


def held_out(run: Run, n: int = 20) -> Tensor:
    rows = of_games(games.sample("test", n, 1))
    return harvest(load(run.config.subject), rows, [run.config.site]).vectors[run.config.site]


def test_each_rule_removes_what_it_says(run, pruned) -> None:
    new, found = pruned
    d = run.dictionary()
    stream = games.stream("train", run.config.data.seed + 1, batch=32)
    counted: list[Tensor] = []
    while sum(map(len, counted)) < 3000:
        counted.append(
            dense(
                d.encode(
                    harvest(load(run.config.subject), of_games(next(stream)), ["resid_post.0"]).vectors["resid_post.0"]
                )
            )
        )
    codes = torch.cat(counted)
    weak, rare = codes.amax(0) < 0.8, (codes > 0).double().mean(0) < 0.01
    short = d.W_dec.norm(dim=1) < 0.97
    gone = weak | rare | short
    assert found["removed"] == {
        "max_activation": int(weak.sum()),
        "decoder_norm": int(short.sum()),
        "frequency": int(rare.sum()),
        "any": int(gone.sum()),
    }
    assert 0 < gone.sum() < 48
    assert found["tokens"] == len(codes)
    assert found["kept"] == (~gone).nonzero().squeeze(1).tolist()
    x = held_out(run)
    torch.testing.assert_close(dense(new.dictionary().encode(x)), dense(d.encode(x))[:, ~gone])


def test_before_and_after_are_the_dictionaries_own_numbers(run, pruned) -> None:
    new, found = pruned
    x = held_out(run)
    for side, d in (("before", run.dictionary()), ("after", new.dictionary())):
        x_hat, codes = d(x), dense(d.encode(x))
        assert found[side]["features"] == codes.shape[1]
        assert found[side]["l0/1"] == pytest.approx((codes > 0).sum(1).double().mean().item())
        assert found[side]["l2_ratio/1"] == pytest.approx((x_hat.norm(dim=1) / x.norm(dim=1)).mean().item(), rel=1e-5)
        fvu = (x_hat - x).square().sum() / (x - x.mean(0)).square().sum()
        assert found[side]["fvu/1"] == pytest.approx(fvu.item(), rel=1e-4)
        share = 1 - (x_hat - x).square().sum(1) / (x - x.mean(0)).square().sum(1)
        assert found[side]["explained_variance_token/1"] == pytest.approx(share.mean().item(), rel=1e-4)
        scores = (found[side][f"{key}/1"] for key in ("ce_zero", "ce_spliced", "ce", "ce_score"))
        zero, spliced, ce, score = scores
        assert score == pytest.approx((zero - spliced) / (zero - ce))


def test_fine_tuning_lengthens_what_was_shrunk_and_changes_no_code(pruned, finetuned) -> None:
    (before, _), (now, found) = pruned, finetuned
    x = held_out(now)
    assert torch.equal(dense(now.dictionary().encode(x)), dense(before.dictionary().encode(x)))
    assert found["before"]["l2_ratio/1"] < 0.9
    assert found["before"]["l2_ratio/1"] + 0.03 < found["after"]["l2_ratio/1"] < 1.05
    assert found["after"]["fvu/1"] < found["before"]["fvu/1"]
    assert abs(found["after"]["shrinkage/1"] - 1) < abs(found["before"]["shrinkage/1"] - 1)
    assert not now.dictionary().b_dec.any(), "it has no b_dec to train"
    assert [line["step"] for line in found["curve"]] == [50, 100, 150]


def test_what_was_done_is_written_down(run, pruned, finetuned) -> None:
    new, now = pruned[0], finetuned[0]
    assert run.history == []
    assert [step["verb"] for step in new.history] == ["prune"]
    assert [step["verb"] for step in now.history] == ["prune", "finetune"]
    assert now.history[0]["from"] == str(run.folder)
    assert now.config == run.config, "what it was trained with stays as it was"
    assert files.read_json(now.folder / "finetune.json") == finetuned[1]
    assert now.metrics() == run.metrics()
    assert "features were removed" in (now.folder / "card.md").read_text()
    assert "fine-tuned" in (now.folder / "card.md").read_text()
    assert {r.name for r in runs.find(run.folder.parent)} >= {"run", "pruned", "finetuned"}
    with pytest.raises(ValueError, match="was pruned and finetuned after its training: choose another folder"):
        runs.train({now.folder: now.config})


@pytest.mark.parametrize("objective", ["squared()", "kl()"])
def test_several_at_once_are_what_each_is_alone(run, tmp_path, objective) -> None:
    """A transcoder, and b_dec and the codes of a dictionary that has one; end to end as well."""
    base = override(run.config, {"objective": objective, "normalise": "centre", "b_dec": "mean", "training.steps": 20})
    config = {
        tmp_path / "a": override(base, {"method": "gated(l1=0.5)"}),
        tmp_path / "b": override(
            base, {"site": "mlp_in.0", "target": "mlp_out.0", "skip": True, "method": "topk(k=4)"}
        ),
    }
    made = runs.train(config)
    settings = Finetuning(steps=15, log_every=5)
    both = after.finetune({tmp_path / f"{r.name}2": r for r in made}, settings, held_out=5)
    (alone,) = after.finetune({tmp_path / "b3": made[1]}, settings, held_out=5)
    assert both[1]["curve"] == alone["curve"]
    assert both[1]["after"] == pytest.approx(alone["after"], rel=1e-4)
    a, again = made[0].dictionary(), Run(tmp_path / "a2").dictionary()
    x = held_out(made[0], 5)
    torch.testing.assert_close(dense(again.encode(x)), dense(a.encode(x)), rtol=1e-3, atol=1e-4)
    assert (again.b_dec - a.b_dec).abs().max() > 0


def test_what_cannot_be_is_refused_and_leaves_nothing(run, tmp_path, monkeypatch) -> None:
    with pytest.raises(ValueError, match="none of 48 features would be left: loosen a rule"):
        after.prune({tmp_path / "a": run}, Rules(max_activation=1e6), tokens=100, held_out=2)
    with pytest.raises(ValueError, match="exists already"):
        after.prune({run.folder: run}, RULES, tokens=100, held_out=2)
    with pytest.raises(ValueError, match="frequency must be at least 0"):
        Rules(frequency=-1.0)
    few = runs.train({tmp_path / "few": override(run.config, {"method": "topk(k=40)", "training.steps": 5})})[0]
    with pytest.raises(ValueError, match=r"too few: topk\(k=40\) does not fit a dictionary"):
        after.prune({tmp_path / "a": few}, Rules(max_activation=3.0), tokens=2000, held_out=2)
    pursuit = runs.train(
        {tmp_path / "p": override(run.config, {"method": "matching_pursuit(k=4)", "training.steps": 5})}
    )
    with pytest.raises(ValueError, match="reads inputs along its decoder's rows"):
        after.finetune({tmp_path / "a": pursuit[0]}, Finetuning(steps=1), held_out=2)

    def stop(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(after.export, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        after.prune({tmp_path / "a": run}, Rules(), tokens=100, held_out=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["few", "p"]


def test_the_verbs(run, tmp_path) -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    out = tmp_path / "p"
    shown = said(
        "prune", str(run.folder), "--out", str(out), "--tokens", "500", "--held-out", "4", "--max-activation", "0.8"
    )
    assert "of 48 features removed" in shown
    assert "L2 ratio" in shown
    shown = said("finetune", str(out), "--out", str(tmp_path / "f"), "--steps", "3", "--held-out", "4")
    assert "shrinkage gamma" in shown
    assert Run(tmp_path / "f").trained
    (p,) = (row for row in json.loads(said("runs", str(tmp_path), "--json")) if row["run"] == str(out))
    kept = files.read_json(out / "prune.json")["after"]
    assert (p["d_sae"], p["state"], p["l0"], p["fvu"]) == (kept["features"], "pruned", kept["l0/1"], kept["fvu/1"])
    assert "pruned, finetuned" in said("runs", str(tmp_path))
    assert Path(tmp_path / "f" / "finetune.json").exists()
