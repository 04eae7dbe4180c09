"""Names for things that can be built: "topk(k=32)" finds `topk` and calls it, with literals only.

One notation for the command line, Python, JSON, the name of a run and the row of a table.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Builder = TypeVar("Builder", bound=Callable[..., Any])


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown name: "; did you mean 'topk'?", or all the choices when none is near."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def parse(call: str) -> tuple[str, dict[str, Any]]:
    """The name and the keyword arguments of a call: "topk(k=32)" -> ("topk", {"k": 32}); "relu" -> ("relu", {}).

    Raises ValueError for anything that is not a name, or a call with literal keyword arguments.
    """
    try:
        tree = ast.parse(call.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args:
            arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in tree.keywords}
            names = [name for name in arguments if name is not None]  # None is the name of **
            if len(names) == len(tree.keywords):
                return tree.func.id, {name: arguments[name] for name in names}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):  # all of them raised by ast for bad text
        pass
    shown = call if len(call) < 80 else f"{call[:77]}..."
    raise ValueError(f"cannot read {shown!r}: write a name with literal keyword arguments, as in topk(k=32)")


_KINDS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "None": type(None)}


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a literal is of the annotated type; an annotation of more than simple types fits everything."""
    names = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    kinds = [_KINDS.get(name.strip()) for name in names.split("|")]
    return None in kinds or type(value) in kinds or (type(value) is int and float in kinds)


class Registry(Generic[T]):
    """The builders of one kind of thing, by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._builders: dict[str, Callable[..., T]] = {}

    def register(self, builder: Builder) -> Builder:
        """A decorator: enters `builder` under its function's name. Raises ValueError when the name is taken."""
        if builder.__name__ in self._builders:
            raise ValueError(f"two {self.kind}s are named {builder.__name__}")
        self._builders[builder.__name__] = builder
        return builder

    def build(self, call: str) -> T:
        """What the builder named in `call` returns.

        Raises ValueError for an unknown name or argument (naming the nearest), a value of another type than the
        builder's annotation says, or one that the builder refuses.
        """
        name, arguments = parse(call)
        builder = self[name]
        parameters = inspect.signature(builder).parameters
        for argument, value in arguments.items():
            if argument not in parameters:
                raise ValueError(
                    f"{name} has no argument {argument!r}{nearest(argument, parameters)}: {self.describe(name)}"
                )
            annotation = parameters[argument].annotation
            if not _fits(value, annotation):
                raise ValueError(f"{name} takes {argument} as {annotation}, not {value!r}: {self.describe(name)}")
        missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in arguments]
        if missing:
            raise ValueError(f"{name} needs a value for {', '.join(missing)}: {self.describe(name)}")
        return builder(**arguments)

    def describe(self, name: str) -> str:
        """The signature, as one writes it: "topk(k=32)"."""
        parameters = inspect.signature(self[name]).parameters.values()
        return f"{name}({', '.join(p.name if p.default is p.empty else f'{p.name}={p.default!r}' for p in parameters)})"

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._builders))

    def __getitem__(self, name: str) -> Callable[..., T]:
        """The builder of that name. Raises ValueError for an unknown one, naming the nearest."""
        if name not in self._builders:
            raise ValueError(f"no {self.kind} is called {name!r}{nearest(name, self._builders)}")
        return self._builders[name]
