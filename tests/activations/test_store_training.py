"""Learning from a store: as from the subject, to the bit, also when it is taken up again or the store still grows."""

import shutil
import threading
import time
from pathlib import Path

import pytest
import tiny_reader
import torch
from small_store import DATA, SITES, filled, model, ordered

from unweave import files, runs
from unweave.activations import shard
from unweave.activations.fill import fill
from unweave.activations.plan import plan
from unweave.activations.store import Store, present, shard_path
from unweave.config import DataConfig, RunConfig, override
from unweave.evaluation.controls import control_of
from unweave.subject.base import SUBJECTS

SMALL = {"training.steps": 60, "training.batch": 128, "training.checkpoint_every": 10, "training.log_every": 10}


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> str:
    return model(tmp_path_factory.mktemp("subject"))


@pytest.fixture(scope="module")
def whole(subject, tmp_path_factory) -> Path:
    """A finished store that no test changes."""
    return filled(tmp_path_factory.mktemp("whole"), subject).folder


def config(subject: str, **settings) -> RunConfig:
    made = RunConfig(subject=subject, method="topk(k=4)", d_sae=32, data=DATA)
    return override(made, SMALL | settings)


def same(a: Path, b: Path) -> bool:
    one, two = (files.read_tensors(folder / "sae.safetensors")[0] for folder in (a, b))
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"site": "resid_post.0+mlp_act.1", "data.passes": 2, "normalise": "each"},
        {"site": "resid_post.0", "target": "mlp_act.1", "training.steps": 20},
    ],
)
def test_training_from_a_store_is_training_from_the_subject(subject, tmp_path, settings) -> None:
    store = filled(tmp_path / "s", subject, 7 if not settings else 4)
    runs.train({tmp_path / "live": config(subject, **settings)})
    runs.train({tmp_path / "stored": config(subject, **{"data.store": str(store.folder)}, **settings)})
    assert same(tmp_path / "live", tmp_path / "stored")


def test_text_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))
    path = tiny_reader.write(tmp_path / "some.jsonl", tiny_reader.documents(400))
    monkeypatch.setitem(SUBJECTS._builders, "tiny_text", tiny_reader.tiny)
    data = DataConfig(text=str(path), context=24, sequences=50)
    asked = {"data": data, "sites": ["resid_post.0"]}
    store = filled(tmp_path / "s", "tiny_text()", 6, **asked)
    assert store.about["data"]["context"] == 24
    assert (shard.where(shard_path(store.folder, 0))["position"] > 0).all(), "first positions are not learnt from"
    live = override(config("tiny_text()"), {"data": files.leaves(vars(data)), "training.steps": 30})
    runs.train({tmp_path / "live": live})
    stored = override(live, {"data.store": str(store.folder)})
    runs.train({tmp_path / "stored": stored})
    assert same(tmp_path / "live", tmp_path / "stored")
    for changed in ({"data.context": 12}, {"data.specials": True}):
        with pytest.raises(ValueError, match=f"{next(iter(changed))} is .* there"):
            runs.train({tmp_path / "other": override(stored, changed)})
    tiny_reader.write(path, tiny_reader.documents(401))
    with pytest.raises(ValueError, match=r"corpus is '.*' there"):
        ordered(tmp_path / "s", "tiny_text()", **asked)


def stopped_at(jobs: dict[Path, RunConfig], step: int) -> None:
    def stop(report: runs.Report) -> None:
        if report.values["step"] == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.train(jobs, stop)


def test_a_run_that_goes_around_is_taken_up(subject, tmp_path) -> None:
    settings = {"data.store": str(filled(tmp_path / "s", subject, 2).folder)}
    runs.train({tmp_path / "whole": config(subject, **settings)})
    stopped_at({tmp_path / "stopped": config(subject, **settings)}, 50)
    runs.train({tmp_path / "stopped": config(subject, **settings)})
    assert same(tmp_path / "whole", tmp_path / "stopped")
    stopped_at({tmp_path / "third": config(subject, **settings)}, 50)
    filled(tmp_path / "s", subject, 3)
    with pytest.raises(ValueError, match=r"third was begun on other data: .*/s has changed since"):
        runs.train({tmp_path / "third": config(subject, **settings)})


def test_a_store_may_grow_between_two_sessions_of_a_run(subject, tmp_path) -> None:
    settings = {"data.store": str(filled(tmp_path / "s", subject, 4).folder)}
    job = {tmp_path / "run": config(subject, **settings)}
    stopped_at(job, 30)
    filled(tmp_path / "s", subject, 7)
    runs.train(job)
    runs.train({tmp_path / "live": config(subject)})
    assert same(tmp_path / "run", tmp_path / "live")


def test_content_that_changes_between_two_sessions_is_noticed(subject, tmp_path) -> None:
    store = filled(tmp_path / "s", subject, 5).folder
    job = {tmp_path / "run": config(subject, **{"data.store": str(store)})}
    stopped_at(job, 30)
    shutil.copy(shard_path(store, 4), shard_path(store, 0))
    with pytest.raises(ValueError, match="begun on other data"):
        runs.train(job)


def test_a_store_that_grows_is_waited_for(subject, tmp_path) -> None:
    runs.train({tmp_path / "live": config(subject)})
    planned = plan(ordered(tmp_path / "s", subject, 7))
    begun = threading.Event()

    def slowly() -> None:
        for _ in fill(planned):
            begun.set()
            time.sleep(0.2)

    writer = threading.Thread(target=slowly)
    writer.start()
    assert begun.wait(60)
    assert len(present(tmp_path / "s")) < 7
    runs.train({tmp_path / "grown": config(subject, **{"data.store": str(tmp_path / "s")})})
    writer.join()
    assert same(tmp_path / "live", tmp_path / "grown")


def test_an_unfinished_store_that_nobody_fills_is_not_waited_for(subject, tmp_path) -> None:
    filling = fill(plan(ordered(tmp_path / "s", subject, 7)))
    next(filling)
    filling.close()
    with pytest.raises(ValueError, match="has no shard 1, and no process fills it: `unweave harvest` goes on"):
        runs.train({tmp_path / "run": config(subject, **{"data.store": str(tmp_path / "s")})})


def test_waiting_can_be_ended(subject, tmp_path) -> None:
    filling = fill(plan(ordered(tmp_path / "s", subject, 7)))
    next(filling)
    with pytest.raises(InterruptedError, match="no longer waiting for shard 1"):
        list(Store(tmp_path / "s", lambda _: True).chunks(SITES)(0))
    filling.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"objective": "kl()"}, r"kl\(\) needs the subject itself, not a store"),
        ({"site": "resid_post.1"}, "holds resid_post.0, mlp_act.1, and not resid_post.1"),
        ({"target": "embed"}, "and not embed"),
        ({"data.sequences": 64}, r"data\.sequences is 32 there, 64 here"),
        ({"data.seed": 1}, r"data\.seed is 5 there, 1 here"),
        ({"subject": "othello()"}, r"subject is '.*' there, 'othello\(\)' here"),
        ({"data.store": "nowhere"}, "nowhere is no store of activations"),
    ],
)
def test_a_run_that_does_not_fit_its_store_is_refused(subject, whole, tmp_path, settings, sentence) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        runs.train({tmp_path / "a": override(config(subject, **{"data.store": str(whole)}), settings)})
    assert not (tmp_path / "a").exists()


def test_the_control_of_a_run_is_of_another_subject_and_reads_no_store(subject, whole) -> None:
    control = control_of(config(subject, **{"data.store": str(whole)}))
    assert control.subject.startswith("control(")
    assert control.data == DATA
