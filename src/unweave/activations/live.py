"""The activations of a subject, harvested as they are asked for: what a store is filled from, and training without one.

Shapes: N vectors, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from unweave.activations.buffer import Vectors
from unweave.activations.corpus import corpus
from unweave.activations.harvest import chunks, harvest
from unweave.config import DataConfig
from unweave.rows import Rows
from unweave.subject import joined, load

# Games or rows of text whose activations show where the middle and the scale of a site's activations are.
SAMPLE = 256


class Live:
    """subject, corpus: what `call` and `data` name."""

    def __init__(self, call: str, data: DataConfig) -> None:
        """Raises what `load` and `corpus` do."""
        self.call, self.data = call, data
        self.subject = load(call)
        self.corpus = corpus(data, self.subject)

    def width(self, site: str) -> int:
        """Of a single or joined site. Raises ValueError for an unknown one."""
        return sum(joined.widths(site, self.subject.sites()))

    def sample(self, sites: Sequence[str]) -> Vectors:
        """By site `[N, D]`, those of the first rows, which a dictionary sees before its first step. Raises what
        `harvest` does."""
        return harvest(self.subject, self.first_rows(), sites).vectors

    def first_rows(self) -> Rows:
        return self.corpus.sample("train", SAMPLE, self.data.seed)

    def chunks(self, sites: Sequence[str]) -> Callable[[int], Iterator[Vectors]]:
        """A source for `buffer.shuffled`."""
        return chunks(self.subject, self.corpus, sites, self.data)

    def fingerprint(self, chunks: int) -> str:
        """Differs when the first so many chunks would not be the same again."""
        return self.corpus.fingerprint
