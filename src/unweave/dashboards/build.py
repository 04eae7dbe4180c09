"""The view of a run: everything in one folder, made part by part, and put in place when it is whole.

What is done stays done: a build that was stopped, however it was, goes on where it was, to the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import unweave.evaluation.ground_truth as ground_truth
from unweave import files
from unweave.activations.corpus import corpus
from unweave.dashboards import boards, columns, kinds
from unweave.dashboards.collect import Collected, collect
from unweave.dashboards.effects import DIRECT, effects
from unweave.dashboards.examples import GROUPS
from unweave.dashboards.held import AFTER, BEFORE, HeldOut, hold_out
from unweave.dashboards.neighbours import BLOCK, Directions
from unweave.dashboards.pages import PER_OCTAVE, Pages, Truth, spread_of_effects
from unweave.dashboards.reading import VERSION, View, checksum
from unweave.dashboards.survey import Survey, chunks, survey
from unweave.dictionary import Dictionary
from unweave.runs import Run
from unweave.subject import joined, load
from unweave.subject.base import ReadsText, Subject

GAMES, TEXTS = 2000, 1024
"""How many held-out games, or rows of text, a view is made from unless that is said."""

NAMED_FROM = 0.7
"""The AUROC from which on a rule names a feature."""

_IN_MEMORY = 1 << 24  # pairs of two features: 64 MB a table
_SAMPLE = 64  # rows on which slopes and scales are measured

Progress = Callable[[str, int, int], None]
"""What goes on, how much of it is done, and how much there is."""


def build(
    run: Run,
    *,
    n_rows: int = 0,
    seed: int = 1,
    chunk: int = 0,
    rebuild: bool = False,
    on_progress: Progress = lambda what, done, of: None,
) -> View:
    """Make the view of a trained run, in its folder under `view`; one that is there and current is left as it is.

    Args: n_rows, seed: how many rows of the test split, 0 for 2,000 games or 1,024 rows of text, and which;
    chunk: how many features are in memory at a time, 0 for as many as take about 250 MB, which changes nothing
    else; rebuild: make it anew in any case.
    Raises FileNotFoundError or ValueError for a run that is not trained or damaged, or whose subject or text is not
    there.
    """
    config, folder = run.config, run.folder / "view"
    dictionary = run.dictionary()
    n_rows = n_rows or (TEXTS if config.data.text else GAMES)
    made = {
        "by": VERSION,
        "hash": config.hash,
        "dictionary": files.sha256(run.folder / "sae.safetensors"),
        "evaluation": checksum(run.folder / "evaluation.json"),
    }
    if not rebuild and (view := _current(folder, made, n_rows, seed)):
        return view
    subject = load(config.subject)
    site = joined.resolve(config.site, subject.sites())
    of = corpus(config.data, subject)
    about = {"made": made, "rows": n_rows, "seed": seed, "site": site, "fingerprint": of.fingerprint}
    aside = folder / ".build"
    with files.held(aside):
        if (aside / "manifest.json").is_file():  # whole, and stopped while it was being put in place
            _put_in_place(aside, folder)
        if not rebuild and (view := _current(folder, made, n_rows, seed)):
            return view
        _clear(aside, about, rebuild)
        held = hold_out(of, subject.n_positions, n_rows, seed)
        added = columns.added(folder, made["dictionary"])
        work = _Work(run, dictionary, subject, site, held, aside, added, on_progress)
        manifest = work.make(chunk) | {"made": made}
        manifest["data"] = _data(config.data.text, held, n_rows, seed, of.fingerprint)
        files.write_json(aside / "manifest.json", manifest)
        _put_in_place(aside, folder)
    return View(folder)


def _current(folder: Path, made: dict[str, Any], n_rows: int, seed: int) -> View | None:
    """The view that is there, if it is of the same run and rows, and whole."""
    try:
        view = View(folder)
    except (FileNotFoundError, ValueError):
        return None
    asked = view.manifest["data"]["asked"], view.manifest["data"]["seed"]
    return view if view.manifest["made"] == made and asked == (n_rows, seed) else None


def _clear(aside: Path, about: dict[str, Any], rebuild: bool) -> None:
    """Leave of what an earlier build made only what this one would make too."""
    path = aside / "about.json"
    try:
        same = not rebuild and files.read_json(path) == about
    except (FileNotFoundError, ValueError):
        same = False
    if not same:
        for old in aside.iterdir():
            if old.name != ".lock":
                old.unlink()
        files.write_json(path, about)


@dataclass
class _Work:
    """A build under way: what is known of the run, and where it is written."""

    run: Run
    dictionary: Dictionary
    subject: Subject
    site: str
    held: HeldOut
    aside: Path
    added: list[columns.Column]
    on_progress: Progress

    def make(self, chunk: int) -> dict[str, Any]:
        """Write every file but the manifest; what that says, but for where it all comes from."""
        d_sae = self.dictionary.d_sae
        chunk = -(-(chunk or min(1024, max(1, _IN_MEMORY // d_sae))) // BLOCK) * BLOCK
        collected = collect(
            self.dictionary, self.subject, self.site, self.held, self.aside,
            lambda done, of: self.on_progress("activations", done, of),
        )  # fmt: skip
        found = survey(collected, self.held, chunk)
        truth = _truth(self.run, d_sae, found)
        pages = self._pages(collected, found, truth)
        self._write_pages(pages, chunk)
        table = self._columns(pages)
        files.write_arrays(self.aside / "columns.safetensors", {column.name: column.values for column in table})
        files.write_arrays(self.aside / "rows.safetensors", self.held.arrays())
        files.write_arrays(self.aside / "map.safetensors", {"xy": pages.directions.map()})
        files.write_arrays(self.aside / "directions.safetensors", {"decoder": pages.directions.packed()})
        files.write_json(self.aside / "labels.json", {"labels": _names(truth, found)})
        fixed = ["pages.bin", "pages.idx", "rows.safetensors", "map.safetensors", "directions.safetensors"]
        if truth is not None:
            files.write_arrays(self.aside / "truth.safetensors", _scaled(truth))
            fixed.append("truth.safetensors")
        if isinstance(self.subject, ReadsText):
            files.write_json(self.aside / "tokens.json", _tokens(self.subject))
            fixed.append("tokens.json")
        return self._manifest(table, pages, fixed)

    def _pages(self, collected: Collected, found: Survey, truth: Truth | None) -> Pages:
        games = self.held.kind == "games"
        moves = slice(1, 61) if games else slice(None)
        return Pages(
            collected,
            self.held,
            found,
            Directions.of(self.dictionary),
            self.dictionary.W_dec.detach(),
            effects(self.subject, self._target, self.held.rows[:_SAMPLE], moves),
            truth,
            boards.mirrors(found.board, BLOCK) if found.board is not None else None,
            kinds.of(self.subject.tokenizer, self.subject.alphabet.size)
            if isinstance(self.subject, ReadsText)
            else None,
        )

    @property
    def _target(self) -> str:
        """Where the dictionary writes."""
        target = self.run.config.target
        return joined.resolve(target, self.subject.sites()) if target else self.site

    def _write_pages(self, pages: Pages, chunk: int) -> None:
        """pages.bin and pages.idx, from a file for every chunk, which are not made again."""
        parts, d_sae = [], self.dictionary.d_sae
        for start, stop in chunks(d_sae, chunk):
            path = self.aside / f"pages-{start:07}-{stop:07}"
            if not path.exists():
                blocks = list(pages.blocks(start, stop))
                sizes = np.array([len(block) for block in blocks], "<u8").tobytes()
                files.replace(path, lambda aside, made=(sizes, *blocks): aside.write_bytes(b"".join(made)))
            parts.append((path, stop - start))
            self.on_progress("pages", stop, d_sae)
        sizes = np.concatenate([np.fromfile(path, "<u8", n) for path, n in parts])
        index = np.concatenate([[0], np.cumsum(sizes)]).astype("<u8")
        files.replace(self.aside / "pages.idx", lambda aside: aside.write_bytes(index.tobytes()))
        files.replace(self.aside / "pages.bin", lambda aside: _join(aside, parts))

    def _columns(self, pages: Pages) -> list[columns.Column]:
        norm, of = self.dictionary.W_dec.detach().norm(dim=1).numpy(), pages.directions
        table = columns.of_survey(pages.survey, norm, of.agreement, of.nearest())
        if pages.effects is not None:
            spread = spread_of_effects(pages.effects, pages.W_dec)
            help = "The standard deviation over the tokens of what it adds directly to the logits."
            table.append(columns.Column("effect", spread, "Effect", "nats", help))
        if pages.truth is not None:
            table += columns.of_truth(pages.truth.label, pages.truth.auroc, pages.truth.within)
        own = {column.name for column in table}
        return [*table, *(column for column in self.added if column.name not in own)]

    def _manifest(self, table: list[columns.Column], pages: Pages, fixed: list[str]) -> dict[str, Any]:
        config, found = self.run.config, pages.survey
        alive = int((found.active > 0).sum())
        scored = self.run.evaluation()
        return {
            "version": VERSION,
            "kind": self.held.kind,
            "run": self.run.name,
            "subject": config.subject,
            "site": self.site,
            "target": self._target if config.target else "",
            "method": config.method,
            "d_in": self.dictionary.d_in,
            "d_sae": self.dictionary.d_sae,
            "summary": {"l0": float(found.l0.mean()), "alive": alive, "dead": len(found.active) - alive},
            "scores": None if scored is None else {"rows": scored["rows"], "metrics": scored["metrics"]},
            "columns": [column.entry for column in table],
            "bins": {"per_octave": PER_OCTAVE},
            "groups": [{"name": name, "title": title, "help": help} for name, title, help in GROUPS],
            "window": {"before": BEFORE, "after": AFTER},
            "effects": None if pages.effects is None else DIRECT,
            "symmetries": boards.SYMMETRIES if self.held.kind == "games" else [],
            "kinds": [] if pages.kinds is None else list(kinds.KINDS),
            "files": {
                name: {"bytes": (self.aside / name).stat().st_size, "sha256": files.sha256(self.aside / name)}
                for name in fixed
            },
        }


def _join(path: Path, parts: list[tuple[Path, int]]) -> None:
    """The blocks of all chunks one after another, without the n sizes that each begins with."""
    with open(path, "wb") as out:
        for part, n in parts:
            with open(part, "rb") as held:
                held.seek(8 * n)
                shutil.copyfileobj(held, out)


def _put_in_place(aside: Path, folder: Path) -> None:
    """Until all files are there, there is no manifest, so that nobody reads old and new ones together. Stopped in the
    midst, and called again, it goes on."""
    manifest = files.read_json(aside / "manifest.json")
    (folder / "manifest.json").unlink(missing_ok=True)
    made = [*manifest["files"], "columns.safetensors"]
    for name in made:
        if (aside / name).exists():
            os.replace(aside / name, folder / name)
    for name in {"truth.safetensors", "tokens.json"} - set(made):
        (folder / name).unlink(missing_ok=True)
    _keep_labels(folder / "labels.json", aside / "labels.json")
    (folder / "notes.jsonl").touch()
    os.replace(aside / "manifest.json", folder / "manifest.json")
    for path in aside.iterdir():
        if path.name != ".lock":
            path.unlink()


def _keep_labels(path: Path, made: Path) -> None:
    """The rules' names anew, the models' as they were: those cost money."""
    try:
        kept = [label for label in files.read_json(path)["labels"] if label["by"] != "rule"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        kept = []
    files.write_json(path, {"labels": [*files.read_json(made)["labels"], *kept]})


def _data(text: str, held: HeldOut, asked: int, seed: int, fingerprint: str) -> dict[str, Any]:
    """Which rows these are, as the manifest has it."""
    length = held.rows.tokens.shape[1]
    return {
        "what": "games" if held.kind == "games" else "rows of text",
        "split": "test",
        "seed": seed,
        "asked": asked,
        "rows": len(held.rows),
        "positions": len(held),
        "length": length,
        "text": text or None,
        "fingerprint": fingerprint,
    }


def _truth(run: Run, d_sae: int, found: Survey) -> Truth | None:
    """What the run's evaluation knows of the board, if it has one of games."""
    path = run.folder / "evaluation.safetensors"
    if found.board is None or not path.is_file():
        return None
    held, _ = files.read_tensors(path)
    if not {"auroc", "auroc_within", "label_of"} <= held.keys():
        return None
    truth = Truth(*(held[name].numpy() for name in ("auroc", "auroc_within", "label_of")))
    if truth.auroc.shape != (d_sae, ground_truth.N_LABELS):
        raise ValueError(f"{path} is of another dictionary: evaluate the run again")
    return truth


def _names(truth: Truth | None, found: Survey) -> list[dict[str, Any]]:
    """What rules call the features."""
    if truth is None:
        return []
    known = np.flatnonzero((truth.label >= 0) & (found.active > 0)).tolist()
    return [
        {"feature": f, "text": boards.in_words(int(truth.label[f])), "by": "rule", "score": score, "metric": "AUROC"}
        for f in known
        if (score := round(float(truth.auroc[f, truth.label[f]]), 4)) >= NAMED_FROM
    ]


def _scaled(truth: Truth) -> dict[str, np.ndarray]:
    """truth.safetensors: `[252, F] uint16` each."""
    return {
        name: np.where(np.isnan(of), 65535, np.round(of * 65534)).T.astype(np.uint16)
        for name, of in (("auroc", truth.auroc), ("auroc_within", truth.within))
    }


def _tokens(subject: ReadsText) -> dict[str, Any]:
    """tokens.json: what each token is called."""
    of, n = subject.tokenizer, subject.alphabet.size
    return {
        "pieces": [subject.alphabet.name(id) for id in range(n)],
        "bytes": dict(_parts_of_characters(of, min(n, of.size))),
        "specials": list(of.specials),
    }


def _parts_of_characters(of: Any, n: int) -> Iterator[tuple[str, list[int]]]:
    for id in range(n):
        raw = of.raw(id)
        if raw is not None:
            try:
                raw.decode()
            except UnicodeDecodeError:
                yield str(id), list(raw)
