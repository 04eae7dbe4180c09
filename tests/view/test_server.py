"""The server: what it hands out, and to whom; what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tiny_view import SCRIPT, write_view

from unweave import files
from unweave.dashboards import notes
from unweave.view import server
from unweave.view.export import export
from unweave.view.library import Library

WRITE = {"Content-Type": "application/json", "X-Unweave": "1"}


class Client:
    """Sends what it is told to, as it stands: no library mends a path on the way."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host="Host" in (headers or {}))
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        for name, value in {"Content-Length": str(len(sent)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders(sent)
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self("GET", path, None, headers)

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[2])


@contextmanager
def served(folder: Path, token: str = "", lab: server.Lab | None = None) -> Iterator[Client]:
    config = uvicorn.Config(server.app(Library(folder), lab, token), port=0, log_level="error", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            assert thread.is_alive()
        yield Client(running.servers[0].sockets[0].getsockname()[1])
    finally:
        running.should_exit = True
        thread.join()


def answer(run: Path, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
    """A lab that says what it was asked."""
    if "wrong" in asked:
        raise ValueError("that cannot be")
    return {"run": run.name, "verb": verb, "asked": asked}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "runs"
    for name in ("a", "b c", "deep/er"):
        write_view(folder / name)
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "a" / "view" / "secret.txt").write_text("secret")
    (folder / "link").symlink_to(folder.parent, target_is_directory=True)
    write_view(folder.parent / "outside")
    (folder / "b c" / "view" / "truth.safetensors").symlink_to(folder.parent / "secret.txt")
    (folder / "away").symlink_to(folder.parent / "outside", target_is_directory=True)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with served(folder, lab=answer) as client:
        yield client


def test_runs_are_listed_with_their_views(client: Client) -> None:
    found = client.json("/runs.json")
    assert (found["version"], found["live"], found["lab"]) == ("unweave.runs/1", True, True)
    assert [run["path"] for run in found["runs"]] == ["a", "b c", "deep/er"]
    run = found["runs"][0]
    assert run["config"]["method"] == SCRIPT
    assert run["curve"] == {"step": [50, 100], "loss": [2.5, 2], "fvu": [None, 0.1]}
    assert run["steps"] == 100
    assert run["view"] == {"kind": "text", "d_sae": 3, "current": True, "why": ""}
    assert run["error"] is None
    assert run["trained"]


def test_files_of_a_view_are_served_as_they_are(client: Client, folder: Path) -> None:
    for run, path in (("a", "a"), ("b%20c", "b c"), ("deep/er", "deep/er")):
        for name in ("manifest.json", "pages.bin", "pages.idx", "columns.safetensors", "tokens.json"):
            status, headers, body = client.get(f"/data/{run}/{name}")
            assert status == 200
            assert body == (folder / path / "view" / name).read_bytes()
            assert "content-encoding" not in headers
            assert headers["x-content-type-options"] == "nosniff"
    assert client.get("/data/a/notes.jsonl")[::2] == (200, b"")
    assert json.loads(client.get("/data/a/tokens.json")[2])["pieces"] == [SCRIPT]
    assert client.get("/data/a/tokens.json")[1]["content-type"].startswith("application/json")


def test_ranges(client: Client, folder: Path) -> None:
    whole = (folder / "a" / "view" / "pages.bin").read_bytes()
    status, headers, body = client.get("/data/a/pages.bin", Range="bytes=5-9")
    assert (status, body) == (206, whole[5:10])
    assert headers["content-range"] == f"bytes 5-9/{len(whole)}"
    assert headers["accept-ranges"] == "bytes"
    assert client.get("/data/a/pages.bin", Range=f"bytes=0-{len(whole) + 99}")[::2] == (206, whole)
    assert client.get("/data/a/pages.bin", Range="bytes=-4")[::2] == (206, whole[-4:])
    assert client.get("/data/a/pages.bin", Range=f"bytes={len(whole)}-")[0] == 416


@pytest.mark.parametrize(
    "path",
    [
        "/data/a/secret.txt",
        "/data/a/../config.json",
        "/data/a/%2e%2e/config.json",
        "/data/a/..%2fconfig.json",
        "/data/a/view/manifest.json",
        "/data/../secret.txt",
        "/data/..%2f..%2fsecret.txt/manifest.json",
        "/data/%2e%2e/outside/manifest.json",
        "/data//etc/passwd",
        "/data/a//manifest.json",
        "/data/./a/manifest.json",
        "/data/a/manifest.json%00",
        "/data/a%5c..%5ca/manifest.json",
        "/data/link/outside/manifest.json",
        "/data/away/manifest.json",
        "/data/b%20c/truth.safetensors",
        "/data/nothing/manifest.json",
        "/data/a/truth.safetensors",
        "/nothing",
    ],
)
def test_nothing_else_is_served(client: Client, path: str) -> None:
    status, _, body = client.get(path)
    assert status in (400, 404)
    assert b"secret" not in body.replace(path.encode(), b"").replace(b"secret.txt", b"")
    assert "error" in json.loads(body)


def test_other_hosts_are_refused(client: Client) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        assert client.get("/runs.json", Host=host)[0] == 403
    for host in ("localhost", f"localhost:{client.port}", "127.0.0.1", "[::1]:80"):
        assert client.get("/runs.json", Host=host)[0] == 200


def test_other_sites_cannot_write(client: Client, folder: Path) -> None:
    note = {"feature": 1, "kind": "note", "text": "a"}
    before = notes.read(folder / "a" / "view")
    for headers, status in (
        ({"Content-Type": "application/json"}, 403),
        ({"Content-Type": "text/plain", "X-Unweave": "1"}, 400),
        ({**WRITE, "Origin": "http://evil.example"}, 403),
        ({**WRITE, "Origin": "null"}, 403),
        ({**WRITE, "Host": "evil.example"}, 403),
    ):
        assert client("POST", "/api/notes/a", note, headers)[0] == status
    assert client("OPTIONS", "/api/notes/a", None, {"Origin": "http://evil.example"})[0] == 403
    assert notes.read(folder / "a" / "view") == before
    assert client("POST", "/api/notes/a", note, {**WRITE, "Origin": f"http://127.0.0.1:{client.port}"})[0] == 201


def test_notes_are_kept_as_they_were_written(client: Client, folder: Path) -> None:
    status, _, body = client("POST", "/api/notes/deep/er", {"feature": 2, "kind": "label", "text": SCRIPT}, WRITE)
    event = json.loads(body)
    assert status == 201
    assert (event["feature"], event["kind"], event["text"]) == (2, "label", SCRIPT)
    assert notes.read(folder / "deep" / "er" / "view") == [event]
    assert json.loads(client.get("/data/deep/er/notes.jsonl")[2]) == event


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"feature": 3, "kind": "note", "text": "a"}, 404, "no feature 3: this dictionary has 0 to 2"),
        ({"feature": "1", "kind": "note", "text": "a"}, 400, "which is a number"),
        ({"feature": True, "kind": "note", "text": "a"}, 400, "which is a number"),
        ({"feature": 1, "kind": "shout", "text": "a"}, 400, "cannot be of the kind 'shout'"),
        ({"feature": 1, "kind": "note", "text": ""}, 400, "needs a text"),
        ({"feature": 1, "kind": "note", "text": "a" * 4001}, 400, "at most 4,000 characters"),
        ({"feature": 1, "kind": "note", "text": 5}, 400, "which are strings"),
        ([1], 400, "no JSON object"),
        (b"{", 400, "is no JSON"),
        (b" " * (2 << 20), 413, "can be posted"),
    ],
)
def test_what_is_no_note_is_told_so(client: Client, body: Any, status: int, said: str) -> None:
    found, _, answer = client("POST", "/api/notes/a", body, WRITE)
    assert found == status
    assert said in json.loads(answer)["error"]


def test_the_lab_is_asked(client: Client) -> None:
    status, _, body = client("POST", "/api/lab/deep/er/steer", {"text": "a"}, WRITE)
    assert (status, json.loads(body)) == (200, {"run": "er", "verb": "steer", "asked": {"text": "a"}})
    status, _, body = client("POST", "/api/lab/a/run", {"wrong": 1}, WRITE)
    assert (status, json.loads(body)) == (400, {"error": "that cannot be"})
    assert client("POST", "/api/lab/a/destroy", {}, WRITE)[0] == 404
    assert client("POST", "/api/lab/nothing/run", {}, WRITE)[0] == 404
    assert client("POST", "/api/lab/a/run", {})[0] == 403
    assert client.get("/api/lab/a/run")[0] == 404  # no file of the page is called so


def test_elsewhere_a_token_is_needed(folder: Path) -> None:
    with served(folder, token="s3cret") as client:
        for path in ("/", "/runs.json", "/data/a/manifest.json", "/runs.json?token=wrong", "/runs.json?token="):
            assert client.get(path)[0] == 403
        assert client("POST", "/api/notes/a", {"feature": 0, "kind": "star"}, WRITE)[0] == 403
        status, headers, _ = client.get("/?token=s3cret", Host="workstation.example")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        known = cookie.split(";")[0]
        assert client.get("/runs.json", Cookie=known, Host="workstation.example")[0] == 200
        assert client("POST", "/api/notes/a", {"feature": 0, "kind": "star"}, {**WRITE, "Cookie": known})[0] == 201
        assert client("POST", "/api/notes/a", {"feature": 0, "kind": "star"}, {"Cookie": known})[0] == 403
        assert client.get("/runs.json", Cookie="unweave=wrong")[0] == 403


def test_two_servers_lose_no_note(folder: Path, tmp_path: Path) -> None:
    write_view(tmp_path / "runs" / "a")
    with served(tmp_path / "runs") as one, served(tmp_path / "runs") as two, ThreadPoolExecutor(8) as pool:

        def write(i: int) -> int:
            note = {"feature": i % 3, "kind": "note", "text": f"{i} " + "x" * 3000}
            return (one, two)[i % 2]("POST", "/api/notes/a", note, WRITE)[0]

        assert list(pool.map(write, range(40))) == [201] * 40
        with open(tmp_path / "runs" / "a" / "view" / "notes.jsonl", "ab") as file:
            file.write(b'{"id": "cut off by a cra')
        assert write(40) == 201
    found = notes.read(tmp_path / "runs" / "a" / "view")
    assert sorted(int(note["text"].split()[0]) for note in found) == list(range(41))


def test_a_damaged_run_hides_no_other(tmp_path: Path) -> None:
    for name in ("config", "good", "old", "scores", "short", "steps"):
        write_view(tmp_path / name)
    (tmp_path / "config" / "config.json").write_text("{")
    files.write_json(tmp_path / "old" / "view" / "manifest.json", {"version": "unweave.view/0"})
    files.write_json(tmp_path / "scores" / "evaluation.json", [1, 2])
    (tmp_path / "short" / "view" / "pages.bin").write_bytes(b"")
    (tmp_path / "steps" / "metrics.jsonl").write_bytes(b"\xff\xfe")
    found = {run["path"]: run for run in Library(tmp_path).listing(live=True, lab=False)["runs"]}
    said = {name: run["error"] for name, run in found.items()}
    assert said.pop("good") is None
    assert "damaged or half-written" in said["config"]
    assert "of the format 'unweave.view/0'" in said["old"]
    assert "not what it should be" in said["scores"]
    assert "has 0 bytes" in said["short"]
    assert all(error and "\n" not in error for error in said.values())
    assert found["scores"]["config"] is not None
    assert found["scores"]["view"] is not None
    assert found["old"]["view"] is None


def test_what_changes_is_read_again(tmp_path: Path) -> None:
    write_view(tmp_path / "a")
    library = Library(tmp_path)

    def view() -> dict[str, Any]:
        return library.listing(live=True, lab=True)["runs"][0]["view"]

    assert view()["current"]
    files.write_text(tmp_path / "a" / "sae.safetensors", "other weights")
    assert view()["why"] == "the dictionary is not the one that the view was made from"
    files.write_text(tmp_path / "a" / "sae.safetensors", "weights")
    assert view()["current"]


def test_one_run_is_served_under_its_name(tmp_path: Path) -> None:
    write_view(tmp_path / "one")
    write_view(tmp_path / "one" / "control")
    write_view(tmp_path / "two")
    library = Library(tmp_path / "one")
    assert library.paths() == ["one", "one/control"]
    assert library.file("one/control", "manifest.json").is_file()
    for path in ("two", "../two", "one/../../two", ""):
        with pytest.raises(FileNotFoundError):
            library.run(path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Library(tmp_path / "nothing")


def test_a_static_export_is_served_by_any_server(folder: Path, tmp_path: Path) -> None:
    out = export(Library(folder), tmp_path / "out")
    listing = files.read_json(out / "runs.json")
    assert (listing["live"], listing["lab"]) == (False, False)
    assert (out / "data" / "b c" / "pages.bin").read_bytes() == (folder / "b c" / "view" / "pages.bin").read_bytes()
    assert not (out / "data" / "b c" / "truth.safetensors").exists()
    assert not list(out.rglob("secret*"))
    export(Library(folder), out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there and is no export"):
        export(Library(folder), tmp_path / "full")
    if server.static().is_dir():
        assert (out / "index.html").is_file()


def test_the_server_is_there_without_torch() -> None:
    program = (
        "import sys, unweave.view.server, unweave.view.library, unweave.view.export, unweave.cli.view; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'numba', 'scipy', 'transformers'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
