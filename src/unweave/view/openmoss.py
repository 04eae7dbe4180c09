"""The study of report 003 as tables and curves, in the report's own columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from unweave.cards.markup import Markup, tag
from unweave.view.charts import chart, curves
from unweave.view.table import MISSING

Found = Mapping[str, Any]

KINDS = {"mlp_out": ("MLP", "M"), "attn_out": ("attention", "A")}
"""What a kind of site is called, and the letter of its rows, L0M to L11A."""

REPORT = {
    "mlp_out": "The report, GPT-2 small: 25.1% of the features of MLP outputs pruned on average.",
    "attn_out": "The report, GPT-2 small: 67.9% of the features of attention outputs pruned on average.",
    "tuned": "The report, GPT-2 small: fine-tuning takes the mean L2 ratio from 77.5% to 89.9%, and adds 3.2% to the "
    "variance explained and 5.1% to the CE score.",
}


def _percent(value: float | int | None) -> str:
    return MISSING if value is None else f"{value:.2%}"


def _nats(value: float | int | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def _count(value: float | int | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def _gain(before: float | int | None, now: float | int | None) -> str:
    return MISSING if before is None or now is None else f"{now - before:+.2%}"


def tables(found: Found) -> list[tuple[str, list[str], list[list[str]]]]:
    """Titles, heads and rows: for MLP and attention outputs what they reconstruct, what was pruned, what fine-tuning
    brought."""
    made = []
    for kind, (name, letter) in KINDS.items():
        rows = [row for row in found["rows"] if row["site"].startswith(kind)]
        named = {row["site"]: f"L{row['site'].partition('.')[2]}{letter}" for row in rows}
        made.append(_reconstruction(name, rows, named))
        made.append(_pruning(name, rows, named, found["rules"]))
        made.append(_finetuning(name, rows, named))
    return made


def _reconstruction(
    name: str, rows: Sequence[Found], named: Mapping[str, str]
) -> tuple[str, list[str], list[list[str]]]:
    lines = []
    for row in rows:
        last = row["finetuned"]
        cells = [
            _percent(last["explained"]),
            f"{last['l0']:.2f}",
            _percent(last["ce_score"]),
            _nats(last["ce_spliced"]),
        ]
        lines.append([named[row["site"]], *cells])
    lines.append(["Original", "", "", "", _nats(rows[0]["ce"])])
    head = ["layer", "variance explained", "L0", "CE score", "CE loss"]
    return f"Dictionaries of {name} outputs, pruned and fine-tuned", head, lines


def _pruning(
    name: str, rows: Sequence[Found], named: Mapping[str, str], rules: Found
) -> tuple[str, list[str], list[list[str]]]:
    keys = ("max_activation", "decoder_norm", "frequency", "any")
    lines = []
    for row in rows:
        removed = row["removed"]
        share = _percent(removed["any"] / row["features"])
        lines.append([named[row["site"]], *(_count(removed[key]) for key in keys), share])
    bounds = [f"max act < {rules['max_activation']:g}", f"norm < {rules['decoder_norm']:g}"]
    head = ["layer", *bounds, f"frequency < {rules['frequency']:g}", "total pruned", "share"]
    return f"Features of {name} outputs that were pruned", head, lines


def _finetuning(name: str, rows: Sequence[Found], named: Mapping[str, str]) -> tuple[str, list[str], list[list[str]]]:
    lines = []
    for row in rows:
        before, now = row["pruned"], row["finetuned"]
        cells = [named[row["site"]], _percent(before["l2_ratio"]), _percent(now["l2_ratio"])]
        cells += [_gain(before[key], now[key]) for key in ("l2_ratio", "explained", "ce_score")]
        lines.append([*cells, f"{before['shrinkage']:.3f}", f"{now['shrinkage']:.3f}"])
    head = ["layer", "L2 ratio", "fine-tuned", "gain", "variance explained", "CE score", "gamma", "fine-tuned"]
    return f"What fine-tuning brought {name} outputs", head, lines


def console_tables(found: Found) -> list[Table]:
    """All tables for a terminal."""
    made = []
    for title, head, lines in tables(found):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
        for name in head:
            table.add_column(name, justify="left" if name == "layer" else "right")
        for cells in lines:
            table.add_row(*cells)
        made.append(table)
    return made


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """One table as Markdown."""
    top = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*top, *(f"| {' | '.join(cells)} |" for cells in lines)])


_STYLE = """
svg { font: 11px system-ui, sans-serif; background: #fffefb; } text { fill: #5d6269; } .title { fill: #1b1d20; }
.rule { stroke: #dfdcd3; } .axis { stroke: #8c8f94; } path { fill: none; }
.curve { stroke: #0a5c9e; stroke-width: 1.6; } .other { stroke: #b9bcc0; } .end { fill: #0a5c9e; }
"""
QUANTITIES = {"loss": "loss", "fvu": "unexplained variance", "l0": "L0", "dead": "dead features"}


def picture(found: Found) -> str:
    """The two experiments as a standalone SVG: a column for each dictionary, in colour over the tokens that it has
    seen, with the others behind it."""
    names = list(found["curves"])
    parts: list[Markup] = []
    for down, (key, title) in enumerate(QUANTITIES.items()):
        lines = [[(p["tokens"], p[key]) for p in found["curves"][name]] for name in names]
        for across, name in enumerate(names):
            x, y, said = 280 * across, 170 * down, f"{title}, {name}"
            parts.append(tag("text", said, class_="title", x=x + 8, y=y + 14))
            panel = curves(lines, across, title=said)
            parts.append(Markup(panel.replace("<svg ", f'<svg x="{x}" y="{y + 20}" width="260" height="140" ', 1)))
    size = (280 * len(names), 170 * len(QUANTITIES))
    drawn = chart(*size, [tag("style", Markup(_STYLE)), *parts], f"Experiments at {found['middle']}")
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def experiments(found: Found) -> list[str]:
    """What each experiment ended at, in a sentence."""

    def end(name: str) -> str:
        last = found["curves"][name][-1]
        return (
            f"{1 - last['fvu']:.1%} of a batch's variance explained, L0 {last['l0']:.1f}, {last['dead']:.1%} of the "
            "features dead"
        )

    return [f"{name} at {found['middle']}: {end(name)}" for name in found["curves"]]


def planned(made: Found) -> list[str]:
    """What a plan says, in lines."""
    return [
        f"{made['sites']} sites of {made['subject']}, width {made['width']}; {made['dictionaries']} dictionaries of "
        f"{made['features']:,} features, two of them for the experiments",
        f"{made['tokens']:,} tokens of {made['text']}: {made['steps']:,} steps",
        f"{made['stored'] / 1e9:,.1f} GB of activations, if they were stored as float32",
        f"{made['operations']:.2e} floating-point operations, of which a step here makes "
        f"{made['per_second'] / 1e9:,.0f} billion a second",
        f"{made['hours']:,.1f} hours of training on this machine, each dictionary after the other's step",
    ]
