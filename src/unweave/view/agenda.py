"""The study of report 003's agenda as tables and sentences: of every row the mean over seeds and how far these lie
apart, and of what is held against each other the difference seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from unweave.view.table import MINUS, MISSING

Found = Mapping[str, Any]

SHARE, NATS, PLAIN, SECONDS = "{:.1%}", "{:.4f}", "{:.3f}", "{:.0f}"
_COLUMNS = {
    "fvu/1": ("unexplained", SHARE),
    "l0/1": ("L0", "{:.1f}"),
    "dead/1": ("dead", SHARE),
    "ce/1": ("loss", PLAIN),
    "ce_score/1": ("CE score", SHARE),
    "kl/1": ("KL", NATS),
    "cosine/1": ("cosine", PLAIN),
    "l2_ratio/1": ("L2 ratio", SHARE),
    "shrinkage/1": ("gamma", PLAIN),
    "core_seconds": ("core seconds", SECONDS),
    "matched": ("matched", SHARE),
    "mean": ("mean likeness", PLAIN),
    "matched_other": ("matched, next seed", SHARE),
    "mean_other": ("mean likeness, next seed", PLAIN),
    "auroc": ("AUROC", PLAIN),
    "f1": ("F1", PLAIN),
    "information": ("bits", PLAIN),
    "of_one": ("of one expert", SHARE),
}
"""What a score is called in a table, and how it is written."""


@dataclass(frozen=True)
class Shown:
    """A table of an experiment. key: where its rows are in the experiment; columns: of their scores; says: what to know
    of it; against: pairs of rows by name, the second of which the first is held against, and by which score."""

    title: str
    experiment: str
    says: str
    columns: tuple[str, ...]
    key: str = "rows"
    against: tuple[tuple[str, str, str], ...] = ()


_KL = "squared error and KL"
_TRANSCODER = "dictionary of the output"
SHOWN = (
    Shown(
        "KL-guided training",
        "kl",
        "The KL divergence of the subject's predictions as another loss, in batches of whole rows, with weight D, "
        "which was not tuned. Whole rows alone change a training: the row between has them with squared error only.",
        ("fvu/1", "l0/1", "dead/1", "ce_score/1", "kl/1", "core_seconds"),
        against=tuple((_KL, "squared error, whole rows", key) for key in ("kl/1", "ce_score/1", "fvu/1")),
    ),
    Shown(
        "Gate and magnitude apart (GLU)",
        "glu",
        "ReLU and GLU with a penalty on the sum of the codes, twice as heavy for GLU, whose codes begin half as long. "
        "Gamma below 1: reconstructions are too short.",
        ("fvu/1", "l0/1", "dead/1", "ce_score/1", "l2_ratio/1", "shrinkage/1"),
    ),
    Shown(
        "The cosine as objective",
        "cosine",
        "A reconstruction's length is then free, and its input's is given to it (`normalise=\"direction\"`); beside it "
        "squared error, as it is and with the same lengths given. A penalty on the sum of the codes, as ReLU has it, "
        "can then be lowered by making all codes smaller, which the cosine does not see; TopK needs none.",
        ("fvu/1", "l0/1", "dead/1", "ce_score/1", "cosine/1", "l2_ratio/1"),
        against=tuple(
            (f"{method}, cosine", f"{method}, squared error, lengths given", key)
            for method in ("TopK", "ReLU")
            for key in ("ce_score/1", "cosine/1")
        ),
    ),
    Shown(
        "MLP outputs from MLP inputs (transcoder)",
        "transcoder",
        "What is rebuilt is the MLP's output in every row: from itself, from the MLP's input, or by the best linear "
        "map of that input, whose L0 is all its dimensions.",
        ("fvu/1", "l0/1", "dead/1", "ce_score/1", "kl/1"),
        against=tuple(
            (name, other, key)
            for name, other in (("transcoder", _TRANSCODER), ("transcoder with a skip", "transcoder"))
            for key in ("fvu/1", "ce_score/1")
        ),
    ),
    Shown(
        "A Mamba",
        "mamba",
        "Dictionaries of the residual stream in the middle, beside the Transformer's and those of the Mamba with its "
        "weights shuffled. The loss is the model's own, in nats a token.",
        ("ce/1", "fvu/1", "l0/1", "dead/1", "ce_score/1"),
    ),
    Shown(
        "Are a Mamba's features a Transformer's?",
        "mamba",
        "Of each feature of the Mamba that fires, the largest correlation of its codes with a feature's of the other "
        "dictionary on the same held-out tokens; matched: above 0.7. On other tokens it is what chance gives.",
        ("matched", "mean"),
        key="alike",
        against=(
            ("the Transformer", "the shuffled Mamba", "mean"),
            ("the Transformer", "the Mamba, another seed", "mean"),
        ),
    ),
    Shown(
        "Along a training",
        "dynamics",
        "A dictionary at each step at which the Transformer was kept, all with the same seeds. Matched: the features "
        "that fire with a decoder row whose cosine with one of the last step's dictionary is above 0.7; that of the "
        "same seed, which began with the same weights, and that of the next.",
        ("ce/1", "fvu/1", "l0/1", "dead/1", "ce_score/1", "matched", "mean", "matched_other", "mean_other"),
    ),
    Shown(
        "Features against experts",
        "experts",
        "How well the best feature of what the router reads tells whether it chooses an expert, mean over experts: "
        "features are picked on half of the held-out positions and scored on the others. Of one expert: the features "
        "that fire often and with one expert nine times in ten. Shuffled: the same choices at other positions.",
        ("auroc", "f1", "information", "of_one"),
        key="told",
        against=tuple(
            ("dictionary", other, "auroc") for other in ("before its training", "dictionary, shuffled router")
        ),
    ),
)

Drawn = tuple[Shown, list[str], list[list[str]], list[str]]
"""A table, its head, its lines, and what its differences say."""


def tables(found: Found) -> list[Drawn]:
    """Every table of the study, that of the models first."""
    made = [_models(found)]
    for shown in SHOWN:
        experiment = found["experiments"][shown.experiment]
        rows = experiment[shown.key]
        head = ["", *(_COLUMNS[key][0] for key in shown.columns)]
        lines = [[each["name"], *(_cell(each, key) for key in shown.columns)] for each in rows]
        said = [compared(rows, *pair) for pair in shown.against]
        made.append((shown, head, lines, [*said, *_beside(shown, experiment)]))
    return made


def _models(found: Found) -> Drawn:
    models, small = found["experiments"]["models"], found["small"]
    shown = Shown(
        "The models of the study's own",
        "models",
        f"Loss in nats a token on held-out rows. All have {small['n_layers']} layers of width {small['d_model']}, "
        f"{small['n_positions']} positions and {small['n_tokens']:,} tokens, and have read {models['tokens']:,} tokens "
        "in the same order; so have the n-gram models.",
        (),
    )
    lines = [[row["name"], PLAIN.format(row["loss"])] for row in models["rows"]]
    return shown, ["", "loss"], lines, []


def _cell(row: Found, key: str) -> str:
    """The mean over seeds, and after it half of the range."""
    values = [scores[key] for scores in row["seeds"] if scores.get(key) is not None]
    if not values:
        return MISSING
    written = _COLUMNS[key][1]
    mean = written.format(sum(values) / len(values))
    return mean if len(values) == 1 else f"{mean} ± {written.format((max(values) - min(values)) / 2)}"


def compared(rows: Sequence[Found], name: str, other: str, key: str) -> str:
    """How far a row is above another in a score, seed by seed, in a sentence."""
    of = {row["name"]: row["seeds"] for row in rows}
    if name not in of or other not in of:
        return f"{name} against {other}: not measured with one seed alone"
    pairs = [(a.get(key), b.get(key)) for a, b in zip(of[name], of[other], strict=True)]
    gain = differences([a - b for a, b in pairs if None not in (a, b)], key)
    return f"{name} against {other}, {_COLUMNS[key][0]}: {gain}"


def differences(values: Sequence[float], key: str) -> str:
    """Mean and range of differences, one a seed, and whether the seeds agree on the sign."""
    if not values:
        return "undefined"
    written = _COLUMNS[key][1].replace("{:", "{:+")
    mean, low, high = (
        written.format(v).replace("-", MINUS) for v in (sum(values) / len(values), min(values), max(values))
    )
    if len(values) == 1:
        return f"{mean} with one seed, which says nothing of its spread"
    agree = "all seeds agree" if min(values) > 0 or max(values) < 0 else "the seeds do not agree"
    return f"{mean} ({low} to {high}; {agree})"


def _beside(shown: Shown, experiment: Found) -> list[str]:
    """What an experiment says beside its rows."""
    if shown.experiment == "glu":
        keys = ("fvu/1", "ce_score/1", "shrinkage/1")
        said = []
        for l1 in sorted({each["l1"] for each in experiment["matched"]}):
            of = [each for each in experiment["matched"] if each["l1"] == l1]
            l0 = sum(each["l0/1"] for each in of) / len(of)
            for key in keys:
                gain = differences([each[key] for each in of], key)
                said.append(f"glu(l1={l1}) against ReLU at the same L0 of {l0:.1f}, {_COLUMNS[key][0]}: {gain}")
        return said or ["GLU was nowhere as sparse as ReLU: they cannot be held against each other"]
    if shown.key == "told":
        return [
            "of all positions, the experts are chosen at " + ", ".join(f"{share:.0%}" for share in experiment["used"])
        ]
    return []


def seconds(found: Found) -> str:
    """What each experiment took, in a sentence."""
    of = found["experiments"]
    parts = ", ".join(f"{name} {each['seconds'] / 60:.1f}" for name, each in of.items())
    return f"minutes: {parts}; in all {sum(each['seconds'] for each in of.values()) / 60:.1f}"


def console_tables(found: Found) -> list[tuple[Table, list[str]]]:
    """All tables for a terminal, each with what is said below it."""
    made = []
    for shown, head, lines, said in tables(found):
        table = Table(
            title=shown.title, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0)
        )
        for name in head:
            table.add_column(name, overflow="fold", justify="right" if name else "left")
        for cells in lines:
            table.add_row(*cells)
        made.append((table, said))
    return made


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """One table as Markdown."""
    top = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*top, *(f"| {' | '.join(cells)} |" for cells in lines)])
