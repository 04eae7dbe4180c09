"""What a view should hold, worked out position by position, feature by feature, with nothing clever in it."""

from __future__ import annotations

import math
from collections import Counter

import torch

from unweave.activations.corpus import corpus
from unweave.activations.harvest import harvest
from unweave.dashboards import collect
from unweave.dictionary.codes import dense
from unweave.othello import labels
from unweave.othello.tokens import decode
from unweave.runs import Run
from unweave.subject import load

BEFORE, AFTER = 12, 6


class Plain:
    """Every position of the held-out rows in turn: where it is, what it shows, its codes and pre-activations."""

    def __init__(self, run: Run, n_rows: int, seed: int = 1) -> None:
        config, self.dictionary = run.config, run.dictionary()
        self.subject = load(config.subject)
        self.games = not config.data.text
        rows = corpus(config.data, self.subject).sample("test", n_rows, seed).until(self.subject.n_positions + 1)
        self.tokens = rows.tokens.tolist()
        self.lengths = rows.there.sum(1).tolist()
        self.squares = decode(rows.tokens).tolist() if self.games else []
        truth = labels.label(decode(rows.tokens)) if self.games else None
        self.at: list[tuple[int, int]] = []
        self.codes: list[list[float]] = []
        self.pre: list[list[float]] = []
        row = 0
        for part in rows.until(self.subject.n_positions).split(collect.PART):
            found = harvest(self.subject, part, [config.site])
            self.at += [(row + r, s) for r, s in zip(found.row.tolist(), found.position.tolist(), strict=True)]
            for x in found.vectors[config.site].split(collect._BATCH):
                with torch.no_grad():
                    self.codes += dense(self.dictionary.encode(x)).tolist()
                    self.pre += self.dictionary.pre(x).tolist()
            row += len(part)
        self.boards = [truth.board[at].tolist() for at in self.at] if truth else []
        self.shown = [tuple(b) for b in self.boards] if self.games else [self._window(*at) for at in self.at]

    def _window(self, row: int, at: int) -> tuple[int, ...]:
        ids = self.tokens[row]
        return tuple(ids[s] if 0 <= s < len(ids) else -1 for s in range(at - BEFORE, at + AFTER + 1))

    def entries(self, feature: int) -> list[tuple[int, float]]:
        return [(n, codes[feature]) for n, codes in enumerate(self.codes) if codes[feature] > 0]

    def distinct(self, places: list[int], n: int) -> list[int]:
        """The first n that show what none before them does."""
        seen, found = set(), []
        for place in places:
            if self.shown[place] not in seen and len(found) < n:
                found.append(place)
            seen.add(self.shown[place])
        return found

    def groups(self, feature: int) -> list[tuple[str, list[tuple[int, int]]]]:
        """Each group's name and where its examples are."""
        entries = self.entries(feature)
        value = dict(entries)
        by_strength = [n for n, _ in sorted(entries, key=lambda e: (-e[1], e[0]))]
        lot = {n: splitmix(feature, n) for n, _ in entries}

        def ordered(places: list[int]) -> list[int]:
            return sorted(places, key=lambda n: (-value[n], n))

        found = [("top", self.distinct(by_strength, 16))]
        largest = max(value.values(), default=0)
        for share in (0.9, 0.8, 0.7, 0.5):
            close = [n for n, v in entries if abs(v - share * largest) <= 0.05 * largest]
            close.sort(key=lambda n: (abs(value[n] - share * largest), n))
            found.append(("share", ordered(self.distinct(close, 4))))
        rising = by_strength[::-1]
        for i in (4, 3, 2, 1, 0):
            part = rising[i * len(rising) // 5 : (i + 1) * len(rising) // 5]
            found.append(("interval", ordered(self.distinct(sorted(part, key=lambda n: lot[n]), 4))))
        found.append(("random", ordered(self.distinct(sorted(value, key=lambda n: lot[n]), 8))))
        first = {}
        for n, shown in enumerate(self.shown):
            first.setdefault(shown, n)
        quiet = [n for n in range(len(self.at)) if n not in value and first[self.shown[n]] == n]
        found.append(("near", sorted(quiet, key=lambda n: (-self.pre[n][feature], n))[:8]))
        return [(name, [self.at[n] for n in places]) for name, places in found]

    def bins(self, feature: int) -> Counter[int]:
        return Counter(math.floor(4 * math.log2(value)) for _, value in self.entries(feature))

    def board(self, feature: int) -> dict[str, list[float]]:
        """How often each square is each state where the feature is active, less the same at such plies."""
        active = [n for n, _ in self.entries(feature)]
        plies = Counter(self.at[n][1] for n in active)
        by_ply: dict[int, list[int]] = {}
        for n, (_, ply) in enumerate(self.at):
            by_ply.setdefault(ply, []).append(n)
        found = {}
        for name, state in (("mine", 1), ("theirs", 2), ("empty", 0)):
            found[name] = []
            for square in range(64):
                often = sum(self.boards[n][square] == state for n in active) / max(len(active), 1)
                expected = sum(
                    times * sum(self.boards[n][square] == state for n in by_ply[ply]) / len(by_ply[ply])
                    for ply, times in plies.items()
                ) / max(len(active), 1)
                found[name].append(often - expected)
        return found

    def moves(self, feature: int, later: int) -> list[int]:
        """Where the move lies that is `later` plies after those where the feature is active."""
        counts = [0] * 64
        for n, _ in self.entries(feature):
            row, ply = self.at[n]
            if ply + later < 60 and self.squares[row][ply + later] >= 0:
                counts[self.squares[row][ply + later]] += 1
        return counts


def clusters(counts: list[int]) -> float:
    """How many 3 by 3 squares, the fullest first, hold 90 %."""
    left, total, n = list(counts), sum(counts), 0
    if not total:
        return math.nan
    while 10 * (total - sum(left)) < 9 * total:
        windows = [[8 * (r + i) + c + j for i in range(3) for j in range(3)] for r in range(6) for c in range(6)]
        best = max(windows, key=lambda window: sum(left[s] for s in window))
        for square in best:
            left[square] = 0
        n += 1
    return n


def splitmix(feature: int, place: int) -> int:
    mask = (1 << 64) - 1
    z = (place + (feature << 32)) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31
