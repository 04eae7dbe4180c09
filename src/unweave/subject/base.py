"""What a subject is: a model whose activations can be read and replaced. Everything else is an edit.

Shapes: B sequences, S positions, D the width of a site, V the size of the alphabet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from unweave import files
from unweave.registry import Registry
from unweave.text.tokenizer import Tokenizer

Edit = Callable[[Tensor], Tensor]
"""What is to stand at a site, made from what stands there: `[B, S, D] -> [B, S, D]`."""


@dataclass(frozen=True)
class Alphabet:
    """The tokens of a model. size: ids are 0..size-1. pad: the id that fills short sequences and means nothing, if any.
    specials: ids that stand for no part of a text or game (pad among them). names: what each id is called."""

    size: int
    pad: int | None = None
    specials: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.names and len(self.names) != self.size:
            raise ValueError(f"an alphabet of {self.size} tokens cannot have {len(self.names)} names")

    def name(self, id: int) -> str:
        """What a token is called; its id where it has no name. Raises ValueError for an id outside the alphabet."""
        if not 0 <= id < self.size:
            raise ValueError(f"no token {id}: this alphabet has ids 0 to {self.size - 1}")
        return self.names[id] if self.names else str(id)


@runtime_checkable
class Subject(Protocol):
    """A model under study. Its sites are named as in `unweave.subject.sites`."""

    @property
    def alphabet(self) -> Alphabet: ...

    @property
    def n_positions(self) -> int:
        """The longest sequence it takes."""
        ...

    def sites(self) -> dict[str, int]:
        """Every site's name, in the order of the forward pass, and its width."""
        ...

    def read(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        """The activations `[B, S, D]` at `sites` under the names asked for, for token ids `[B, S]`; without
        gradient, and no further into the model than the last of them. Raises ValueError for an unknown site, naming
        the nearest."""
        ...

    def run(self, tokens: Tensor, edits: Mapping[str, Edit] | None = None) -> Tensor:
        """Logits `[B, S, V]` with each of `edits` applied where the forward pass comes by its site; with gradient where
        the caller has it on. Raises ValueError for an unknown site and for an edit that changes the shape."""
        ...


@runtime_checkable
class ReadsText(Subject, Protocol):
    """A subject whose tokens are pieces of text."""

    @property
    def tokenizer(self) -> Tokenizer: ...


@runtime_checkable
class Unembeds(Subject, Protocol):
    """A subject whose logits are `unembedding`, `[V, D]`, times what `final_norm` makes of its last residual stream,
    but for a bias."""

    @property
    def final_norm(self) -> Callable[[Tensor], Tensor]: ...

    @property
    def unembedding(self) -> Tensor: ...


SUBJECTS: Registry[Subject] = Registry("subject")


def load(call: str) -> Subject:
    """The subject that is written as `call`: "othello()", "control(seed=1)", or the path of a saved model.

    A path (anything with a separator or the ending .safetensors, or a folder that exists) is short for
    `saved(path="...")`, or for `huggingface(path="...")` where the folder's config.json is of that library. Raises
    ValueError for an unknown name, naming the nearest, and FileNotFoundError or ValueError for a model that is not
    there or damaged.
    """
    is_path = call.endswith(".safetensors") or ("/" in call and "(" not in call) or Path(call).is_dir()
    if not is_path or call in set(SUBJECTS):
        return SUBJECTS.build(call)
    config = Path(call) / "config.json"
    of_transformers = config.is_file() and "model_type" in files.read_json(config)  # a training of ours has one, too
    return SUBJECTS["huggingface" if of_transformers else "saved"](path=call)
