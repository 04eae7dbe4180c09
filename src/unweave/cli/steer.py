"""unweave steer: change features, and see what the subject predicts then."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unweave.cli import live


def steer(
    folder: Annotated[Path, typer.Argument(help="a trained run")],
    feature: Annotated[list[int], typer.Option(help="which feature; several are changed together")],
    by: Annotated[list[str] | None, typer.Option(help="ablate, clamp, add or scale; one for all, or one each")] = None,
    value: Annotated[
        list[float] | None, typer.Option(help="to clamp, add or scale by; one for all, or one each")
    ] = None,
    game: Annotated[str | None, typer.Option(help='the moves of a game, as in "d3 c5 f6"')] = None,
    text: Annotated[str | None, typer.Option(help="for subjects that read text")] = None,
    at: Annotated[str, typer.Option(help='"all" positions, or the "last" only')] = "all",
    sweep: Annotated[str | None, typer.Option(help="values in turn for the last feature, as in 0,1,2,4")] = None,
    generate: Annotated[int, typer.Option(help="how many tokens a text is continued with")] = 20,
    json: Annotated[bool, typer.Option("--json", help="print everything as JSON, and nothing else")] = False,
) -> None:
    """Ablate, clamp, add or scale features in the subject, and see its next moves or continuation before and after.

    Example: `unweave steer runs/mine --feature 12 --by clamp --value 3 --game "d3 c5 f6"`

    What the dictionary does not rebuild of the activations stays as it is.
    """
    asked: dict[str, Any] = {"edits": _edits(feature, by or ["ablate"], value or [0.0]), "at": at}
    if (game is None) == (text is None):
        raise ValueError('give a game or a text, as in --game "d3 c5 f6"')
    asked |= {"game": game} if text is None else {"text": text, "generate": generate}
    if sweep:
        try:
            asked["sweep"] = [float(each) for each in sweep.split(",")]
        except ValueError:
            raise ValueError(f"cannot read --sweep {sweep}: write numbers, as in 0,1,2,4") from None

    from unweave.lab import Lab
    from unweave.runs import Run

    found = Lab(Run(folder)).steer(asked)
    if json:
        live.console.print_json(data=found)
        return
    _show(found)


def _edits(features: list[int], by: list[str], values: list[float]) -> list[dict[str, Any]]:
    for name, given in (("--by", by), ("--value", values)):
        if len(given) not in (1, len(features)):
            raise ValueError(f"{name} is given {len(given)} times for {len(features)} features: once for all, or each")
    by = by * len(features) if len(by) == 1 else by
    values = values * len(features) if len(values) == 1 else values
    return [{"feature": f, "by": b, "value": v} for f, b, v in zip(features, by, values, strict=True)]


def _show(found: dict[str, Any]) -> None:
    """The last position's predictions side by side, the continuations, and the sweep."""
    from rich.table import Table

    table = Table("before", "", "after", "", title=f"after {found['pieces'][-1]!r}: KL {found['kl'][-1]:.4f} nats")
    for left, right in zip(*(_likeliest(found[side]["next"][-1]) for side in ("before", "after")), strict=True):
        table.add_row(left[0], f"{left[1]:.3f}", right[0], f"{right[1]:.3f}")
    live.console.print(table)
    for side in ("before", "after"):
        if "text" in found[side]:
            live.console.print(f"{side}: {found[side]['text']!r}")
    for each in found.get("sweep", []):
        best = ", ".join(f"{name} {p:.3f}" for name, p in _likeliest(each["next"])[:3])
        live.console.print(f"{each['value']:g}: KL {each['kl']:.4f}, then {best}")


def _likeliest(predicted: list[Any]) -> list[tuple[str, float]]:
    """The ten likeliest of a position: of a game 64 probabilities by square, of a text some already."""
    if len(predicted) == 64 and not isinstance(predicted[0], list):
        squares = [(f"{'abcdefgh'[s % 8]}{s // 8 + 1}", p) for s, p in enumerate(predicted) if p is not None]
        return sorted(squares, key=lambda each: -each[1])[:10]
    return [(repr(piece), p) for _, piece, p in predicted[:10]]
