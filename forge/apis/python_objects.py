"""A documented object of a Python module: what is made by reading its source and by importing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ObjectKind = Literal["function", "class", "method", "attribute"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """``name`` has its stars ("*args", "**kwargs"). ``default`` is the text of an expression, None where the parameter
    is required, "" where it can be left out and the source does not say what is taken then."""

    name: str
    annotation: str = ""
    default: str | None = None

    @property
    def is_variadic(self) -> bool:
        return self.name.startswith("*")


@dataclass(frozen=True, slots=True)
class PythonObject:
    """``name`` is the path inside its module ("Basket.add"). ``docstring`` is clean (``inspect.cleandoc``).

    ``parameters`` are what a caller gives (no ``self``), None when that is unknown: a class that inherits its
    constructor. ``constructor_docstring`` is that of a class's ``__init__``. ``declaration`` is the source's own text
    of an interface that parameters cannot tell: an attribute, a signature that is no Python.
    """

    name: str
    kind: ObjectKind
    docstring: str
    parameters: Sequence[Parameter] | None = ()
    returns: str = ""
    constructor_docstring: str = ""
    declaration: str = ""


def is_public(name: str) -> bool:
    return not name.startswith("_")
