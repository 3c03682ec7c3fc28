"""JSON values inside other text: tool lists in system prompts, calls in what a model says. In linear time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from forge.schema import is_deeper_than
from forge.trajectories.formats.fields import MAX_NESTING, parsed_json

MAX_FALSE_STARTS = 16
"""Brackets that begin no JSON value, after which a text is not searched further."""

_START = re.compile(r"[{\[]")
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\]]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Embedded:
    """An object or a list, and where in the text it stands."""

    value: Any
    start: int
    end: int


def embedded_values(text: str, start: int = 0) -> Iterator[Embedded]:
    """The outermost objects and lists in the text, in order."""
    missed = 0
    while missed <= MAX_FALSE_STARTS and (opening := _START.search(text, start)):
        found = value_at(text, opening.start())
        if found is None:
            missed += 1
            start = opening.end()
        else:
            yield found
            start = found.end


def value_at(text: str, start: int) -> Embedded | None:
    """The object or list that begins at ``start``; None when that is none, or one of too many levels."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token.group() in ("{", "["):
            depth += 1
        elif token.group() in ("}", "]"):
            depth -= 1
            if depth == 0:
                value = parsed_json(text[start : token.end()])
                usable = isinstance(value, (dict, list)) and not is_deeper_than(value, MAX_NESTING)
                return Embedded(value, start, token.end()) if usable else None
        if depth > MAX_NESTING:
            return None
    return None


def without(text: str, found: Iterable[Embedded]) -> str:
    """The text around the values, a line for each piece."""
    pieces, end = [], 0
    for one in found:
        pieces.append(text[end : one.start].strip())
        end = one.end
    pieces.append(text[end:].strip())
    return "\n".join(piece for piece in pieces if piece)


def values_only(text: str) -> list[Any] | None:
    """The values of a text of nothing but JSON objects and lists, with white space or commas between them."""
    values: list[Any] = []
    end = 0
    for found in embedded_values(text):
        if text[end : found.start].strip(" \t\r\n,"):
            return None
        values.append(found.value)
        end = found.end
    return None if text[end:].strip() else values
