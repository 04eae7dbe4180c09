"""The lab's answers against what dictionary and subject say themselves; what cannot be read is said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
import torch
from torch import Tensor
from typer.testing import CliRunner

from unweave.cli import app
from unweave.dictionary.codes import dense
from unweave.intervention import Change
from unweave.lab import Lab, Labs
from unweave.othello import tokens
from unweave.rows import Rows
from unweave.runs import Run

GAME, TEXT = "d3 c5 f6 f5", "the cat sat on a mat and saw one"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        yield {"games": tiny_runs.games_run(folder), "text": tiny_runs.text_run(folder)}


@pytest.fixture(scope="module")
def labs(runs: dict[str, Run]) -> dict[str, Lab]:
    return {kind: Lab(run) for kind, run in runs.items()}


def row_of_text(lab: Lab) -> Rows:
    """The tiny tokenizer has a separator, and a text begins with it."""
    of = lab.subject.tokenizer
    ids = torch.tensor([[of.eos if of.bos is None else of.bos, *of.encode([TEXT])[0]]])
    there = torch.ones_like(ids, dtype=torch.bool)
    learn = there.clone()
    learn[:, 0] = False
    return Rows(ids, there, learn)


def row_of_a_game() -> Rows:
    ids = tokens.encode(torch.tensor([[19, 34, 45, 37]], dtype=torch.int8))
    there = torch.ones_like(ids, dtype=torch.bool)
    return Rows(ids, there, there)


def close(found: Any, expected: Tensor) -> None:
    torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-3, atol=1e-5)


def test_activations_of_a_game(labs: dict[str, Lab]) -> None:
    lab, rows = labs["games"], row_of_a_game()
    found = lab.activations({"game": GAME, "features": [7, 3], "top": 2})
    assert (found["kind"], found["tokens"], found["pieces"]) == ("games", [19, 34, 45, 37], GAME.split())
    x = lab.subject.read(rows.tokens, ["resid_post.0"])["resid_post.0"][0]
    codes, pre = dense(lab.dictionary.encode(x)), lab.dictionary.pre(x)
    assert found["l0"] == (codes > 0).sum(1).tolist()
    assert [each["id"] for each in found["features"]] == [7, 3]
    for each in found["features"]:
        close(each["values"], codes[:, each["id"]])
        close(each["pre"], pre[:, each["id"]])
    for named, code in zip(found["top"], codes, strict=True):
        assert [id for id, _ in named] == code.argsort(descending=True)[:2].tolist()
    assert lab.activations({"moves": [19, 34, 45, 37], "features": [7, 3], "top": 2}) == found
    assert lab.activations({"game": GAME.replace(" ", ""), "features": [7, 3], "top": 2}) == found


def test_activations_of_a_text(labs: dict[str, Lab]) -> None:
    lab, rows = labs["text"], row_of_text(labs["text"])
    found = lab.activations({"text": TEXT, "features": [5]})
    assert found["tokens"] == rows.tokens[0].tolist()
    assert found["measured"] == rows.learn[0].tolist()
    assert "".join(found["pieces"][1:]).strip() == TEXT
    x = lab.subject.read(rows.tokens, ["resid_mid.1"])["resid_mid.1"][0]
    codes = dense(lab.dictionary.encode(x))
    close(found["features"][0]["values"][1:], codes[1:, 5])
    assert found["features"][0]["values"][0] == 0, "the first position is not measured"
    assert found["features"][0]["pre"][0] is None
    assert found["top"][0] == []
    assert lab.activations({"tokens": rows.tokens[0].tolist(), "features": [5]}) == found


def test_predictions(labs: dict[str, Lab]) -> None:
    found = labs["games"].run({"game": GAME})
    expected = labs["games"].subject.run(row_of_a_game().tokens)[0].softmax(-1)
    assert [i for i, p in enumerate(found["next"][0]) if p is None] == [27, 28, 35, 36]
    for square, token in ((0, 1), (19, tokens.encode(torch.tensor([[19]], dtype=torch.int8)).item()), (63, 60)):
        close([position[square] for position in found["next"]], expected[:, token])
    assert found["legal"][0] == [18, 20, 34], "after d3 white may play c3, e3, c5"
    found = labs["text"].run({"text": TEXT, "top": 3})
    probabilities, ids = labs["text"].subject.run(row_of_text(labs["text"]).tokens)[0].softmax(-1).topk(3)
    assert [[id for id, _, _ in at] for at in found["next"]] == ids.tolist()
    close([[p for _, _, p in at] for at in found["next"]], probabilities)
    assert found["next"][0][0][1] == labs["text"].subject.tokenizer.piece(ids[0, 0].item())


@pytest.mark.parametrize("kind", ["games", "text"])
def test_steering_is_the_intervention(labs: dict[str, Lab], kind: str) -> None:
    lab = labs[kind]
    rows = row_of_a_game() if kind == "games" else row_of_text(lab)
    given = {"game": GAME} if kind == "games" else {"text": TEXT, "generate": 3}
    edits = [{"feature": 7, "by": "ablate"}, {"feature": 5, "by": "clamp", "value": 4}]
    found = lab.steer({**given, "edits": edits, "sweep": [0, 2.5]})
    changes = [Change(7, "ablate"), Change(5, "clamp", 4.0)]
    expected = lab.intervention.run(rows, changes)
    close(found["kl"], expected.kl[0])
    assert max(found["kl"]) > 0.01
    assert found["before"]["next"] == lab.run(given)["next"]
    for side, log_probs in (("before", expected.before), ("after", expected.after)):
        *losses, last = found[side]["loss"]
        assert last is None, "nothing comes after the last position"
        close(losses, torch.stack([-log_probs[0, at, token] for at, token in enumerate(rows.tokens[0, 1:])]))
    assert found["before"]["loss"] != found["after"]["loss"]
    assert [each["feature"] for each in found["edited"]] == [7, 5]
    close(found["edited"][1]["before"], expected.codes_before[0, :, 1])
    close(found["edited"][1]["after"], expected.codes_after[0, :, 1])
    for each, value in zip(found["sweep"], (0.0, 2.5), strict=True):
        swept = lab.intervention.run(rows, [changes[0], Change(5, "clamp", value)])
        assert each["kl"] == pytest.approx(swept.kl[0, -1].item(), rel=1e-3)
        assert each["next"] == lab._next(swept.after[0, -1:], 10)[0]
    if kind == "text":
        made = lab.intervention.generate(rows, changes, 3, stop=lab.subject.tokenizer.eos)
        assert found["after"]["text"] == lab.subject.tokenizer.decode(made)
    last = lab.steer({**given, "edits": edits, "at": "last"})
    assert max(last["kl"][:-1]) < 1e-5 < last["kl"][-1]
    assert lab.steer({**given, "edits": edits, "at": [len(found["tokens"]) - 1]}) == last


@pytest.mark.parametrize(
    ("kind", "verb", "asked", "said"),
    [
        ("games", "run", {}, "this subject reads games: give one"),
        ("games", "run", {"game": ""}, "a game needs a move at least"),
        ("games", "run", {"game": "d3 a1"}, "a1"),
        ("games", "run", {"game": "d3 z9"}, "z9"),
        ("games", "run", {"moves": [64]}, "there is no square 64"),
        ("games", "run", {"moves": ["d3"]}, "moves should be a list of numbers"),
        ("games", "activations", {"game": GAME, "features": [24]}, "there is no feature 24"),
        ("games", "activations", {"game": GAME, "top": 1000}, "top is a number from 0 to 100"),
        ("games", "steer", {"game": GAME}, "edits should be a list of edits"),
        ("games", "steer", {"game": GAME, "edits": [{"feature": 1}]}, "an edit has a feature, by and a value"),
        ("games", "steer", {"game": GAME, "edits": [{"feature": 1, "by": "drop"}]}, "cannot be changed by 'drop'"),
        ("games", "steer", {"game": GAME, "edits": [], "at": [9]}, "there is no position 9"),
        ("games", "steer", {"game": GAME, "edits": [], "sweep": [1]}, "a sweep needs a change with a value"),
        ("text", "run", {"game": GAME}, "this subject reads text"),
        ("text", "run", {"text": "cat " * 100}, "the subject takes 1 to 24"),
        ("text", "run", {"tokens": []}, "this text has 0 tokens"),
        ("text", "run", {"tokens": [1, 10**6]}, "there is no token 1000000"),
        ("text", "run", {"tokens": [1.5]}, "tokens should be a list of numbers"),
        ("text", "steer", {"text": TEXT, "edits": [], "generate": 1000}, "generate is a number from 0 to 200"),
        ("text", "steer", {"text": TEXT, "edits": [], "generate": 1, "seed": "a"}, "temperature and seed are numbers"),
    ],
)
def test_what_cannot_be(labs: dict[str, Lab], kind: str, verb: str, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        getattr(labs[kind], verb)(asked)
    assert "\n" not in str(caught.value)


def test_a_lab_is_kept_until_its_run_changes(runs: dict[str, Run]) -> None:
    labs, folder = Labs(), runs["games"].folder
    first = labs(folder, "run", {"game": GAME})
    held = labs._last
    assert labs(folder, "run", {"game": GAME}) == first
    assert labs._last is held
    (folder / "sae.safetensors").touch()
    labs(folder, "run", {"game": GAME})
    assert labs._last is not held


def steered(run: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["steer", str(run), *arguments])


def test_from_the_command_line(runs: dict[str, Run], labs: dict[str, Lab]) -> None:
    edits = ("--feature", "7", "--feature", "5", "--by", "ablate", "--by", "clamp", "--value", "0", "--value", "4")
    done = steered(runs["games"].folder, *edits, "--game", GAME, "--sweep", "0,2", "--json")
    asked = [{"feature": 7, "by": "ablate", "value": 0.0}, {"feature": 5, "by": "clamp", "value": 4.0}]
    assert json.loads(done.stdout) == labs["games"].steer({"game": GAME, "edits": asked, "sweep": [0.0, 2.0]})
    shown = steered(runs["text"].folder, "--feature", "5", "--by", "add", "--value", "3", "--text", TEXT).stdout
    assert "before:" in shown
    assert "KL" in shown
    shown = steered(runs["games"].folder, "--feature", "5", "--game", GAME).stdout
    assert "after 'f5': KL" in shown
    for arguments, said in (
        (("--feature", "5"), "give a game or a text"),
        (("--feature", "5", "--game", GAME, "--by", "add", "--by", "clamp"), "--by is given 2 times for 1 features"),
        (("--feature", "5", "--game", GAME, "--sweep", "a"), "cannot read --sweep a"),
    ):
        assert said in str(steered(runs["games"].folder, *arguments).exception)
