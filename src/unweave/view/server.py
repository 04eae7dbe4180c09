"""The page's server: static files, the views of the runs under a folder, notes, and the lab.

Safe by what it leaves out: only known files of views are served, names are never joined to a path unchecked, other
sites can neither read (the Host header is checked, or a token) nor write (writes need a header they cannot send).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from unweave.dashboards import notes
from unweave.dashboards.reading import View
from unweave.view.library import Library

Lab = Callable[[Path, str, dict[str, Any]], dict[str, Any]]
"""From a run's folder, "activations", "run" or "steer", and what was asked, to the answer."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_COOKIE = "unweave"
_LARGEST = 1 << 20  # bytes of what may be posted

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def app(library: Library, lab: Lab | None = None, token: str = "") -> Starlette:
    """The server of a library. token: what the page's address must say, once; "" on loopback, where the Host header
    must name that."""
    worker = ThreadPoolExecutor(1)  # one: a model's memory is needed once
    routes = [
        Route("/runs.json", partial(_runs, library, lab is not None)),
        Route("/data/{run:path}/{file}", partial(_data, library)),
        Route("/api/notes/{run:path}", partial(_note, library), methods=["POST"]),
        Route("/api/lab/{run:path}/{verb}", partial(_lab, library, lab, worker), methods=["POST"]),
        *_page(),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Guard, token=token)],
        exception_handlers={Refused: _refused, 404: _refused, 405: _refused},
    )


class Refused(Exception):
    """Said to the browser in one sentence, with a status."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status_code, self.detail = status, said


def static() -> Path:
    """Where the built page is."""
    return Path(str(resources.files("unweave.view"))) / "static"


def _page() -> list[Mount | Route]:
    if (static() / "index.html").is_file():
        return [Mount("/", StaticFiles(directory=static(), html=True))]
    said = "The page has not been built: `make web` does it. The data are there: runs.json."
    return [Route("/", lambda request: PlainTextResponse(said))]


class _Guard:
    """Lets in who may come in, and marks every answer so that a browser takes it for nothing else."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        answer = self._stopped(request)

        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                made = {name.lower().encode(): value.encode() for name, value in _HEADERS.items()}
                kept = [(name, value) for name, value in message["headers"] if name.lower() not in made]
                message["headers"] = [*kept, *made.items()]
            await send(message)

        await (answer or self.app)(scope, receive, marked)

    def _stopped(self, request: Request) -> Response | None:
        """The answer to whoever may not come in, None to all others."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        if self.token:
            if hmac.compare_digest(request.query_params.get("token", "").encode(), self.token.encode()):
                answer = RedirectResponse(request.url.path, 303)  # the address no longer says it
                answer.set_cookie(_COOKIE, self.token, httponly=True, samesite="strict")
                return answer
            if not hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), self.token.encode()):
                return _error(403, "open the address that the server printed, with its token")
        elif host not in LOOPBACK:
            return _error(403, f"this server answers on this machine only, not as {host}")
        if request.method in ("GET", "HEAD"):
            return None
        if request.headers.get("x-unweave") is None:
            return _error(403, "a write needs the header X-Unweave: 1")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return _error(403, f"a page of {origin} may not write here")
        return None


async def _runs(library: Library, lab: bool, request: Request) -> Response:
    return JSONResponse(await _in_thread(partial(library.listing, live=True, lab=lab)))


async def _data(library: Library, request: Request) -> Response:
    run, name = request.path_params["run"], request.path_params["file"]
    if name == "notes.jsonl":
        folder = _found(library.run, run) / "view"
        if folder.is_dir() and not (folder / name).exists():
            return Response(b"", media_type="application/x-ndjson")
    path = _found(library.file, run, name)
    return FileResponse(path, media_type="application/json" if name.endswith(".json") else "application/octet-stream")


async def _note(library: Library, request: Request) -> Response:
    folder = _found(library.run, request.path_params["run"])
    asked = await _asked(request)
    given = {name: asked.get(name, "") for name in ("kind", "text", "author")}
    feature = asked.get("feature")
    if any(not isinstance(value, str) for value in given.values()) or type(feature) is not int:
        raise Refused(400, "a note has a feature, which is a number, and kind, text and author, which are strings")

    def append() -> dict[str, Any]:
        view = View(folder)
        if not 0 <= feature < view.d_sae:
            raise Refused(404, f"there is no feature {feature}: this dictionary has 0 to {view.d_sae - 1}")
        return notes.append(view.folder, feature, **given)

    return JSONResponse(await _in_thread(append), 201)


async def _lab(library: Library, lab: Lab | None, worker: Executor, request: Request) -> Response:
    folder, verb = _found(library.run, request.path_params["run"]), request.path_params["verb"]
    if lab is None or verb not in ("activations", "run", "steer"):
        raise Refused(404, f"there is no lab here that can {verb}")
    asked = await _asked(request)
    return JSONResponse(await _in_thread(partial(lab, folder, verb, asked), worker))


async def _asked(request: Request) -> dict[str, Any]:
    """What was posted. Raises Refused for what is no JSON object, or too large."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(400, "what is posted here is JSON: Content-Type: application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            raise Refused(413, f"at most {_LARGEST:,} bytes can be posted")
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise Refused(400, f"what was posted is no JSON: {error}") from None
    if not isinstance(asked, dict):
        raise Refused(400, "what was posted is no JSON object")
    return asked


async def _in_thread(work: Callable[[], dict[str, Any]], worker: Executor | None = None) -> dict[str, Any]:
    """Run what takes long beside the server. Raises Refused with what it raises."""
    try:
        if worker is None:
            return await run_in_threadpool(work)
        return await run_in_threadpool(lambda: worker.submit(work).result())
    except FileNotFoundError as error:
        raise Refused(409, str(error)) from None
    except ValueError as error:
        raise Refused(400, str(error)) from None
    except OSError as error:
        raise Refused(409, str(error)) from None


def _found(find: Callable[..., Path], *names: str) -> Path:
    try:
        return find(*names)
    except FileNotFoundError as error:
        raise Refused(404, str(error)) from None


async def _refused(request: Request, error: Any) -> Response:
    return _error(error.status_code, error.detail)


def _error(status: int, said: str) -> JSONResponse:
    return JSONResponse({"error": said}, status)
