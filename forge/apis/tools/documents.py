"""The JSON documents of one file: a whole one or one a line, with repairs that leave nothing to guess."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from forge.apis.json_documents import MAX_JSON_BYTES, JsonDocumentError, json_object
from forge.stored_files import Problem
from forge.text.encoding import UnknownEncodingError, decode

MAX_LINES_BYTES = 64 * 1024 * 1024
_MAX_MENDED_CHARACTERS = 4_000_000
_MAX_TOLD = 5
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"?|[\[\]{},]')


@dataclass(frozen=True, slots=True)
class JsonPart:
    """One document. ``part`` is its line or entry in the file (from 1), "" for the whole file."""

    part: str
    value: Any


def json_parts(data: bytes, is_lines: bool = False) -> Iterator[JsonPart | Problem]:
    """The documents of a file: the whole, else its lines (``is_lines``, or where the first line is a document). A file
    that is no JSON only for commas is read all the same, after one problem that says what was wrong where: commas
    before a closing bracket are dropped, and the entries of a list stand for themselves, whatever is between them. Of
    such a list an entry that is itself no JSON is a problem of its own.
    """
    if len(data) > MAX_LINES_BYTES:
        yield Problem("", "oversized", f"more than {MAX_LINES_BYTES:,} bytes")
        return
    try:
        text = decode(data)[0]
    except UnknownEncodingError as error:
        yield Problem("", "unknown_encoding", str(error))
        return
    if is_lines:
        yield from _lines(text)
        return
    if len(data) > MAX_JSON_BYTES:
        yield Problem("", "oversized", f"more than {MAX_JSON_BYTES:,} bytes of one document")
        return
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if _begins_with_a_line(text):
            yield from _lines(text)
        else:
            yield from _mended(text, error)
        return
    yield from _repeated_keys(text, value)
    yield JsonPart("", value)


def _repeated_keys(text: str, value: Any) -> Iterator[Problem]:
    if not isinstance(value, dict | list):
        return
    try:
        _, repeated = json_object(text.encode() if isinstance(value, dict) else f'{{"": {text}}}'.encode())
    except JsonDocumentError as error:
        yield Problem("", error.reason, str(error))
        return
    if repeated:
        told = ", ".join(repr(key[:100]) for key in repeated[:_MAX_TOLD])
        yield Problem("", "duplicate_keys", f"keys that stand twice, the last one counts: {told}")


# --- one document a line ------------------------------------------------------------------------------------------


def _begins_with_a_line(text: str) -> bool:
    head, _, rest = text.lstrip().partition("\n")
    if not rest.strip() or not head.startswith(("{", "[")):
        return False
    try:
        orjson.loads(head)
    except orjson.JSONDecodeError:
        return False
    return True


def _lines(text: str) -> Iterator[JsonPart | Problem]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if len(line) > MAX_JSON_BYTES:
            yield Problem(str(number), "oversized", f"{len(line):,} characters")
            continue
        try:
            yield JsonPart(str(number), orjson.loads(line))
        except orjson.JSONDecodeError as error:
            yield Problem(str(number), "malformed_json", f"{error.msg} at column {error.colno}")


# --- repairs ------------------------------------------------------------------------------------------------------


def _mended(text: str, error: orjson.JSONDecodeError) -> Iterator[JsonPart | Problem]:
    place = f"{error.msg} at line {error.lineno} column {error.colno}"
    if len(text) > _MAX_MENDED_CHARACTERS:
        yield Problem("", "malformed_json", place)
        return
    commas, spans = _structure(text)
    mended = _without(text, 0, len(text), commas)
    dropped = f"{len(commas):,} trailing commas"
    try:
        value = orjson.loads(mended)
    except orjson.JSONDecodeError:
        pass
    else:
        yield Problem("", "malformed_json", f"{place}; read without {dropped}")
        yield JsonPart("", value)
        return
    if not spans:
        yield Problem("", "malformed_json", place)
        return
    found: list[JsonPart | Problem] = []
    for number, (start, end) in enumerate(spans, start=1):
        try:
            found.append(JsonPart(str(number), orjson.loads(_without(text, start, end, commas))))
        except orjson.JSONDecodeError as inner:
            line = text.count("\n", 0, start) + inner.lineno
            found.append(Problem(f"entry {number}", "malformed_entry", f"{inner.msg} at line {line}"))
    read = sum(isinstance(part, JsonPart) for part in found)
    yield Problem("", "malformed_json", f"{place}; {read} of {len(found)} entries read, without {dropped}")
    yield from found


def _structure(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Where commas stand before a closing bracket, and from where to where the outermost objects of a list go (lists
    in it count as part of it). A string ends at the end of its line at the latest."""
    commas: list[int] = []
    spans: list[tuple[int, int]] = []
    depth = start = 0
    comma = -1
    is_list = text.lstrip()[:1] == "["
    for match in _TOKEN.finditer(text):
        mark = match[0]
        if mark == ",":
            comma = match.start()
            continue
        if mark == "{":
            if depth == 0:
                start = match.start()
            depth += 1
        elif mark in "}]":
            if comma >= 0 and not text[comma + 1 : match.start()].strip():
                commas.append(comma)
            if mark == "}" and depth:
                depth -= 1
                if depth == 0 and is_list:
                    spans.append((start, match.end()))
        comma = -1
    if depth and is_list:
        spans.append((start, len(text)))
    return commas, spans


def _without(text: str, start: int, end: int, positions: list[int]) -> str:
    """``text[start:end]`` without what stands at the positions (ascending): a space is there instead."""
    pieces: list[str] = []
    for position in positions[bisect_left(positions, start) : bisect_left(positions, end)]:
        pieces += [text[start:position], " "]
        start = position + 1
    return "".join([*pieces, text[start:end]])
