"""A second device where there is none: tensors that say they are on another, and refuse to meet those that are not.

They say "meta", which torch has everywhere and which stands for a GPU here: code that asks for the processor is told
no. The numbers are the processor's own, so that what a training does "there" can be held to what it does here. As on a
GPU, a tensor from elsewhere may meet a scalar of the processor, be indexed by the processor's whole numbers, and be
copied to and fro; nothing else.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

THERE = torch.device("meta")
CROSSING = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}
INDEXING = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default}
INDEXING |= {torch.ops.aten._index_put_impl_.default}


class Elsewhere(Tensor):
    """held: the same on the processor."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=THERE,
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


def call(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    there = any(isinstance(each, Elsewhere) for each in tensors)
    if there and func not in CROSSING:
        for each in tensors:
            index = func in INDEXING and not each.is_floating_point()
            if not isinstance(each, Elsewhere) and each.ndim and not index:
                raise RuntimeError(f"{func} of tensors on two devices")
    to = kwargs.get("device")
    if to is not None:
        there, kwargs = torch.device(to) == THERE, kwargs | {"device": torch.device("cpu")}
    if func is torch.ops.aten.copy_.default:
        there = isinstance(args[0], Elsewhere)
    held_args, held_kwargs = tree_map_only(Elsewhere, lambda each: each.held, (args, kwargs))
    with _disable_current_modes():
        found = func(*held_args, **held_kwargs)
    if not there:
        return found
    found = tree_map_only(Tensor, Elsewhere, found)
    return return_and_correct_aliasing(func, args, kwargs, found)


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> TorchDispatchMode:
    """Within it there is such a device, and every training and fine-tuning is there."""
    for module in ("loop", "finetune"):
        monkeypatch.setattr(f"unweave.training.{module}.device", lambda name: THERE)
    return _Mode()
