"""Types of Haskell functions -> parameters and result.

Foldable t => (a -> b -> b) -> b -> t a -> b
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from forge.apis.property_order import with_order

MAX_CHARACTERS = 10_000

_QUANTIFIER = re.compile(r"(?:forall|\u2200)\b[^.]*\.\s*")
_INTEGERS = re.compile(r"(?:Int|Word)(?:8|16|32|64)?|Integer|Natural")
_STRINGS = frozenset({"String", "Text", "FilePath", "Char", "[Char]", "ByteString"})
_NUMBERS = frozenset({"Double", "Float"})


def split_type(text: str) -> list[str]:
    """The types of the arguments and, last, of the result, without what is quantified and asked of them."""
    text = " ".join(text[: MAX_CHARACTERS + 1].split())
    if len(text) > MAX_CHARACTERS:
        return []
    while True:
        quantifier = _QUANTIFIER.match(text)
        rest = text[quantifier.end() :] if quantifier else text
        parts = _split(rest, "=>")
        rest = parts[-1] if len(parts) > 1 else rest
        if rest == text:
            break
        text = rest
    return [part for part in _split(text, "->") if part]


def haskell_schema(arguments: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """JSON Schema of a call from types and descriptions. Arguments have no names: each is called by its place, "arg1",
    and marked ``x-unnamed``."""
    properties: dict[str, Any] = {}
    for number, (kind, description) in enumerate(arguments, start=1):
        schema = {**haskell_type_schema(kind), "x-unnamed": True}
        properties[f"arg{number}"] = {**schema, "description": description} if description else schema
    schema = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = list(properties)
    return with_order(schema)


def haskell_type_schema(kind: str) -> dict[str, Any]:
    """The type as ``x-type``, and the JSON type beside it where that is plain; {} for none and for ``()``."""
    if kind in {"", "()"}:
        return {}
    schema: dict[str, Any] = {"x-type": kind}
    if _INTEGERS.fullmatch(kind):
        schema["type"] = "integer"
    elif kind in _NUMBERS:
        schema["type"] = "number"
    elif kind == "Bool":
        schema["type"] = "boolean"
    elif kind in _STRINGS:
        schema["type"] = "string"
    elif kind.startswith("[") and kind.endswith("]"):
        schema["type"] = "array"
    return schema


def _split(text: str, arrow: str) -> list[str]:
    """At the arrows that stand in no bracket."""
    pieces: list[str] = []
    start = depth = 0
    for match in re.finditer(r"[(\[{]|[)\]}]|(?<![^\s()\[\]])(?:->|=>)(?![^\s()\[\]])", text):
        found = match.group()
        if found in "([{":
            depth += 1
        elif found in ")]}":
            depth = max(0, depth - 1)
        elif found == arrow and depth == 0:
            pieces.append(re.sub(r"\s*%\S+$", "", text[start : match.start()].strip()))
            start = match.end()
    return [*pieces, text[start:].strip()]
