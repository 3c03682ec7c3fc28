"""The bytes of a JSON file as one object, refused where they are none or beyond all measure."""

from __future__ import annotations

import codecs
import json
from typing import Any

import orjson

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Parsed, 16 MiB of the smallest objects take about 600 MB. The largest model of botocore has 4.3 MB, the largest
discovery document 6 MB."""
_MAX_TAGS = 200_000
"""In all descriptions together: converting 20,000 tags that stand inside each other takes half a second. The largest
service model has 63,255."""
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


class JsonDocumentError(ValueError):
    """The bytes are no JSON object ("malformed_spec"), or a too large one ("oversized", "too_large")."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def json_object(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """The object, and the keys that stand twice in one object of it (the last one counts). Raises
    :class:`JsonDocumentError`; for bytes that are no JSON it names line and column."""
    data = _utf8(data)
    tags = data.count(b"<") + data.count(b"\\u003c") + data.count(b"\\u003C")
    if tags > _MAX_TAGS:
        raise JsonDocumentError("too_large", f"{tags:,} tags in descriptions, at most {_MAX_TAGS:,} are read")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise JsonDocumentError("malformed_spec", f"no JSON: {error}") from None
    if not isinstance(value, dict):
        raise JsonDocumentError("malformed_spec", f"an object is expected, this is a {type(value).__name__}")
    return value, _repeated_keys(data, value)


def _utf8(data: bytes) -> bytes:
    if len(data) > MAX_JSON_BYTES:
        raise JsonDocumentError("oversized", f"more than {MAX_JSON_BYTES:,} bytes")
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), None)
    if encoding is None:
        return data
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding).encode()
    except UnicodeError as error:
        raise JsonDocumentError("malformed_spec", f"no {encoding.upper()}: {error}") from None


def _repeated_keys(data: bytes, value: dict[str, Any]) -> list[str]:
    """orjson keeps the last of equal keys and says nothing: they are looked for only where fewer keys came out of the
    bytes than stand in them."""
    try:
        kept = _count_keys(orjson.dumps(value))
    except TypeError:  # nested deeper than orjson writes
        kept = -1
    if kept == _count_keys(data):
        return []
    found: dict[str, None] = {}

    def collect(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found[key] = None
            seen.add(key)

    try:
        json.loads(data, object_pairs_hook=collect)
    except (ValueError, RecursionError):
        return []
    return sorted(found)


def _count_keys(data: bytes) -> int:
    """A quote before a colon ends a key, unless it is escaped, which is inside a text."""
    return data.count(b'":') + data.count(b'" :') - data.count(b'\\":') - data.count(b'\\" :')
