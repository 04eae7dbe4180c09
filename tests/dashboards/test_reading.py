"""A view read from Python: columns, features, examples; what is damaged, old or not there is said in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import DEAD, F, evaluate, games_run, text_run

from unweave import files
from unweave.dashboards import notes
from unweave.dashboards.build import build
from unweave.dashboards.columns import add_column, add_file
from unweave.dashboards.neighbours import Directions
from unweave.dashboards.reading import View

ROWS = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of games and one of text, each with a view."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        runs = {"games": games_run(folder), "text": text_run(folder)}
        evaluate(runs["games"])
        for run in runs.values():
            build(run, n_rows=ROWS)
    return {kind: run.folder for kind, run in runs.items()}


@pytest.fixture
def view(folders: dict[str, Path], tmp_path: Path) -> View:
    """A copy of the games' view that a test may spoil."""
    return _copy(folders["games"], tmp_path)


def _copy(run: Path, to: Path) -> View:
    for path in run.rglob("*"):
        if path.is_file():
            target = to / "run" / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return View(to / "run")


def test_a_feature_of_games(folders: dict[str, Path]) -> None:
    view = View(folders["games"])
    view.check()
    best = int(view.column("active").argmax())
    feature = view.feature(best)
    top = feature.examples["top"][0]
    assert top.value == pytest.approx(feature.columns["max"], rel=1e-3)
    assert top.curve[top.at] == pytest.approx(top.value)
    assert len(top.text.split()) == top.at + 1
    assert all(len(move) == 2 for move in top.text.split())
    assert feature.examples["near"][0].pre is not None
    assert [len(feature.examples[name]) > 0 for name in ("share", "interval", "random")] == [True] * 3
    assert feature.columns["density"] == pytest.approx(feature.block["active"] / feature.block["positions"])
    assert feature.label == view.labels().get(best, "")
    dead = view.feature(DEAD)
    assert dead.examples["top"] == []
    assert dead.block["bins"] is None
    assert len(view) == F == len(view.map)


def test_a_feature_of_text(folders: dict[str, Path]) -> None:
    view = View(folders["text"])
    view.check()
    feature = view.feature(int(view.column("active").argmax()))
    top = feature.examples["top"][0]
    assert top.text == "".join(top.pieces[: top.at + 1])
    assert top.pieces[top.at] == view.pieces[top.tokens[top.at]]
    assert "truth" not in feature.block
    assert view.rows.shape == view.measured.shape == (ROWS, 12)
    held = json.loads((view.folder / "tokens.json").read_text())
    assert all(bytes(raw) and not _decodes(bytes(raw)) for raw in held["bytes"].values())
    assert len(held["bytes"]) >= 64  # of 256 bytes half are no character alone


def _decodes(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_a_person_is_believed_before_a_rule(view: View) -> None:
    named = min(view.labels())
    notes.append(view.folder, named, "label", "<script>alert(1)</script>")
    assert view.labels()[named] == view.feature(named).label == "<script>alert(1)</script>"
    notes.append(view.folder, named, "label", "")
    assert view.labels()[named].startswith(tuple("abcdefgh"))


def test_a_column_can_be_added_and_changed(view: View) -> None:
    values = np.arange(F)
    add_column(view.folder, "mine", values, title="Mine", help="What I counted.", scale="log")
    add_column(view.folder.parent, "other", torch.linspace(0, 1, F).numpy())
    again = View(view.folder)
    assert again.column("mine").tolist() == list(range(F))
    assert [entry["name"] for entry in again.manifest["columns"]][-2:] == ["mine", "other"]
    add_column(view.folder, "mine", values + 1)
    again = View(view.folder)
    assert again.column("mine").tolist() == list(range(1, F + 1))
    again.check()
    assert again.feature(3).columns["mine"] == 4
    for name, wrong, said in (
        ("density", values, "column density of its own"),
        ("mine", values[:3], rf"has {F} features: a column cannot have shape \[3\]"),
        ("mine", np.array(["a"] * F), "which are no numbers"),
    ):
        with pytest.raises(ValueError, match=said):
            add_column(view.folder, name, wrong)


def test_columns_come_from_a_file(view: View, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("feature,clarity,votes\n3,0.5,7\n0,,2\n")
    assert add_file(view.folder.parent, path) == ["clarity", "votes"]
    again = View(view.folder)
    assert [again.column(name)[3] for name in ("clarity", "votes")] == [0.5, 7]
    assert np.isnan(again.column("clarity")[[0, 1]]).all()
    assert again.column("votes")[0] == 2
    assert again.manifest["columns"][-1]["by"] == "mine.csv"
    for text, said in (
        ("clarity\n3\n", "needs a first line with the name feature"),
        ("feature\n3\n", "needs a first line with the name feature"),
        ("feature,a\n3,high\n", "line 2: this is not a number"),
        ("feature,a\n3\n", "line 2: this is not a number"),
        (f"feature,a\n{F},1\n", f"line 2: there is no feature {F}"),
        ("feature,max\n0,1\n", "column max of its own"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            add_file(view.folder, path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        add_file(view.folder, tmp_path / "nothing.csv")


def test_what_is_not_there(view: View, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no view yet: `unweave view"):
        View(tmp_path)
    with pytest.raises(ValueError, match=f"no feature {F}: this dictionary has features 0 to {F - 1}"):
        view.feature(F)
    with pytest.raises(ValueError, match="no column 'densty'"):
        view.column("densty")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda at: (at / "manifest.json").write_text("{"), "manifest.json is damaged or half-written"),
        (
            lambda at: files.write_json(at / "manifest.json", {"version": "unweave.view/0"}),
            "of the format 'unweave.view/0'",
        ),
        (lambda at: files.write_json(at / "manifest.json", [1]), "of the format None"),
        (lambda at: (at / "pages.bin").write_bytes(b"short"), "pages.bin has 5 bytes instead of"),
        (lambda at: (at / "rows.safetensors").unlink(), "rows.safetensors is missing: make it anew"),
        (lambda at: _flip(at / "pages.bin"), "pages.bin is damaged"),
        (lambda at: _flip(at / "columns.safetensors"), "columns.safetensors: .* is damaged: make it anew"),
        (lambda at: files.write_arrays(at / "columns.safetensors", {"a": np.zeros(3)}), "lacks the column density"),
    ],
)
def test_damage_is_said_in_one_sentence(view: View, spoil, said: str) -> None:
    spoil(view.folder)
    with pytest.raises(ValueError, match=said) as caught:
        View(view.folder).check()
    assert "\n" not in str(caught.value)


def test_a_damaged_block_does_not_hide_the_others(view: View) -> None:
    raw = bytearray((view.folder / "pages.bin").read_bytes())
    start, stop = np.fromfile(view.folder / "pages.idx", "<u8")[5:7]
    raw[int(start) : int(stop)] = bytes(int(stop - start))
    (view.folder / "pages.bin").write_bytes(raw)
    again = View(view.folder)
    with pytest.raises(ValueError, match=r"pages.bin is damaged at feature 5 .*: make it anew"):
        again.feature(5)
    again.feature(6)


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-20] ^= 255
    path.write_bytes(raw)


def test_the_map_is_that_of_principal_components(folders: dict[str, Path]) -> None:
    from sklearn.decomposition import PCA

    from unweave.runs import Run

    rows = Directions.of(Run(folders["games"]).dictionary()).decoder
    expected = PCA(2, svd_solver="full").fit(rows.double().numpy())
    found, other = View(folders["games"]).map, expected.transform(rows.double().numpy())
    for axis in range(2):
        sign = np.sign(expected.components_[axis][np.abs(expected.components_[axis]).argmax()])
        assert found[:, axis] == pytest.approx(sign * other[:, axis], abs=1e-5)
