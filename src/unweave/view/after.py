"""What pruning or fine-tuning did to a dictionary, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from unweave.view.table import MISSING

SHOWN = (
    ("features", "features", "{:,.0f}"),
    ("L0", "l0/1", "{:.2f}"),
    ("never active", "dead/1", "{:.1%}"),
    ("FVU", "fvu/1", "{:.4f}"),
    ("L2 ratio", "l2_ratio/1", "{:.4f}"),
    ("shrinkage gamma", "shrinkage/1", "{:.4f}"),
    ("CE score", "ce_score/1", "{:.4f}"),
    ("CE", "ce_spliced/1", "{:.4f}"),
)
"""Title, score and how it is written."""

RULES = (("max_activation", "largest activation"), ("decoder_norm", "decoder norm"), ("frequency", "frequency"))


def console_table(found: Mapping[str, Any]) -> Table:
    """The scores before and after; found: what prune.json or finetune.json holds."""
    table = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("", "before", "after"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for title, key, form in SHOWN:
        values = (found["before"].get(key), found["after"].get(key))
        table.add_row(title, *(MISSING if value is None else form.format(value) for value in values))
    return table


def removed(found: Mapping[str, Any]) -> str:
    """How many features each rule removed, in a line; found: what prune.json holds."""
    each = [f"{title} below {found['rules'][key]:g}: {found['removed'][key]:,}" for key, title in RULES]
    of = found["before"]["features"]
    return f"{found['removed']['any']:,} of {of:,} features removed, on {found['tokens']:,} tokens ({'; '.join(each)})"
