"""Signatures as Rust writes them -> parameters, their types, the returned type.

pub fn insert<K: Ord>(&mut self, key: K, value: V) -> Option<V> where K: Ord
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from forge.apis.property_order import with_order

MAX_CHARACTERS = 10_000

_FN = re.compile(r"\bfn\s+((?:r#)?\w+)\s*")
_RECEIVER = re.compile(r"(?:&\s*(?:'\w+\s+)?)?(?:mut\s+)?self(?:\s*:.*)?", re.DOTALL)
_OPENING = {"(": ")", "[": "]", "{": "}", "<": ">"}
_CLOSING = frozenset(_OPENING.values())
_INTEGERS = frozenset({f"{sign}{size}" for sign in "iu" for size in ("8", "16", "32", "64", "128", "size")})
_STRINGS = frozenset({"&str", "String", "char", "&'static str", "&mut str", "&String"})


@dataclass(frozen=True, slots=True)
class RustSignature:
    """``receiver`` is how a method takes its object ("&mut self"), "" for a function; it is no parameter."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    returns: str = ""
    receiver: str = ""


def parse_rust_signature(text: str) -> RustSignature | None:
    """Of one function or method; None when the text is none."""
    text = " ".join(text[: MAX_CHARACTERS + 1].split())
    head = _FN.search(text)
    if len(text) > MAX_CHARACTERS or head is None:
        return None
    opening = head.end()
    if text[opening : opening + 1] == "<":
        opening = _end_of(text, opening)
    if text[opening : opening + 1] != "(":
        return None
    closing = _end_of(text, opening)
    parts = list(_parts(text[opening + 1 : closing - 1]))
    receiver = parts.pop(0) if parts and _RECEIVER.fullmatch(parts[0]) else ""
    tail = text[closing:].strip()
    returns = tail[2:].partition(" where ")[0].rstrip(" ;{,") if tail.startswith("->") else ""
    return RustSignature(head[1], tuple(_parameter(part) for part in parts), returns.strip(), receiver)


def rust_schema(signature: RustSignature) -> dict[str, Any]:
    """JSON Schema of a call: every parameter is required, its type as ``x-type``. One that is only a pattern or a type
    is called by its place."""
    properties = {
        name if name and name != "_" else f"arg{number}": rust_type_schema(kind)
        for number, (name, kind) in enumerate(signature.parameters, start=1)
    }
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = list(properties)
    return with_order(schema)


def rust_type_schema(kind: str) -> dict[str, Any]:
    """The type as ``x-type``, and the JSON type beside it where that is plain; {} for none and for ``()``."""
    if kind in {"", "()"}:
        return {}
    if kind in _INTEGERS:
        return {"type": "integer", "x-type": kind}
    if kind in {"f32", "f64"}:
        return {"type": "number", "x-type": kind}
    if kind == "bool":
        return {"type": "boolean", "x-type": kind}
    if kind in _STRINGS:
        return {"type": "string", "x-type": kind}
    return {"x-type": kind}


def _parameter(part: str) -> tuple[str, str]:
    match = re.match(r"(?:mut )?((?:r#)?\w+)\s*:(?!:)\s*", part)
    if match is not None:
        return match[1], part[match.end() :]
    pattern, colon, kind = part.partition("): ")
    return ("", kind) if colon and pattern.startswith("(") else ("", part)


def _parts(text: str) -> Iterator[str]:
    start = 0
    for position in _top_level_commas(text):
        if part := text[start:position].strip():
            yield part
        start = position + 1
    if part := text[start:].strip():
        yield part


def _top_level_commas(text: str) -> Iterator[int]:
    depth = 0
    for position, character in enumerate(text):
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING and not (character == ">" and text[position - 1 : position] in {"-", "="}):
            depth -= 1
        elif character == "," and depth == 0:
            yield position


def _end_of(text: str, opening: int) -> int:
    """Behind the bracket that closes the one at ``opening``; the end of the text when none does."""
    depth = 0
    for position in range(opening, len(text)):
        character = text[position]
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING and not (character == ">" and text[position - 1] in "-="):
            depth -= 1
            if depth == 0:
                return position + 1
    return len(text)


def self_type(impl: str) -> str:
    """The type of an implementation's heading: "impl<T, A> Box<T, A> where A: Allocator" is of ``Box<T, A>``."""
    text = " ".join(impl[:MAX_CHARACTERS].split())
    text = text[text.index("impl") + 4 :] if "impl" in text else text
    if text.startswith("<"):
        text = text[_end_of(text, 0) :]
    return text.partition(" where ")[0].strip()
