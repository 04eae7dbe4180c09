"""Several sites read as one: at "resid_post.0+resid_post.1" the activations of both stand side by side.

A dictionary there is a crosscoder over layers (Lindsey et al. 2024, transformer-circuits.pub/2024/crosscoders): one set
of codes, with directions of its own at every site. One scale normalises all, so that sites keep their relative size.

Shapes: B sequences, S positions, D width of all sites together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from unweave.subject import sites
from unweave.subject.base import Subject


def resolve(site: str, known: Mapping[str, int]) -> str:
    """The name of one or several joined sites, each under any of its names. Raises what `sites.resolve` does, and
    ValueError for a site that is named twice."""
    parts = [sites.resolve(part.strip(), known) for part in site.split("+")]
    if len(set(parts)) < len(parts):
        raise ValueError(f"{site} names a site twice")
    return "+".join(parts)


def widths(site: str, known: Mapping[str, int]) -> list[int]:
    """The width of each of the joined sites."""
    return [known[part] for part in resolve(site, known).split("+")]


def read(subject: Subject, tokens: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
    """As `Subject.read`, for single and joined sites: `[B, S, D]` under the names asked for."""
    known = subject.sites()
    parts = {site: resolve(site, known).split("+") for site in wanted}
    found = subject.read(tokens, sorted({part for of in parts.values() for part in of}))
    return {site: found[of[0]] if len(of) == 1 else torch.cat([found[p] for p in of], -1) for site, of in parts.items()}


def split(x: Tensor, site: str, known: Mapping[str, int]) -> dict[str, Tensor]:
    """What of `x [..., D]` belongs to each of the joined sites."""
    ends = accumulate(widths(site, known), initial=0)
    parts = resolve(site, known).split("+")
    return {part: x[..., a:b] for part, (a, b) in zip(parts, pairwise(ends), strict=True)}
