"""What a run is made from: frozen values, to and from JSON. All that is needed to make it again, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from unweave.registry import nearest
from unweave.schedule import SHAPES

T = TypeVar("T")

DECODER_NORMS = ("unit", "bounded", "free")
DEVICES = re.compile(r"cpu|cuda(:\d+)?")
BACKENDS = ("auto", "reference", "sparse", "cpu", "cpu_bf16", "cpu_int16", "cuda")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """text: what a subject of text reads: a file, a folder, or a source such as "stdlib()"; "" for games of Othello.
    context: how many tokens a row of it has. packed: whether rows run over the seams of documents; if not, a row is the
    beginning of a document, and shorter documents are left out. specials: whether separators and first positions are
    learnt from as well.
    sequences: how many games or rows are read at a time, which is also what the shuffle mixes; seed: of their order.
    passes: how often each vector is served before it is let go, each time in another order.
    store: a folder that `unweave harvest` filled, whose activations are read instead of harvested; "" for none."""

    text: str = ""
    context: int = 128
    packed: bool = True
    specials: bool = False
    sequences: int = 2048
    passes: int = 1
    seed: int = 0
    store: str = ""

    def __post_init__(self) -> None:
        for name, least in (("context", 2), ("sequences", 1), ("passes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"data.{name} must be at least {least}, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"data.seed must be at least 0, not {self.seed}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """steps, batch: how many optimiser steps, of how many vectors each; where the objective is end to end, all those of
    whole rows, about so many.
    optimiser: which; lr, warmup, decay: the peak of its learning rate, steps up to it, the share of the steps in which
    it falls; shape: "linear" or "cosine", how it falls; lr_end: to which share of the peak.
    penalty_warmup: the share of the steps in which the penalties of sparsity grow from 0 to their weight.
    gradient_norm: where the gradient's norm is clipped; 0 for not at all.
    decoder_norm: "unit" keeps decoder rows at norm 1, without the part of their gradient that would lengthen them;
    "bounded" cuts those that grew longer than 1 back to it after each step; "free" leaves them alone.
    log_every, checkpoint_every: in steps.
    device: where the dictionary is trained: "cpu", "cuda", or one of several GPUs, such as "cuda:1".
    backend: what products over active pairs are left to: "auto", or one of BACKENDS, to compare them; "reference" is
    dense, with torch's own gradients.
    """

    steps: int = 3000
    batch: int = 1024
    optimiser: str = "adam()"
    lr: float = 3e-3
    warmup: int = 200
    decay: float = 0.3
    shape: str = "linear"
    lr_end: float = 0.0
    penalty_warmup: float = 0.0
    gradient_norm: float = 0.0
    decoder_norm: str = "unit"
    log_every: int = 50
    checkpoint_every: int = 500
    device: str = "cpu"
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup", "gradient_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"training.{name} must be at least 0, not {getattr(self, name)}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"training.lr must be above 0 and finite, not {self.lr}")
        if self.shape not in SHAPES:
            raise ValueError(f"training.shape must be {' or '.join(SHAPES)}, not {self.shape!r}")
        if self.decoder_norm not in DECODER_NORMS:
            raise ValueError(f"training.decoder_norm must be {', '.join(DECODER_NORMS)}, not {self.decoder_norm!r}")
        if not DEVICES.fullmatch(self.device):
            raise ValueError(f'training.device must be "cpu", "cuda" or one GPU, such as "cuda:1", not {self.device!r}')
        if self.backend not in BACKENDS:
            raise ValueError(f"training.backend must be {', '.join(BACKENDS)}, not {self.backend!r}")
        for name, of in (("decay", "the steps"), ("penalty_warmup", "the steps"), ("lr_end", "training.lr")):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"training.{name} is a share of {of}, from 0 to 1, not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """subject, site: whose activations, and where; several sites joined by + are read as one.
    target: the site to reconstruct, if not that one: a transcoder; skip: with a linear path beside its codes.
    method, d_sae: which dictionary, with how many features.
    encoder: "affine()", or what comes before it; objective: what the reconstruction is to be close in.
    start: where the encoder's weights start; b_dec: where that does, "zero", "mean" or "geometric_median", or "none",
    for zero throughout, a dictionary without one;
    normalise: "none", "scale", "centre", "each", "direction" or "whiten"; revive: what brings dead features back;
    seed: of the initial weights."""

    subject: str = "othello()"
    site: str = "resid_post.0"
    target: str = ""
    skip: bool = False
    method: str = "topk(k=64)"
    d_sae: int = 1024
    encoder: str = "affine()"
    objective: str = "squared()"
    start: str = "transpose()"
    normalise: str = "centre"
    b_dec: str = "geometric_median"
    revive: str = "auxk()"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not self.site:
            raise ValueError("a run needs a site, such as resid_post.0")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")

    @property
    def hash(self) -> str:
        """Eight hex digits that differ when anything in the config does."""
        return hashlib.sha256(json.dumps(to_dict(self), sort_keys=True).encode()).hexdigest()[:8]


def to_dict(config: Any) -> dict[str, Any]:
    return dataclasses.asdict(config)


def from_dict(kind: type[T], values: dict[str, Any], where: str = "") -> T:
    """A config from nested dictionaries. Raises ValueError for an unknown key (naming the nearest) or another type."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise ValueError(f"the configuration has no {where}{key}{nearest(key, fields)}")
        default = getattr(kind(), key)
        if dataclasses.is_dataclass(default):
            if not isinstance(value, dict):
                raise ValueError(f"{where}{key} holds several settings: write {where}{key}.NAME=VALUE")
            arguments[key] = from_dict(type(default), value, f"{where}{key}.")
            continue
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            raise ValueError(f"{where}{key} must be a {type(default).__name__}, not {value!r}")
        arguments[key] = value
    return kind(**arguments)


def override(config: T, settings: dict[str, Any]) -> T:
    """The config with some leaves changed, named with dots: `{"training.lr": 1e-3}`. Raises as `from_dict` does."""
    values = to_dict(config)
    for name, value in settings.items():
        *rooms, leaf = name.split(".")
        at = values
        for room in rooms:
            if not isinstance(at.get(room), dict):
                raise ValueError(
                    f"the configuration has no {name}{nearest(room, [k for k in at if isinstance(at[k], dict)])}"
                )
            at = at[room]
        at[leaf] = value
    return from_dict(type(config), values)
