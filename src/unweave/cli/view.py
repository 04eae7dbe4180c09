"""unweave view: look at the features."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from unweave.cli import live

if TYPE_CHECKING:
    from unweave.view.library import Library


def view(
    folder: Annotated[Path, typer.Argument(help="a trained run, or a folder of runs")] = Path("runs"),
    port: Annotated[int, typer.Option(help="where the page answers; 0 for any that is free")] = 8765,
    host: Annotated[str, typer.Option(help="elsewhere than on this machine, the address has a token")] = "127.0.0.1",
    rows: Annotated[int, typer.Option(help="held-out games or rows of text to make a view from; 0 for as usual")] = 0,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="make the run's view anew")] = False,
    column: Annotated[
        Path | None,
        typer.Option(help="a CSV file of numbers to add to the run's table: a row a feature, named in `feature`"),
    ] = None,
    export: Annotated[Path | None, typer.Option(help="write a static copy into this folder, and serve nothing")] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="open the page in a browser")] = True,
    method_file: Annotated[
        Path | None, typer.Option(help="where a method of your own is, if the run was trained with one")
    ] = None,
) -> None:
    """Open a page on the features: what each fires on, writes, and does.

    Example: `unweave view runs/mine`

    A run that has no view yet, or an old one, gets one first, which takes a minute or so. Ctrl-C ends the server.
    """
    from unweave.view.library import Library

    library = Library(folder)
    one = (folder / "config.json").is_file()
    if one:
        _build(folder, rows, rebuild, method_file)
    elif rebuild or rows or column:
        raise ValueError(f"{folder} is a folder of runs: name one of them to change its view")
    if column:
        from unweave.dashboards.columns import add_file

        live.console.print(f"added: {', '.join(add_file(folder, column))}")
    if export is not None:
        from unweave.view.export import export as write

        live.console.print(f"{write(library, export)}: any host of plain files serves it")
        return
    for path in _without_view(library):
        live.console.print(f"{path} has no view yet: unweave view {library.run(path)}")
    _serve(library, host, port, method_file, f"#/d/{quote(library.paths()[0])}" if one else "", browser)


def _build(folder: Path, rows: int, rebuild: bool, method_file: Path | None) -> None:
    """The run's view, unless it is there and nobody asked for another."""
    from unweave.dashboards.reading import View

    try:
        current = not View(folder).stale()
    except (FileNotFoundError, ValueError):
        current = False
    if current and not rebuild and not rows:
        return
    from unweave.dashboards.build import build
    from unweave.runs import Run

    if method_file:
        from unweave.dictionary.own import load

        load(method_file)
    with live.steps(f"the view of {folder}") as show:
        build(Run(folder), n_rows=rows, rebuild=rebuild, on_progress=show)


def _without_view(library: Library) -> list[str]:
    runs = library.listing(live=True, lab=True)["runs"]
    return [run["path"] for run in runs if run["trained"] and run["view"] is None and run["error"] is None]


def _serve(library: Library, host: str, port: int, method_file: Path | None, page: str, browser: bool) -> None:
    """page: what the address ends in."""
    import uvicorn

    from unweave.view import server

    token = "" if host in server.LOOPBACK else secrets.token_urlsafe(16)
    made = server.app(library, _lab(method_file), token)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
            bound.listen()
        except OSError as error:
            raise OSError(f"cannot answer at {host}, port {port} ({error.strerror}): choose another --port") from None
        named = f"[{host}]" if ":" in host else host
        url = f"http://{named}:{bound.getsockname()[1]}/{f'?token={token}' if token else ''}{page}"
        live.console.print(f"{url}    Ctrl-C ends it", soft_wrap=True)
        if browser and _has_display():
            threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(made, log_level="warning")).run(sockets=[bound])


def _has_display() -> bool:
    """Whether a browser would have a window: in a terminal alone it would take the terminal's place."""
    return sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def _lab(method_file: Path | None) -> Any:
    """The lab, which loads torch when it is first asked."""
    labs: list[Any] = []

    def ask(run: Path, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        if not labs:
            from unweave.lab import Labs

            if method_file:
                from unweave.dictionary.own import load

                load(method_file)
            labs.append(Labs())
        return labs[0](run, verb, asked)

    return ask
