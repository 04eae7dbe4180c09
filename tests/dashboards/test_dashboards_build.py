"""A view against one made position by position."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_view import Plain, clusters
from tiny_runs import DEAD, F, evaluate, games_run, text_run

from unweave import files
from unweave.activations.corpus import corpus
from unweave.dashboards import kinds
from unweave.dashboards.build import build
from unweave.dashboards.effects import effects
from unweave.dashboards.reading import View
from unweave.runs import Run

ROWS = 20

pytestmark = pytest.mark.usefixtures("small_parts")


@dataclass
class Made:
    """A view, and what it should hold."""

    run: Run
    view: View
    plain: Plain


@pytest.fixture(scope="module")
def of_games(small_parts: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    run = games_run(tmp_path_factory.mktemp("games"))
    return Made(run, build(run, n_rows=ROWS), Plain(run, ROWS))


@pytest.fixture(scope="module")
def of_text(small_parts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        run = text_run(folder)
        yield Made(run, build(run, n_rows=ROWS), Plain(run, ROWS))


@pytest.fixture(scope="module", params=["of_games", "of_text"])
def made(request: pytest.FixtureRequest) -> Made:
    return request.getfixturevalue(request.param)


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4)


def test_blocks_are_those_of_the_plain_builder(made: Made) -> None:
    view, plain = made.view, made.plain
    assert len(view.rows) == ROWS
    assert view.manifest["data"]["positions"] == len(plain.at)
    for feature in range(F):
        block, entries = view.block(feature), plain.entries(feature)
        values = sorted(value for _, value in entries)
        assert block["active"] == len(entries)
        assert close(block["max"], max(values, default=0))
        assert block["at"] == [sum(plain.at[n][1] == s for n, _ in entries) for s in range(view.rows.shape[1])]
        counted = block["bins"] or {"first": 0, "counts": []}
        assert Counter({counted["first"] + i: n for i, n in enumerate(counted["counts"]) if n}) == plain.bins(feature)
        if values:
            deciles = np.percentile(np.array(values), range(0, 101, 10)).tolist()
            assert all(close(a, b) for a, b in zip(block["quantiles"], deciles, strict=True))
        groups = [(g["name"], [example(block, i) for i in g["examples"]]) for g in block["groups"]]
        assert groups == plain.groups(feature), feature
        intervals = [g for g in block["groups"] if g["name"] == "interval"]
        assert sum(g["count"] for g in intervals) == len(entries)


def example(block: dict, index: int) -> tuple[int, int]:
    return block["examples"][index]["row"], block["examples"][index]["at"]


def test_examples_say_what_the_feature_does_there(made: Made) -> None:
    view, plain = made.view, made.plain
    place = {at: n for n, at in enumerate(plain.at)}
    for feature in range(F):
        for held in view.block(feature)["examples"]:
            n = place[held["row"], held["at"]]
            assert close(held["value"], plain.codes[n][feature])
            if "pre" in held:
                assert held["value"] == 0
                assert close(held["pre"], plain.pre[n][feature])
            inside = [(s, plain.codes[m][feature]) for m, (r, s) in enumerate(plain.at) if r == held["row"]]
            expected = [(s, value) for s, value in inside if value > 0]
            assert [s for s, _ in held["row_values"]] == [s for s, _ in expected]
            pairs = zip(held["row_values"], expected, strict=True)
            assert all(close(a[1], b[1]) for a, b in pairs)


def test_columns_are_those_of_the_plain_builder(made: Made) -> None:
    view, plain = made.view, made.plain
    column = view.columns()
    active = [plain.entries(feature) for feature in range(F)]
    n, norm = len(plain.at), plain.dictionary.W_dec.detach().norm(dim=1).tolist()
    l0 = [sum(code > 0 for code in codes) for codes in plain.codes]
    written = [norm[f] * sum(v for _, v in active[f]) for f in range(F)]
    for f, entries in enumerate(active):
        values, m = [v for _, v in entries], len(entries)
        expected = {
            "density": m / n,
            "active": m,
            "max": max(values, default=0),
            "mean": sum(values) / m if m else math.nan,
            "share": written[f] / sum(written),
            "crowd": sum(l0[i] for i, _ in entries) / m if m else math.nan,
            "position": sum(plain.at[i][1] for i, _ in entries) / m if m else math.nan,
            "decoder_norm": norm[f],
        }
        for name, value in expected.items():
            assert close(column[name][f], value) or (math.isnan(value) and math.isnan(column[name][f])), name
    assert view.manifest["summary"]["alive"] == sum(bool(entries) for entries in active) < F
    assert view.manifest["summary"]["l0"] == pytest.approx(sum(l0) / n)
    assert active[DEAD] == []


def test_boards_are_those_of_the_plain_builder(of_games: Made) -> None:
    view, plain = of_games.view, of_games.plain
    for feature in range(F):
        block, board = view.block(feature), plain.board(feature)
        for state in ("mine", "theirs", "empty"):
            assert all(close(a, b) for a, b in zip(block["board"][state], board[state], strict=True))
        for name, later in (("last", 0), ("next", 1)):
            assert block[name] == plain.moves(feature, later)
            found, expected = float(view.column(f"{name}_clusters")[feature]), clusters(block[name])
            assert found == expected or (math.isnan(found) and math.isnan(expected))


def test_mirrors_are_the_features_with_the_mirrored_board(of_games: Made) -> None:
    view = of_games.view
    blocks = [view.block(feature) for feature in range(F)]
    boards = np.array([[b["board"][state] for state in ("mine", "theirs", "empty")] for b in blocks])
    assert [s["legal"] for s in view.manifest["symmetries"]] == [True] * 3 + [False] * 4
    opening = {27: "w", 36: "w", 28: "b", 35: "b"}
    assert len({tuple(s["square"]) for s in view.manifest["symmetries"]}) == 7
    for index, symmetry in enumerate(view.manifest["symmetries"]):
        assert ({symmetry["square"][s]: disc for s, disc in opening.items()} == opening) == symmetry["legal"]
        for feature in range(F):
            if not blocks[feature]["active"]:
                assert blocks[feature]["mirrors"] == []
                continue
            moved = np.empty((3, 64))
            moved[:, symmetry["square"]] = boards[feature]
            cosine = [(moved * b).sum() / max(np.linalg.norm(moved) * np.linalg.norm(b), 1e-12) for b in boards]
            which, other, like = blocks[feature]["mirrors"][index]
            assert which == index
            assert like == pytest.approx(max(cosine), abs=2e-3)
            assert cosine[other] == pytest.approx(max(cosine), abs=2e-3)


def test_tokens_are_those_where_it_fires_most(of_text: Made) -> None:
    view, plain = of_text.view, of_text.plain
    total = Counter(plain.tokens[r][s] for r, s in plain.at)
    for feature in range(F):
        counts = Counter(plain.tokens[r][s] for n, _ in plain.entries(feature) for r, s in [plain.at[n]])
        expected = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:20]
        assert view.block(feature)["tokens"] == [[id, n, total[id]] for id, n in expected]
        assert view.column("top_token")[feature] == (expected[0][0] if expected else -1)
        r, s = plain.at[max(plain.entries(feature), key=lambda each: each[1])[0]] if expected else (0, 0)
        assert view.column("strongest_token")[feature] == (plain.tokens[r][s] if expected else -1)
        if expected:
            strongest = view.feature(feature).examples["top"][0]
            assert strongest.tokens[strongest.at] == view.column("strongest_token")[feature]


def test_kinds_of_tokens_are_counted(made: Made) -> None:
    view, plain = made.view, made.plain
    if view.kind == "games":
        assert view.manifest["kinds"] == []
        return
    kind = kinds.of(plain.subject.tokenizer, plain.subject.alphabet.size)
    assert view.manifest["kinds"] == list(kinds.KINDS)
    total = Counter(kind[plain.tokens[r][s]] for r, s in plain.at)
    for feature in range(F):
        own = Counter(kind[plain.tokens[r][s]] for n, _ in plain.entries(feature) for r, s in [plain.at[n]])
        assert view.block(feature)["kinds"] == [[own[i], total[i]] for i in range(len(kinds.KINDS))]


def test_effects_on_the_tokens_that_come_next(made: Made) -> None:
    view, plain = made.view, made.plain
    if view.kind == "games":
        assert "next" not in view.block(0)["examples"][0]
        return
    found = effects(
        plain.subject, "resid_mid.1", corpus(made.run.config.data, plain.subject).sample("test", ROWS, 1), slice(None)
    )
    assert found is not None
    effect = found.of(plain.dictionary.W_dec)
    assert view.manifest["effects"]["kind"] == "direct"
    for feature in range(F):
        block = view.block(feature)
        largest, ids = effect[feature].topk(10)
        assert [id for id, _ in block["logits"]["top"]] == ids.tolist()
        assert all(close(value, float(v)) for (_, value), v in zip(block["logits"]["top"], largest, strict=True))
        low, high = effect[feature].min(), effect[feature].max()
        histogram = block["logits"]["histogram"]
        assert close(histogram["low"], float(low))
        assert close(histogram["high"], float(high))
        part = ((effect[feature] - low) / (high - low) * 40).long().clamp(max=39)
        near = [sum(histogram["counts"][:i]) - int((part < i).sum()) for i in range(41)]
        assert max(map(abs, near)) <= 1, "but for a value on an edge"
        assert sum(histogram["counts"]) == effect.shape[1]
        for example in block["examples"]:
            ids, n = plain.tokens[example["row"]], plain.lengths[example["row"]]
            for (at, value), added in zip(example["row_values"], example["next"], strict=True):
                assert (added is None) == (at + 1 == n)
                assert added is None or math.isclose(added, value * effect[feature, ids[at + 1]], rel_tol=2e-3)


def test_neighbours_are_the_nearest_and_the_most_often_together(made: Made) -> None:
    view, plain = made.view, made.plain
    d = plain.dictionary
    on = [{n for n, _ in plain.entries(f)} for f in range(F)]
    for name, rows in (("decoder", d.W_dec.detach()), ("encoder", d.coder.W_enc.detach().T)):
        for f in range(F):
            cosine = torch.cosine_similarity(rows[f], rows, dim=1)
            cosine[f] = -2
            near = view.block(f)["neighbours"][name]
            assert [id for id, _ in near] == cosine.argsort(descending=True)[:8].tolist()
            assert all(close(value, float(cosine[id])) for id, value in near)
            if name == "decoder":
                cosine[f] = 2
                assert [id for id, _ in view.block(f)["neighbours"]["opposite"]] == cosine.argsort()[:8].tolist()
                assert close(float(view.column("nearest_cosine")[f]), near[0][1])
    for f in range(F):
        near = view.block(f)["neighbours"]
        like = {
            g: len(on[f] & on[g]) / math.sqrt(len(on[f]) * len(on[g])) for g in range(F) if g != f and on[f] & on[g]
        }
        assert [like[g] for g, _, _ in near["together"]] == pytest.approx(sorted(like.values(), reverse=True)[:8])
        for g, both, lift in near["together"] + near["apart"]:
            assert both == len(on[f] & on[g])
            assert close(lift, both * len(plain.at) / (len(on[f]) * len(on[g])))
        apart = [
            len(on[f] & on[g]) * len(plain.at) / (len(on[f]) * len(on[g]))
            for g in range(F)
            if g != f and len(on[f]) * len(on[g]) >= 20 * len(plain.at)
        ]
        expected = sorted(lift for lift in apart if lift < 1)[:8]
        assert [lift for _, _, lift in near["apart"]] == pytest.approx(expected, rel=1e-3)


def test_an_evaluation_names_features(games: Run) -> None:
    evaluate(games)
    view = build(games, n_rows=ROWS)
    held, _ = files.read_tensors(games.folder / "evaluation.safetensors")
    label, auroc = held["label_of"].tolist(), held["auroc"]
    names = view.labels()
    for f in range(F):
        score = float(auroc[f, label[f]]) if label[f] >= 0 else 0
        assert (f in names) == (score >= 0.7 and view.column("active")[f] > 0)
        if f in names:
            square = "abcdefgh"[label[f] % 8] + str(label[f] % 64 // 8 + 1)
            assert names[f] == f"{square} is {'mine' if label[f] < 64 else 'theirs'}"
            assert view.column("auroc")[f] == pytest.approx(score)
        truth = view.block(f)["truth"]
        assert truth["label"] == label[f]
        assert truth["auroc"][128 + 27] is None
        assert truth["auroc"][5] == pytest.approx(float(auroc[f, 5]), rel=1e-3)
    assert DEAD not in names
    scaled = files.read_arrays(view.folder / "truth.safetensors")["auroc"]
    assert scaled.shape == (252, F)
    assert (scaled[128 + 27] == 65535).all()
    assert scaled[5] / 65534 == pytest.approx(auroc[:, 5].numpy(), abs=1e-4)
    assert view.manifest["scores"]["rows"][0]["scores"] == {"l0/1": 6.0}


def test_bad_input(games: Run, tmp_path: Path) -> None:
    files.write_json(tmp_path / "other" / "config.json", files.read_json(games.folder / "config.json"))
    with pytest.raises(FileNotFoundError, match="no trained dictionary"):
        build(Run(tmp_path / "other"))
    evaluate(games)
    files.write_tensors(
        games.folder / "evaluation.safetensors",
        {"auroc": torch.zeros(3, 252), "auroc_within": torch.zeros(3, 252), "label_of": torch.zeros(3)},
    )
    with pytest.raises(ValueError, match="of another dictionary: evaluate"):
        build(games, n_rows=ROWS)
