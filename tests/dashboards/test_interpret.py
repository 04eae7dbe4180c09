"""Labels by a language model, which here is a stub behind a real address that answers what the tests tell it to."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import tiny_runs
from plain_view import Plain
from typer.testing import CliRunner

from unweave import files
from unweave.cli import app
from unweave.dashboards import endpoint
from unweave.dashboards.build import build
from unweave.dashboards.endpoint import Endpoint
from unweave.dashboards.interpret import ASKED, interpret, questions, shown
from unweave.dashboards.reading import View
from unweave.runs import Run

ROWS = 12


@dataclass
class Stub:
    """A server of models. answer: from a prompt to an answer, or a status; prompts, keys: what it was sent."""

    answer: Callable[[str], str | int | bytes] = lambda prompt: "none"
    url: str = ""
    prompts: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setattr(endpoint, "_WAIT", 0)
    made = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert (self.path, asked["model"]) == ("/v1/chat/completions", "stub")
            prompt = asked["messages"][0]["content"]
            made.prompts.append(prompt)
            made.keys.append(self.headers["Authorization"])
            answer = made.answer(prompt)
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            said = answer if isinstance(answer, bytes) else json.dumps({"choices": [{"message": {"content": answer}}]})
            self.wfile.write(said if isinstance(said, bytes) else said.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=["games", "text"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        made = (tiny_runs.games_run if request.param == "games" else tiny_runs.text_run)(folder)
        build(made, n_rows=ROWS)
        yield made


@pytest.fixture
def view(run: Run) -> View:
    files.write_json(run.folder / "view" / "labels.json", {"labels": []})
    return View(run.folder)


def test_questions_are_about_places_that_were_not_shown(run: Run, view: View) -> None:
    plain = Plain(run, ROWS)
    code = dict(zip(plain.at, plain.codes, strict=True))
    asked_both = 0
    for feature in range(tiny_runs.F):
        seen = {(place.row, place.at) for place, _ in shown(view, feature)}
        asked = questions(view, feature)
        assert [place.active for place in asked] == [code[place.row, place.at][feature] > 0 for place in asked]
        assert not seen & {(place.row, place.at) for place in asked}
        assert asked == questions(view, feature)
        assert len({(place.row, place.at) for place in asked}) == len(asked)
        kinds = [sum(place.active == kind for place in asked) for kind in (True, False)]
        asked_both += kinds == [ASKED, ASKED]
        for place, value in shown(view, feature):
            assert value == pytest.approx(code[place.row, place.at][feature], rel=1e-3)
    assert asked_both > tiny_runs.F / 2


def test_places_are_shown_as_a_reader_sees_them(run: Run, view: View) -> None:
    plain = Plain(run, ROWS)
    for place in questions(view, int(view.column("active").argmax())):
        if view.kind == "games":
            said = re.fullmatch(r"(.*)<<(..)>> \(mine: (.*); theirs: (.*)\)", place.text)
            assert said
            assert len(said[1].split()) == place.at
            board = plain.boards[plain.at.index((place.row, place.at))]
            for side in (1, 2):
                squares = [f"{'abcdefgh'[s % 8]}{s // 8 + 1}" for s in range(64) if board[s] == side]
                assert said[2 + side].split() == squares
        else:
            marked = re.fullmatch(r"(.*)<<(.*)>>(.*)", place.text)
            assert marked
            assert marked[2] == view.pieces[plain.tokens[place.row][place.at]]


def test_a_model_that_is_always_right_and_one_that_is_not(view: View, stub: Stub) -> None:
    a, b = [f for f in range(tiny_runs.F) if len(questions(view, f)) == 2 * ASKED][:2]
    truth = {f: [place.active for place in questions(view, f)] for f in (a, b)}
    texts = {f: [place.text for place in questions(view, f)] for f in (a, b)}

    def right(prompt: str) -> str:
        if "What do they have in common" in prompt:
            return '"<script>alert(1)</script>\n is here"'
        feature = next(f for f in texts if f"1: {texts[f][0]}\n2: {texts[f][1]}\n" in prompt)
        return ", ".join(str(i) for i, active in enumerate(truth[feature], 1) if active) or "none"

    stub.answer = right
    found = interpret(view, [a, b], Endpoint(stub.url, "stub", key="secret"), "stub")
    assert [(each.feature, each.score) for each in found] == [(a, 1.0), (b, 1.0)]
    assert set(stub.keys) == {"Bearer secret"}
    entered = files.read_json(view.folder / "labels.json")["labels"]
    text = "<script>alert(1)</script> is here"
    assert entered[0] == {"feature": a, "text": text, "by": "stub", "score": 1.0, "metric": "detection"}
    assert view.labels() == {a: text, b: text}
    assert "secret" not in json.dumps(entered)
    stub.answer = lambda prompt: "a label" if "in common" in prompt else "1, 2 and 999"
    (named,) = interpret(view, [b], Endpoint(stub.url, "stub"), "stub", again=True)
    hits, n = sum(truth[b][:2]), sum(truth[b])
    assert named.score == pytest.approx((hits / n + 1 - (2 - hits) / (len(truth[b]) - n)) / 2)
    assert view.labels() == {a: text, b: "a label"}


def test_what_is_done_is_kept_and_not_asked_again(view: View, stub: Stub) -> None:
    ask = Endpoint(stub.url, "stub")
    stub.answer = lambda prompt: 401 if len(stub.prompts) > 4 else "some label"
    with pytest.raises(OSError, match="answered 401 Unauthorized"):
        interpret(view, [1, 2, 5], ask, "stub", parallel=1)
    assert sorted(view.labels()) == [1, 2]
    stub.answer = lambda prompt: "some label"
    assert [each.feature for each in interpret(view, [1, 2, 5, 5, tiny_runs.DEAD], ask, "stub")] == [5]
    assert interpret(view, [1, 2, 5], ask, "stub") == []
    view_again = build(Run(view.folder.parent), n_rows=ROWS, rebuild=True)
    assert sorted(view_again.labels()) == [1, 2, 5], "a view made anew keeps them"


def test_a_busy_server_is_asked_again(stub: Stub) -> None:
    stub.answer = lambda prompt: 503 if len(stub.prompts) < 3 else "here"
    assert Endpoint(stub.url, "stub")("hello") == "here"
    stub.answer = lambda prompt: 429
    with pytest.raises(OSError, match="answered 429"):
        Endpoint(stub.url, "stub")("hello")


def test_an_address_that_is_no_model_s(view: View, stub: Stub) -> None:
    with pytest.raises(ValueError, match="is not the address of a model"):
        Endpoint("file:///etc/passwd", "stub")("hello")
    with pytest.raises(OSError, match=r"nobody answers at http://127\.0\.0\.1:9/v1"):
        Endpoint("http://127.0.0.1:9/v1", "stub")("hello")
    for answer in (b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}'):
        stub.answer = lambda prompt, answer=answer: answer
        with pytest.raises(OSError, match=r"does not answer as the OpenAI interface|without a text"):
            Endpoint(stub.url, "stub")("hello")
    with pytest.raises(ValueError, match="cannot be called"):
        interpret(view, [1], Endpoint(stub.url, "stub"), "rule")
    stub.answer = lambda prompt: " \n"
    with pytest.raises(ValueError, match="gave feature 1 an empty label"):
        interpret(view, [1], Endpoint(stub.url, "stub"), "stub")


def test_from_the_command_line(view: View, stub: Stub) -> None:
    stub.answer = lambda prompt: "some label"
    command = ["label", str(view.folder.parent), "--url", stub.url, "--model", "stub"]
    done = CliRunner().invoke(app, [*command, "--n", "3"])
    assert done.exit_code == 0, done.output
    most = (-view.column("share")).argsort()[:3].tolist()
    assert sorted(view.labels()) == sorted(most)
    assert "some label    detection 0.50" in done.stdout
    assert "nothing to label" in CliRunner().invoke(app, [*command, "--feature", str(most[0])]).stdout
