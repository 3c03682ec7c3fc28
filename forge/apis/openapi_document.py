"""The bytes of an OpenAPI or Swagger file as one document, refused where they are none or beyond all measure."""

from __future__ import annotations

import codecs
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from forge.apis.yaml_documents import load_yaml
from forge.schema import Decision

MAX_SPEC_BYTES = 64 * 1024 * 1024
_MAX_MEMORY_BYTES = 600_000_000
_COLLECTION_BYTES = 200  # an object or list with what is in it, as Python holds them
_VALUE_BYTES = 60
_MAX_TAGS = 1_000_000
_MAX_SEARCHED_BYTES = 16 * 1024 * 1024
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class SpecificationError(ValueError):
    """The file is no OpenAPI or Swagger document, or too large a one (``reason``)."""

    def __init__(self, message: str, reason: str = "malformed_spec") -> None:
        super().__init__(message)
        self.reason = reason

    def decision(self, source: str, item_id: str, step: str) -> Decision:
        return Decision(source, item_id, step, self.reason, f"{item_id}: {self}")


@contextmanager
def collector_paused() -> Iterator[None]:
    """Millions of new objects, none of them garbage: the collector would walk them again and again (half of the time
    that a large document takes)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_specification(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """The document, and which keys stand twice in one object (the last one counts). Raises
    :class:`SpecificationError`, which names the position where there is one."""
    data = _as_utf8(data)
    _check_size(data)
    document, repeated = _parsed(data)
    if not isinstance(document, dict):
        raise SpecificationError(f"a specification is an object, this is a {type(document).__name__}")
    stated = str(document.get("openapi") or document.get("swagger") or "")
    if not stated.startswith(("3.", "2.")):
        raise SpecificationError("neither 'openapi: 3.x' nor 'swagger: 2.0'")
    return document, repeated


def _check_size(data: bytes) -> None:
    if len(data) < _MAX_TAGS:
        return
    if data.count(b"<") > _MAX_TAGS:
        raise SpecificationError(f"more than {_MAX_TAGS:,} tags in descriptions", "too_large")
    collections, values = data.count(b"{") + data.count(b"["), data.count(b",")
    if collections * _COLLECTION_BYTES + values * _VALUE_BYTES > _MAX_MEMORY_BYTES:
        raise SpecificationError(f"{collections:,} objects and lists, {values:,} values", "too_large")


def _as_utf8(data: bytes) -> bytes:
    if len(data) > MAX_SPEC_BYTES:
        raise SpecificationError(f"more than {MAX_SPEC_BYTES:,} bytes", "oversized")
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), None)
    if encoding is None:
        return data
    if encoding == "utf-8":
        return data[len(codecs.BOM_UTF8) :]
    try:
        return data.decode(encoding).encode()
    except UnicodeError as error:
        raise SpecificationError(f"not valid {encoding.upper()}: {error}") from None


def _parsed(data: bytes) -> tuple[Any, list[str]]:
    try:
        document = orjson.loads(data)
        return document, _repeated_keys(data, document)
    except orjson.JSONDecodeError as json_error:
        if data.lstrip()[:1] in {b"{", b"["}:
            raise SpecificationError(f"not valid JSON: {json_error}") from None
    repeated: list[str] = []
    try:
        return load_yaml(data, repeated.append), repeated
    except ValueError as error:
        raise SpecificationError(str(error)) from None


def _repeated_keys(data: bytes, document: Any) -> list[str]:
    """Keys that stand twice in one object. The parser keeps the last and says nothing; so the keys of the bytes are
    counted against those of the document, and only where they differ is the place searched for."""
    try:
        again = orjson.dumps(document)
    except TypeError:  # nested deeper than orjson writes
        return []
    if again == data:  # the usual case: minified
        return []
    written, kept = _count_keys(data), _count_keys(again)
    if written == kept:
        return []
    if len(data) <= _MAX_SEARCHED_BYTES:
        return _search_repeated_keys(data)
    return [f"{written - kept:,} keys stand twice"] if written > kept else []


def _count_keys(data: bytes) -> int:
    """A quote before a colon ends a key, unless it is escaped, which is inside a text."""
    return data.count(b'":') + data.count(b'" :') - data.count(b'\\":') - data.count(b'\\" :')


class _Object(dict[str, Any]):
    """An object of which some keys stood twice."""

    repeated: tuple[str, ...] = ()


def _search_repeated_keys(data: bytes) -> list[str]:
    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        seen: set[str] = set()
        marked = _Object(found)
        marked.repeated = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
        return marked

    try:
        document = json.loads(data, object_pairs_hook=collect)
    except (ValueError, RecursionError):
        return []
    places: list[str] = []
    stack: list[tuple[str, Any]] = [("#", document)]
    while stack:
        pointer, value = stack.pop()
        if isinstance(value, _Object):
            places += [f"key {key[:100]!r} stands twice in {pointer[:200]}" for key in value.repeated]
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        stack += [
            (f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}", inner)
            for key, inner in entries
            if isinstance(inner, dict | list)
        ]
    return sorted(places)
