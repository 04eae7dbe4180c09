"""Dictionaries of one subject, held against the same held-out rows of its text. Shapes: G rows, S positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from unweave.activations.corpus import Split, corpus
from unweave.activations.harvest import harvest
from unweave.config import RunConfig
from unweave.dictionary import Dictionary
from unweave.dictionary.codes import mean_l0
from unweave.evaluation.language.baselines import Moments, untrained
from unweave.evaluation.language.predictions import POSITIONS, Predictions, parts
from unweave.evaluation.language.rebuilt import Breakdown, Rebuilt
from unweave.evaluation.language.splice import Place, Rebuild
from unweave.rows import Rows
from unweave.subject import joined, load
from unweave.subject.base import ReadsText, Subject
from unweave.subject.sequences import Sequences

# What of a config must be the same for dictionaries to be scored on the same rows.
_TEXT = ("text", "context", "packed", "specials")


class Group:
    """configs: of the runs; places: what each of their dictionaries reads and writes; rows: `[G, S]`,
    held out; predicts: whether the subject says what comes next, so that splicing can be scored."""

    def __init__(self, configs: Sequence[RunConfig], *, n_rows: int, seed: int, split: Split) -> None:
        """Raises ValueError for runs on games, or on several subjects or texts, and what loading both does."""
        first = configs[0]
        for config in configs:
            if not config.data.text:
                raise ValueError(f"{config.subject} was trained on games of Othello, not on text")
            if differ := [name for name in _TEXT if getattr(config.data, name) != getattr(first.data, name)]:
                raise ValueError(f"runs that are scored together must read the same text: data.{differ[0]} differs")
            if config.subject != first.subject:
                raise ValueError(
                    f"runs that are scored together must be of one subject, not {config.subject} and {first.subject}"
                )
        if n_rows < 1 or seed < 0:
            raise ValueError(f"held-out rows: at least 1, of a seed of at least 0, not {n_rows} of seed {seed}")
        self.configs, self.n_rows, self.seed, self.split = configs, n_rows, seed, split
        self.subject = load(first.subject)
        known = self.subject.sites()
        self.places = [
            (joined.resolve(config.site, known), joined.resolve(config.target or config.site, known))
            for config in configs
        ]
        self.corpus = corpus(first.data, self.subject)
        assert isinstance(self.subject, ReadsText)  # or it would have had no text to read
        self.tokenizer = self.subject.tokenizer
        self.rows = self.corpus.sample(split, n_rows, seed)
        self.predictions = Predictions(self.subject, self.rows)
        self.predicts = says_what_comes_next(self.subject, self.rows.tokens[:1, : self.subject.n_positions])

    @cached_property
    def mean(self) -> dict[str, Tensor]:
        """By target, what its activations are on average over the rows."""
        return self.predictions.means([target for _, target in self.places])

    def home(self, dictionary: Dictionary) -> Dictionary:
        """The dictionary, where the subject's activations are."""
        site, _ = self.places[0]
        return dictionary.to(joined.read(self.subject, self.rows.tokens[:1, :1], [site])[site].device)

    def untrained(self) -> list[Dictionary]:
        """Each run's dictionary before its first step."""
        return [self.home(untrained(config, self.subject, self.corpus)) for config in self.configs]

    @torch.no_grad()
    def components(self, dictionaries: Sequence[Dictionary]) -> list[Dictionary]:
        """For each dictionary as many principal components of training rows as it has active features there."""
        moments = [Moments(dictionary.d_in, dictionary.d_out) for dictionary in dictionaries]
        active = [0.0 for _ in dictionaries]
        for part in parts(self.corpus.sample("train", self.n_rows, self.seed), POSITIONS):
            for i, (x, y) in enumerate(self._read(part)[1]):
                moments[i].update(x, y)
                active[i] += mean_l0(dictionaries[i].encode(x.to(dictionaries[i].W_dec.device))) * len(x)
        return [
            self.home(seen.components(max(1, round(n / seen.n)), transcodes=dictionary.transcodes))
            for seen, n, dictionary in zip(moments, active, dictionaries, strict=True)
        ]

    def rebuild(self, kinds: Sequence[Sequence[Dictionary]]) -> tuple[list[list[Rebuilt]], list[Breakdown]]:
        """What each dictionary of each kind makes of the rows, and where those of the first kind do well."""
        rebuilt = [
            [Rebuilt(each, *place, self.mean[place[1]]) for each, place in zip(kind, self.places, strict=True)]
            for kind in kinds
        ]
        shape = self.rows.tokens.shape[1], self.subject.alphabet.size
        where = [Breakdown(*shape) for _ in self.places]
        for part in parts(self.rows, POSITIONS):
            (token, position), vectors = self._read(part)
            for i, (x, y) in enumerate(vectors):
                seen = [kind[i].update(x, y) for kind in rebuilt]
                where[i].vectors(position, token, *seen[0])
        return rebuilt, where

    def splice(
        self, kinds: Sequence[Sequence[Dictionary]], where: Sequence[Breakdown], *, together: bool
    ) -> tuple[list[list[dict[str, float]]], list[dict[str, float]]]:
        """The scores of each dictionary of each kind spliced in alone, and of all of a kind `together`, if they are to
        be; what those of the first kind do alone is added to `where`."""
        n = len(self.places)
        groups: list[Mapping[Place, Rebuild]] = [
            {place: each} for kind in kinds for place, each in zip(self.places, kind, strict=True)
        ]
        if together:
            groups.extend(dict(zip(self.places, kind, strict=True)) for kind in kinds)

        def seen(i: int, sequences: Sequences, before: Tensor, after: Tensor) -> None:
            if i < n:
                row, position = sequences.counted.nonzero(as_tuple=True)
                where[i].predictions(position, sequences.inputs[row, position], before, after)

        found = self.predictions.spliced(groups, seen)
        return [found[i * n : (i + 1) * n] for i in range(len(kinds))], found[n * len(kinds) :]

    def _read(self, part: Rows) -> tuple[tuple[Tensor, Tensor], list[tuple[Tensor, Tensor]]]:
        """Of every vector its token and position, and for every place what is read and what is to be rebuilt."""
        sites = list(dict.fromkeys(site for place in self.places for site in place))
        found = harvest(self.subject, part, sites)
        vectors = [(found.vectors[site], found.vectors[target]) for site, target in self.places]
        return (part.tokens[found.row, found.position], found.position), vectors


@torch.no_grad()
def says_what_comes_next(subject: Subject, tokens: Tensor) -> bool:
    """Whether the subject predicts from what came before, tried on `tokens [1, S]`: an encoder without a head predicts
    nothing, and one with a head sees the token that it would predict."""
    try:
        before = subject.run(tokens)[:, :-1]
    except ValueError:  # a subject without a head says so
        return False
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % subject.alphabet.size
    change = (subject.run(other)[:, :-1] - before).abs().max()
    return bool(change <= 1e-3 * before.abs().max())
