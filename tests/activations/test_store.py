"""Stores: what training would harvest, to the bit; whole whatever ends their filling; what is wrong is named."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest
import torch
from small_store import CHUNK, DATA, SITES, filled, model, ordered, sums

from unweave import files
from unweave.activations import shard
from unweave.activations.corpus import Games
from unweave.activations.fill import check, fill
from unweave.activations.harvest import harvest
from unweave.activations.live import Live
from unweave.activations.plan import plan
from unweave.activations.store import Store, present, shard_path
from unweave.config import override
from unweave.subject import disk


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> str:
    return model(tmp_path_factory.mktemp("subject"))


@pytest.fixture(scope="module")
def whole(subject, tmp_path_factory) -> Path:
    """A finished store that no test changes."""
    return filled(tmp_path_factory.mktemp("whole"), subject).folder


def damage(path: Path) -> None:
    """Turn one bit over in the middle of the tensors."""
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 4
    path.write_bytes(held)


def test_it_holds_the_chunks_that_a_training_would_harvest(subject, whole) -> None:
    live, store = Live(subject, DATA), Store(whole)
    assert store.end == 3
    assert store.sites == {"resid_post.0": 16, "mlp_act.1": 64}
    for index, there in enumerate(islice(live.chunks(SITES)(0), 3)):
        held = store.vectors(index, SITES)
        assert all(torch.equal(held[site], there[site]) for site in SITES)
    assert all(torch.equal(store.sample(SITES)[site], live.sample(SITES)[site]) for site in SITES)


def test_every_vector_knows_where_it_is_from(subject, whole) -> None:
    rows = list(islice(Games().stream("train", n=32, seed=5), 3))
    for index, of in enumerate(rows):
        where = shard.where(shard_path(whole, index))
        row, position = where["row"].long(), where["position"].long()
        assert torch.equal(where["token"].long(), of.tokens[row, position])
        expected = {(g, s) for g in range(32) for s in range(59) if of.learn[g, s]}
        assert set(zip(row.tolist(), position.tolist(), strict=True)) == expected
        assert len(row) == len(expected), "every position once"
    saved = disk.saved(subject)
    alone = saved.read(rows[2].tokens[7:8, :11], ["resid_post.0"])["resid_post.0"][0, -1]
    (at,) = ((row == 7) & (position == 10)).nonzero()[0]
    torch.testing.assert_close(Store(whole).vectors(2, SITES)["resid_post.0"][at], alone, rtol=1e-4, atol=1e-5)


def test_chunks_begin_again_after_the_last(whole) -> None:
    store = Store(whole)
    chunks = list(islice(store.chunks(SITES)(1), 6))
    for chunk, index in zip(chunks, [1, 2, 0, 1, 2, 0], strict=True):
        assert torch.equal(chunk["mlp_act.1"], store.vectors(index, SITES)["mlp_act.1"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrower_dtypes_round_and_are_read_as_float32(subject, whole, tmp_path, dtype) -> None:
    store = filled(tmp_path / "narrow", subject, 1, dtype=dtype)
    exact, held = Store(whole).vectors(0, SITES), store.vectors(0, SITES)
    for site in SITES:
        assert held[site].dtype == torch.float32
        assert torch.equal(held[site], exact[site].to(shard.DTYPES[dtype]).float())
    ratio = shard_path(store.folder, 0).stat().st_size / shard_path(whole, 0).stat().st_size
    assert 0.5 < ratio < 0.55


def test_joined_sites_and_other_names(whole) -> None:
    store = Store(whole)
    single = store.vectors(0, SITES)
    joined = store.vectors(0, ["mlp_act.1+blocks.0.hook_resid_post"])["mlp_act.1+blocks.0.hook_resid_post"]
    assert torch.equal(joined, torch.cat([single["mlp_act.1"], single["resid_post.0"]], 1))
    assert store.width("mlp_act.1+blocks.0.hook_resid_post") == 80


def test_threads_change_no_bit(subject) -> None:
    live = Live(subject, DATA)
    rows = live.corpus.sample("train", 300, 0)  # of several passes
    with ThreadPoolExecutor(3, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        many = harvest(live.subject, rows, SITES, pool.map)
    one = harvest(live.subject, rows, SITES)
    assert all(torch.equal(many.vectors[site], one.vectors[site]) for site in SITES)


def test_the_plan_comes_true(subject, tmp_path) -> None:
    planned = plan(ordered(tmp_path / "s", subject, shards=4))
    assert not (tmp_path / "s").exists()
    assert list(tmp_path.iterdir()) == []
    list(fill(planned))
    there = [shard_path(tmp_path / "s", i) for i in present(tmp_path / "s")]
    assert planned.shards == len(there)
    assert planned.vectors == pytest.approx(sum(map(shard.size, there)), rel=0.01)
    assert planned.bytes == pytest.approx(sum(path.stat().st_size for path in there), rel=0.02)
    assert planned.missing == planned.bytes
    again = plan(ordered(tmp_path / "s", subject, shards=4))
    assert (again.shards, again.missing, again.seconds) == (len(there), 0, 0)


def test_left_and_taken_up_it_is_the_same(subject, whole, tmp_path) -> None:
    filling = fill(plan(ordered(tmp_path, subject)))
    assert next(filling).shards == 1
    filling.close()
    assert Store(tmp_path).end is None
    shards = [there.shards for there in fill(plan(ordered(tmp_path, subject)))]
    assert shards == [2, 3]
    assert sums(tmp_path) == sums(whole)
    assert Store(tmp_path).end == 3


def test_it_grows_and_ends_where_one_says(subject, whole, tmp_path) -> None:
    filled(tmp_path, subject, 1)
    assert filled(tmp_path, subject, 3).end == 3
    assert sums(tmp_path) == sums(whole)
    (tmp_path / "finished.json").unlink()
    assert filled(tmp_path, subject, 0).end == 3


def test_kill_9_in_the_middle_of_a_shard(subject, tmp_path) -> None:
    whole = filled(tmp_path / "whole", subject, 16).folder
    command = [sys.executable, "-c", "from unweave.cli import main; main()", "harvest", str(tmp_path / "killed")]
    command += ["--subject", subject, "--dtype", "float32", "--tokens", str(16 * CHUNK)]
    command += [*(f"--site={site}" for site in SITES), "--set=data.sequences=32", "--set=data.seed=5"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        half_written = [*tmp_path.glob("killed/.shard-*"), *tmp_path.glob("killed/.tmp*")]
        if half_written and len(present(tmp_path / "killed")) >= 2:
            break
    assert process.poll() is None, "it must be killed in the middle"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(present(tmp_path / "killed"))
    assert 2 <= done < 16
    for index in present(tmp_path / "killed"):
        shard.check(shard_path(tmp_path / "killed", index))
    filled(tmp_path / "killed", subject, 16)
    assert sums(tmp_path / "killed") == sums(whole)
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".")], "nothing is left over"


@pytest.mark.parametrize("harm", ["bit", "header", "cut", "empty"])
def test_a_damaged_shard_is_named_and_mended(subject, whole, tmp_path, harm) -> None:
    folder = tmp_path / "s"
    shutil.copytree(whole, folder)
    path = shard_path(folder, 1)
    if harm == "bit":
        damage(path)
    elif harm == "header":
        held = path.read_bytes()
        at = held.index(b"sha256") + 30
        path.write_bytes(held[:at] + bytes([held[at] ^ 1]) + held[at + 1 :])
    else:
        path.write_bytes(path.read_bytes()[: 5000 if harm == "cut" else 0])
    store = Store(folder)
    with pytest.raises(ValueError, match=r"shard-00001\.safetensors is damaged.*--check` harvests it anew"):
        list(islice(store.chunks(SITES)(0), 3))
    before = {i: shard_path(folder, i).stat().st_mtime_ns for i in (0, 2)}
    wrong = {found.name: what for found, what in check(folder)}
    assert [name for name, what in wrong.items() if what] == ["shard-00001.safetensors"]
    assert len(wrong) == 4
    assert [there.shards for there in fill(plan(ordered(folder, subject)))] == [3]
    assert sums(folder) == sums(whole)
    assert before == {i: shard_path(folder, i).stat().st_mtime_ns for i in (0, 2)}, "only that one"


def test_a_missing_shard_is_said_to_be(whole, tmp_path) -> None:
    shutil.copytree(whole, tmp_path / "s")
    shard_path(tmp_path / "s", 1).unlink()
    with pytest.raises(ValueError, match="has no shard 1, and no process fills it"):
        list(islice(Store(tmp_path / "s").chunks(SITES)(0), 2))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dtype": "float8"}, "no dtype 'float8'; did you mean"),
        ({"tokens": -1}, "tokens must be at least 0"),
        ({"sites": ["resid_pots.0"]}, "resid_p(re|ost)"),
        ({"data": override(DATA, {"store": "there"})}, "not from another store"),
        ({"data": override(DATA, {"text": "some.txt"})}, "reads games of Othello, not text"),
        ({"data": override(DATA, {"seed": 6})}, r"data\.seed is 5 there, 6 here"),
        ({"sites": SITES[:1]}, r"sites\.mlp_act\.1 is 64 there, None here"),
        ({"dtype": "float16"}, "dtype is 'float32' there, 'float16' here"),
    ],
)
def test_an_order_that_cannot_be_is_refused(subject, whole, changes, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        ordered(whole, subject, **changes)


def test_what_does_not_matter_may_differ(subject, whole) -> None:
    ordered(whole, subject, data=override(DATA, {"passes": 3, "context": 64}))


def test_a_folder_of_something_else_or_of_another_process(subject, tmp_path) -> None:
    (tmp_path / "dear.txt").write_text("Dear")
    with pytest.raises(ValueError, match="exists and is not a store"):
        ordered(tmp_path, subject)
    planned = plan(ordered(tmp_path / "s", subject))
    with files.held(tmp_path / "s"), pytest.raises(ValueError, match="in use"):
        list(fill(planned))
    with pytest.raises(ValueError, match="would hold nothing"):
        list(fill(plan(ordered(tmp_path / "t", subject, 0))))
    with pytest.raises(FileNotFoundError, match="is no store of activations"):
        Store(tmp_path)


def test_what_the_disk_cannot_hold_is_refused(subject, tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "free")
    planned = plan(ordered(tmp_path / "s", subject))
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage(planned.missing - 1))
        small = plan(ordered(tmp_path / "s", subject))
    with pytest.raises(ValueError, match=r"would need 0\.0 GB, and its disk has 0\.0 GB free"):
        list(fill(small))
    assert not (tmp_path / "s").exists()


def test_a_disk_that_fills_up(subject, whole, tmp_path) -> None:
    """The limit of a file's size stands for it: the system refuses to write on, within a shard."""
    filling = fill(plan(ordered(tmp_path, subject)))
    next(filling)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"could not write .*shard-00001.*untouched"):
            next(filling)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "asked.json",
        "sample.safetensors",
        "shard-00000.safetensors",
        "store.json",
    ]
    filled(tmp_path, subject)
    assert sums(tmp_path) == sums(whole)


def test_a_model_that_has_changed_is_noticed(subject, tmp_path) -> None:
    shutil.copytree(subject, tmp_path / "model")
    next(fill(plan(ordered(tmp_path / "s", str(tmp_path / "model")))))
    model(tmp_path / "model", seed=1)
    with pytest.raises(ValueError, match="begun with another model"):
        list(fill(plan(ordered(tmp_path / "s", str(tmp_path / "model")))))


def test_activations_that_are_not_finite_are_refused(subject, tmp_path) -> None:
    saved = disk.saved(subject)
    saved.embed.weight[30] = float("nan")
    disk.save(saved, tmp_path / "broken")
    with pytest.raises(ValueError, match=r"NaN .* at (resid_post.0|mlp_act.1), .* tokens end in \[\d+"):
        plan(ordered(tmp_path / "s", str(tmp_path / "broken")))
    saved.embed.weight[30] = 1e6
    disk.save(saved, tmp_path / "large")
    with pytest.raises(ValueError, match=r"at resid_post.0 reach .*e\+05, and float16 ends at 65504: use bfloat16"):
        plan(ordered(tmp_path / "s", str(tmp_path / "large"), dtype="float16"))
    assert not (tmp_path / "s").exists()


def test_a_store_of_another_version_is_refused(whole, tmp_path) -> None:
    shutil.copytree(whole, tmp_path / "s")
    files.write_json(tmp_path / "s" / "store.json", Store(whole).about | {"version": 0})
    with pytest.raises(ValueError, match="not of a store of version 1"):
        Store(tmp_path / "s")
