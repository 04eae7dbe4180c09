"""What a subject predicts when features of a dictionary are changed: switched off, held, added to.

What the dictionary does not rebuild stays as it is: an edit adds the change of the codes times the decoder's rows.
Shapes: B rows, S positions, D width, F features, n changed ones, V alphabet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from unweave.dictionary import Dictionary
from unweave.dictionary.codes import dense
from unweave.rows import Rows
from unweave.subject import joined
from unweave.subject.base import Subject

BY = ("ablate", "clamp", "add", "scale")


@dataclass(frozen=True)
class Change:
    """by: "ablate" (to 0), "clamp" (to `value`), "add" (`value` more), "scale" (`value` times).

    Raises ValueError for anything else.
    """

    feature: int
    by: str
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise ValueError(f"a feature cannot be changed by {self.by!r}: there are {', '.join(BY)}")

    def of(self, code: Tensor) -> Tensor:
        """What becomes of the feature's codes."""
        if self.by == "ablate":
            return torch.zeros_like(code)
        if self.by == "clamp":
            return torch.full_like(code, self.value)
        return code + self.value if self.by == "add" else code * self.value


@dataclass(frozen=True)
class Outcome:
    """before, after: `[B, S, V]`, log-probabilities of the next token; kl: `[B, S]`, KL(before || after) in nats.

    codes_before, codes_after: `[B, S, n]`, of the changed features, in the order in which they are named.
    """

    before: Tensor
    after: Tensor
    codes_before: Tensor
    codes_after: Tensor

    @cached_property
    def kl(self) -> Tensor:
        terms = torch.where(self.before.isneginf(), 0.0, self.before.exp() * (self.before - self.after))
        return terms.sum(-1)


class Intervention:
    """A dictionary in its place in a subject."""

    def __init__(self, subject: Subject, dictionary: Dictionary, site: str, target: str = "") -> None:
        """site: where the dictionary reads; target: where it writes, if that is elsewhere.

        Raises ValueError for an unknown site, or a dictionary of another width than the site's.
        """
        known = subject.sites()
        self.subject, self.dictionary = subject, dictionary
        self.site = joined.resolve(site, known)
        self.target = joined.resolve(target or site, known)
        for at, width in ((self.site, dictionary.d_in), (self.target, dictionary.d_out)):
            if sum(joined.widths(at, known)) != width:
                raise ValueError(f"{at} has width {sum(joined.widths(at, known))}, the dictionary there {width}")

    @torch.no_grad()
    def run(self, rows: Rows, changes: Sequence[Change], at: Tensor | None = None) -> Outcome:
        """The subject as it is, and with features changed. at: `[B, S] bool`, where; wherever a dictionary learns from
        it when None, and never elsewhere. Raises what `changed` does."""
        return self._outcome(rows, changes, at, self._as_it_is(rows))

    @torch.no_grad()
    def sweep(
        self, rows: Rows, changes: Sequence[Change], values: Sequence[float], at: Tensor | None = None
    ) -> list[Outcome]:
        """The same with the last change's value at each of `values` in turn. Raises what `run` does, and ValueError
        without a change or for one that has no value."""
        if not changes or changes[-1].by == "ablate":
            raise ValueError("a sweep needs a change with a value, to clamp, add or scale by")
        before = self._as_it_is(rows)
        swept = [[*changes[:-1], replace(changes[-1], value=value)] for value in values]
        return [self._outcome(rows, each, at, before) for each in swept]

    @torch.no_grad()
    def changed(self, rows: Rows, changes: Sequence[Change], at: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What is added at the target `[B, S, D]`, and the changed features' codes before and after, `[B, S, n]`.

        Raises ValueError for a feature that there is not, or that is changed twice.
        """
        features = [change.feature for change in changes]
        if wrong := [feature for feature in features if not 0 <= feature < self.dictionary.d_sae]:
            raise ValueError(f"there is no feature {wrong[0]}: this dictionary has 0 to {self.dictionary.d_sae - 1}")
        if twice := [feature for feature in features if features.count(feature) > 1]:
            raise ValueError(f"feature {twice[0]} is changed twice")
        where = rows.learn if at is None else rows.learn & at
        x = joined.read(self.subject, rows.tokens, [self.site])[self.site][where]
        old = torch.zeros(*where.shape, len(features))
        old[where] = dense(self.dictionary.encode(x))[:, features].float()
        new = old.clone()
        for i, change in enumerate(changes):
            new[..., i][where] = change.of(old[..., i][where])
        written = (new - old)[where] @ self.dictionary.W_dec[features]
        nothing = torch.zeros_like(written)
        delta = torch.zeros(*where.shape, self.dictionary.d_out)
        delta[where] = self.dictionary.undo(written, x) - self.dictionary.undo(nothing, x)
        return delta, old, new

    def _outcome(self, rows: Rows, changes: Sequence[Change], at: Tensor | None, before: Tensor) -> Outcome:
        delta, old, new = self.changed(rows, changes, at)
        return Outcome(before, self._with(rows, delta), old, new)

    def _as_it_is(self, rows: Rows) -> Tensor:
        return self.subject.run(rows.tokens).float().log_softmax(-1)

    def _with(self, rows: Rows, delta: Tensor) -> Tensor:
        parts = joined.split(delta, self.target, self.subject.sites())
        edits = {site: (lambda x, part=part: x + part.to(x)) for site, part in parts.items()}
        return self.subject.run(rows.tokens, edits).float().log_softmax(-1)

    @torch.no_grad()
    def generate(
        self,
        rows: Rows,
        changes: Sequence[Change],
        n: int,
        *,
        at: Tensor | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        stop: int | None = None,
    ) -> list[int]:
        """n more tokens of one row, fewer where `stop` comes or the subject has no more positions. Without `at`, new
        positions are changed as well. Temperature 0 takes the likeliest.

        Raises ValueError for more than one row, a temperature below 0, and what `run` does.
        """
        if len(rows) != 1 or temperature < 0:
            raise ValueError("one row is continued at a time, at a temperature of at least 0")
        draw, made = torch.Generator().manual_seed(seed), []
        while len(made) < n and rows.tokens.shape[1] < self.subject.n_positions:
            delta, _, _ = self.changed(rows, changes, at)
            last = self._with(rows, delta)[0, -1]
            if temperature:
                token = int(torch.multinomial((last / temperature).softmax(-1), 1, generator=draw))
            else:
                token = int(last.argmax())
            if token == stop:
                break
            made.append(token)
            more = torch.tensor([[True]])
            rows = Rows(
                torch.cat([rows.tokens, torch.tensor([[token]])], 1),
                torch.cat([rows.there, more], 1),
                torch.cat([rows.learn, more], 1),
            )
            at = None if at is None else torch.cat([at, ~more], 1)
        return made
