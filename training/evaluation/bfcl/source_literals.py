"""Gold calls of BFCL's Java and JavaScript functions in the syntax that its decoder reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_JAVA_SUFFIXES = {"long": "L", "float": "f"}
_BOXED = {"long": "Long", "integer": "Integer", "String": "String"}
_PRIMITIVES = {"long": "long", "integer": "int", "char": "char", "String": "String"}


def render_source_calls(
    calls: Sequence[tuple[str, Mapping[str, Any]]], properties: Mapping[str, Mapping[str, Any]], language: str
) -> str:
    """``[f(a=1L, b="x")]``: values as literals of the types that ``properties`` gives each function's arguments.

    BFCL's decoder takes the quotes off a string and reads no escapes: a variable or an expression may stand in quotes,
    and what has quotes in itself stands as it is.
    """
    literal = _java if language == "java" else _javascript
    written = [
        f"{name}({', '.join(f'{key}={literal(value, properties[name][key])}' for key, value in arguments.items())})"
        for name, arguments in calls
    ]
    return "[" + ", ".join(written) + "]"


def _java(value: Any, schema: Mapping[str, Any]) -> str:
    if isinstance(value, list):
        inner = schema["items"]
        elements = ", ".join(_java(element, inner) for element in value)
        if schema["type"] == "Array":
            return f"new {_PRIMITIVES.get(inner['type'], 'Object')}[]{{{elements}}}"
        return f"new ArrayList<{_BOXED.get(inner['type'], 'Object')}>(Arrays.asList({elements}))"
    if isinstance(value, Mapping):
        entries = "".join(f' put("{key}", {_java(inner, {"type": "any"})});' for key, inner in value.items())
        return f"new HashMap<String, Object>() {{{{{entries} }}}}"
    return _scalar(value) + _JAVA_SUFFIXES.get(schema["type"], "")


def _javascript(value: Any, schema: Mapping[str, Any]) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_javascript(element, schema) for element in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{key}": {_javascript(inner, schema)}' for key, inner in value.items()) + "}"
    return _scalar(value)


def _scalar(value: str | bool | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if '"' in value else f'"{value}"'
    return str(value)
