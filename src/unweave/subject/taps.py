"""Plain PyTorch hooks that show what stands at a place in a model and put something else there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from unweave.subject import mixture

Side = Literal["in", "through", "out", "router", "experts"]
Tap = Callable[[Tensor], Tensor | None]
"""Gets what stands at a place; the tensor that it returns takes its place, and None leaves all as it is."""


@dataclass(frozen=True)
class Place:
    """path: of a module. side: "in", what goes into it, and another tensor there changes what this module reads and
    nothing else; "through", what goes into it and from which the model also goes on beside it, as a residual stream
    does at a norm; "out", what comes out; the logits of a "router"; what each of the "experts" adds, side by side."""

    path: str
    side: Side


@contextmanager
def tapped(model: nn.Module, taps: Iterable[tuple[Place, Tap]]) -> Iterator[None]:
    """Hold each tap at its place, those at one place in the order given; all are gone afterwards, also after an
    error. They see what this thread runs the model on, and nothing of others: hooks are the module's, not a call's, and
    dictionaries that are trained end to end side by side run it at the same time."""
    handles: list[RemovableHandle] = []
    try:
        for place, tap in taps:
            handles.append(_hook(model.get_submodule(place.path), place.side, tap))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(module: Any, side: Side, tap: Tap) -> RemovableHandle:
    if side in ("in", "through"):

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            x = args[0] if args else kwargs["hidden_states"]
            y = tap(x)
            if y is not None and side == "through":
                # The norm and the residual addition read this one tensor, so it is written into. Nothing has kept it
                # for a gradient: it comes from an addition, and edits work on copies.
                x.copy_(y)
            if y is None or side == "through":
                return None
            return ((y, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": y})

        return module.register_forward_pre_hook(_in_this_thread(before), with_kwargs=True)

    def after(_module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if side == "router":
            logits = tap(mixture.logits(module, args[0]))
            return None if logits is None else (logits, *mixture.chosen(logits, module.top_k))
        if side == "experts":
            parts = tap(mixture.contributions(module, *args).flatten(1))
            return None if parts is None else parts.unflatten(1, (module.num_experts, -1)).sum(1)
        first = output[0] if type(output) is tuple and output else output
        y = tap(first) if isinstance(first, Tensor) else None
        return (y, *output[1:]) if type(output) is tuple and y is not None else y

    return module.register_forward_hook(_in_this_thread(after))


def _in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    mine = get_ident()
    return lambda *given: hook(*given) if get_ident() == mine else None
