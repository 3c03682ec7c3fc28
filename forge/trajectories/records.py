"""JSON records out of a file's bytes: JSON Lines or one JSON array, plain, gzip or Zstandard.

Everything is bounded: unpacked bytes, one record's bytes, nesting. A problem is a :class:`Problem` with its line number
and the records around it are still given.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from forge.schema import is_deeper_than

MAX_UNPACKED_BYTES = 1024**3
MAX_RECORD_BYTES = 16 * 1024 * 1024
MAX_ARRAY_BYTES = 128 * 1024 * 1024
MAX_NESTING = 64
_CHUNK_BYTES = 1 << 18
_GZIP, _ZSTANDARD, _BOM = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a record or the rest of a file cannot be read. ``line`` counts from 1; 0 is the file as a whole."""

    line: int
    reason: str
    detail: str = ""


def records(data: bytes) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    """(line or array position, object) of every record, and a problem for each that is none. Never raises.

    Problems: ``empty_file``, ``truncated_container``, ``corrupt_container``, ``oversized``, ``invalid_json``,
    ``not_an_object``, ``too_deeply_nested``.
    """
    stream = _unpacked(data)
    opening: list[bytes | Problem] = []
    start = b""
    for chunk in stream:  # up to the first byte that is not white space, which tells an array from lines
        opening.append(chunk)
        if isinstance(chunk, Problem):
            break
        start = (start + chunk).removeprefix(_BOM).lstrip()[:1]
        if start:
            break
    if not opening or (not start and isinstance(opening[-1], bytes)):
        yield Problem(0, "empty_file")
        return
    yield from (_array if start == b"[" else _lines)(chain(opening, stream))


def _unpacked(data: bytes) -> Iterator[bytes | Problem]:
    """The unpacked bytes in chunks; a problem, if there is one, comes last."""
    if data.startswith(_GZIP):
        chunks = _gunzipped(data)
    elif data.startswith(_ZSTANDARD):
        chunks = _unzstandard(data)
    else:
        view = io.BytesIO(data)
        chunks = iter(lambda: view.read(_CHUNK_BYTES), b"")
    total = 0
    for chunk in chunks:
        if isinstance(chunk, bytes):
            total += len(chunk)
            if total > MAX_UNPACKED_BYTES:
                yield Problem(0, "oversized", f"more than {MAX_UNPACKED_BYTES} bytes unpacked")
                return
        yield chunk


def _gunzipped(data: bytes) -> Iterator[bytes | Problem]:
    rest = data
    while rest.startswith(_GZIP):  # a gzip file may hold several members
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                chunk = member.decompress(rest, _CHUNK_BYTES)
            except zlib.error as error:
                yield Problem(0, "corrupt_container", str(error))
                return
            rest = member.unconsumed_tail
            if chunk:
                yield chunk
            elif not member.eof and not rest:
                yield Problem(0, "truncated_container", "the gzip stream ends in the middle")
                return
        rest = member.unused_data
    if rest.strip(b"\0"):
        yield Problem(0, "corrupt_container", "bytes after the end of the gzip stream")


def _unzstandard(data: bytes) -> Iterator[bytes | Problem]:
    import zstandard

    rest = data
    while rest:
        # stream_reader reads in bounded chunks but cannot tell a cut frame from a whole one; the frame's end can
        frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(read_across_frames=False)
        position = 0
        try:
            while position < len(rest) and not frame.eof:
                chunk = frame.decompress(rest[position : position + 512])
                position += 512
                if chunk:
                    yield chunk
        except zstandard.ZstdError as error:
            yield Problem(0, "corrupt_container", str(error))
            return
        if not frame.eof:
            yield Problem(0, "truncated_container", "the Zstandard frame ends in the middle")
            return
        rest = frame.unused_data + rest[position:]


def _lines(stream: Iterator[bytes | Problem]) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    number, pending, skipping = 0, b"", False
    ended: Problem | None = None
    for chunk in stream:
        if isinstance(chunk, Problem):
            ended = chunk
            break
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            number += 1
            if skipping:  # the rest of a line that was too long
                skipping = False
                continue
            yield from _record(number, line)
        if len(pending) > MAX_RECORD_BYTES:
            if not skipping:
                yield Problem(number + 1, "oversized", f"a line of more than {MAX_RECORD_BYTES} bytes")
            pending, skipping = b"", True
    if pending and not skipping and ended is None:
        yield from _record(number + 1, pending)
    if ended is not None:
        yield Problem(number + 1, ended.reason, ended.detail)


def _record(number: int, line: bytes) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    line = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
    if not line:
        return
    if len(line) > MAX_RECORD_BYTES:
        yield Problem(number, "oversized", f"a line of {len(line)} bytes, at most {MAX_RECORD_BYTES} are read")
        return
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        yield Problem(number, "invalid_json", str(error))
        return
    yield _checked(number, value)


def _array(stream: Iterator[bytes | Problem]) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    whole: list[bytes] = []
    total = 0
    for chunk in stream:
        if isinstance(chunk, Problem):
            yield chunk
            return
        total += len(chunk)
        if total > MAX_ARRAY_BYTES:
            yield Problem(0, "oversized", f"one JSON array of more than {MAX_ARRAY_BYTES} bytes; use one record a line")
            return
        whole.append(chunk)
    try:
        values = orjson.loads(b"".join(whole).removeprefix(_BOM).strip())
    except orjson.JSONDecodeError as error:
        yield Problem(error.lineno, "invalid_json", str(error))
        return
    for number, value in enumerate(values, start=1):
        yield _checked(number, value)


def _checked(number: int, value: Any) -> tuple[int, dict[str, Any]] | Problem:
    if not isinstance(value, dict):
        return Problem(number, "not_an_object", f"a record is a {type(value).__name__}")
    if is_deeper_than(value, MAX_NESTING):
        return Problem(number, "too_deeply_nested", f"more than {MAX_NESTING} levels")
    return number, value
