"""Rows of JSON Lines, JSON and Parquet files, streamed within bounds: one row is in memory at a time, and of a JSON
document beyond :data:`WHOLE_BYTES` not the document either.

What cannot be used is a :class:`Problem`; nothing here raises for bad input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, Literal

import ijson
import numpy as np
import orjson
import pyarrow as pa

from forge.schema import is_deeper_than
from forge.stored_files import Problem, StoredFile, filesystem

RowFormat = Literal["jsonl", "json", "parquet"]
Row = tuple[str, Any]
"""Where a value stands (its line or place from 1, or its key in an object of rows), and the value."""

WHOLE_BYTES = 32 * 1024 * 1024
"""A JSON document up to this size is parsed at once, which is five times as fast as parsing it as a stream."""
DEFAULT_ROW_BYTES = 16 * 1024 * 1024
MAX_NESTING = 64
_MAX_STREAMED_NESTING = 1_000
"""The parser of streams needs time and memory by the square of the levels: a megabyte of ``[`` takes all there is."""
_FED_BYTES = 64 * 1024
MAX_PARQUET_ROW_GROUP_BYTES = 4 * 1024**3
_PARQUET_BATCH_ROWS = 256
_UTF8_MARK = b"\xef\xbb\xbf"
_NO_NUMBERS = (b"NaN", b"Infinity")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


class _UnusableFileError(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


def rows(file: StoredFile, row_format: RowFormat, max_row_bytes: int) -> Iterator[tuple[str, dict[str, Any]] | Problem]:
    """(place, object) of every row. A JSON document that is one object is one row."""
    for found in values(file, row_format, max_row_bytes):
        if isinstance(found, Problem):
            yield found
        elif isinstance(found[1], dict):
            yield found[0] or "1", found[1]
        else:
            yield Problem(found[0] or "1", "not_an_object", f"a row is a {type(found[1]).__name__}")


def values(file: StoredFile, row_format: RowFormat, max_row_bytes: int) -> Iterator[Row | Problem]:
    """(place, JSON value) of every row: objects of Parquet files, any values of the others. The place of a JSON
    document that is one value is ""."""
    if row_format == "parquet":
        found = _parquet_values(file)
    elif row_format == "json":
        found = _json_values(file, max_row_bytes)
    else:
        found = (line if isinstance(line, Problem) else _line_value(*line) for line in lines(file, max_row_bytes))
    for one in found:
        if not isinstance(one, Problem) and isinstance(one[1], (dict, list)) and is_deeper_than(one[1], MAX_NESTING):
            yield Problem(one[0], "too_deeply_nested", f"more than {MAX_NESTING} levels")
        else:
            yield one


def lines(file: StoredFile, max_line_bytes: int) -> Iterator[tuple[int, bytes] | Problem]:
    """(number from 1, line) of every line that is not blank and not longer than ``max_line_bytes``."""
    number, pending_bytes, skipping, anything = 0, 0, False, False
    pending: list[bytes] = []
    for chunk in file.chunks():
        if isinstance(chunk, Problem):
            yield Problem(str(number + 1), chunk.reason, chunk.detail) if number else chunk
            return
        if not number and not pending and chunk.startswith(_WIDE_MARKS):
            yield Problem("", "unknown_encoding", "UTF-16; JSON Lines are UTF-8")
            return
        *complete, rest = chunk.split(b"\n")
        for end in complete:
            number += 1
            line = b"".join([*pending, end])
            pending, pending_bytes = [], 0
            anything = anything or skipping or bool(line.strip())
            if not skipping:
                yield from _bounded_line(number, line, max_line_bytes)
            skipping = False
        pending.append(rest)
        pending_bytes += len(rest)
        if pending_bytes > max_line_bytes:
            if not skipping:
                yield Problem(str(number + 1), "oversized", f"a line of more than {max_line_bytes:,} bytes")
            pending, pending_bytes, skipping = [], 0, True
    if not skipping:
        line = b"".join(pending)
        anything = anything or bool(line.strip())
        yield from _bounded_line(number + 1, line, max_line_bytes)
    if not anything and not skipping:
        yield Problem("", "empty_file")


def _bounded_line(number: int, line: bytes, limit_bytes: int) -> Iterator[tuple[int, bytes] | Problem]:
    if number == 1:
        line = line.removeprefix(_UTF8_MARK)
    line = line.strip()
    if len(line) > limit_bytes:
        yield Problem(str(number), "oversized", f"a line of {len(line):,} bytes, at most {limit_bytes:,} are read")
    elif line:
        yield number, line


def _line_value(number: int, line: bytes) -> Row | Problem:
    try:
        return str(number), _loads(line)
    except orjson.JSONDecodeError as error:
        return _bad_json(str(number), line, error)


def _loads(data: bytes) -> Any:
    """A JSON value. What Python's own writer makes of numbers that JSON has not (NaN, Infinity) is null; half a
    surrogate pair and integers beyond 64 bits are damage with them, as they are without."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if not any(name in data for name in _NO_NUMBERS):
            raise
        try:
            value = json.loads(data, parse_constant=lambda _name: None)
            orjson.dumps(value)
        except (ValueError, RecursionError, orjson.JSONEncodeError):
            pass
        else:
            return value
        raise


def _bad_json(part: str, data: bytes, error: Exception) -> Problem:
    try:
        data.decode()
    except UnicodeDecodeError as broken:
        return Problem(part, "unknown_encoding", f"not UTF-8: {broken.reason} at byte {broken.start}")
    return Problem(part, "invalid_json", str(error))


def _json_values(file: StoredFile, max_row_bytes: int) -> Iterator[Row | Problem]:
    chunks = file.chunks()
    head: list[bytes | Problem] = []
    size = limit = 0
    for chunk in chunks:
        head.append(chunk)
        if isinstance(chunk, Problem):
            break
        size += len(chunk)
        limit = limit or _whole_limit(chunk, max_row_bytes)
        if size > limit:
            yield from _streamed(chain(head, chunks), max_row_bytes)
            return
    if head and isinstance(head[-1], Problem):  # what stands before the damage is read
        yield from _streamed(iter(head), max_row_bytes) if len(head) > 1 else iter((head[-1],))
        return
    data = b"".join(part for part in head if isinstance(part, bytes)).removeprefix(_UTF8_MARK).strip()
    if not data:
        yield Problem("", "empty_file")
        return
    if data.startswith(_WIDE_MARKS):
        yield Problem("", "unknown_encoding", "UTF-16; JSON is UTF-8")
        return
    try:
        value = _loads(data)
    except orjson.JSONDecodeError as error:
        if data.startswith(b"["):
            yield from _streamed(iter((data,)), max_row_bytes)
        elif len(first_two := data.split(b"\n", 2)[:2]) == 2 and all(_is_json(line) for line in first_two):
            yield from (found if isinstance(found, Problem) else _line_value(*found) for found in _split(data))
        else:
            yield _bad_json("", data, error)
        return
    if isinstance(value, list):
        if not value:
            yield Problem("", "empty_file", "an empty array")
        yield from ((str(place), row) for place, row in enumerate(value, start=1))
    else:
        yield "", value


def _whole_limit(start: bytes, max_row_bytes: int) -> int:
    """A document that is one object may be one row, which streaming its entries would take apart: where such rows are
    allowed, it is parsed at once."""
    is_object = start.removeprefix(_UTF8_MARK).lstrip().startswith(b"{")
    return max(WHOLE_BYTES, max_row_bytes) if is_object and max_row_bytes > DEFAULT_ROW_BYTES else WHOLE_BYTES


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _split(data: bytes) -> Iterator[tuple[int, bytes] | Problem]:
    """The lines of JSON Lines whose file is called .json."""
    return ((number, line.strip()) for number, line in enumerate(data.split(b"\n"), start=1) if line.strip())


def _streamed(chunks: Iterator[bytes | Problem], max_row_bytes: int) -> Iterator[Row | Problem]:
    """The elements of an array, or the entries of an object, in constant memory: what was read before a damage is
    given, and then the damage. The rest of a document after a row beyond the limit is lost, and said to be."""
    found: Any = ijson.sendable_list()
    parser: Any = None
    is_array = False
    place = fed = 0
    levels = _Levels()
    for chunk in _pieces(chunks):
        if isinstance(chunk, Problem):
            yield Problem(str(place + 1), chunk.reason, chunk.detail)
            return
        if parser is None:
            chunk = chunk.removeprefix(_UTF8_MARK).lstrip()
            if not chunk:
                continue
            if chunk[:1] not in b"[{":
                yield Problem("", "invalid_json", "neither an array nor an object of rows")
                return
            is_array = chunk[:1] == b"["
            parser = (
                ijson.items_coro(found, "item", use_float=True)
                if is_array
                else ijson.kvitems_coro(found, "", use_float=True)
            )
        if levels.deepest_in(chunk) > _MAX_STREAMED_NESTING:
            detail = f"more than {_MAX_STREAMED_NESTING:,} levels; the rest is not read"
            yield Problem(str(place + 1), "too_deeply_nested", detail)
            return
        damage = _sent(parser, chunk)
        fed = 0 if found else fed + len(chunk)
        for entry in found:
            place += 1
            yield (str(place), entry) if is_array else (str(entry[0]), entry[1])
        found.clear()
        if damage is not None:
            yield Problem(str(place + 1), "invalid_json", damage)
            return
        if fed > max_row_bytes:
            yield Problem(
                str(place + 1), "oversized", f"a row of more than {max_row_bytes:,} bytes; the rest is not read"
            )
            return
    damage = "an empty document" if parser is None else _sent(parser, None)
    if damage is not None:
        yield Problem(str(place + 1), "truncated_json" if "premature EOF" in damage else "invalid_json", damage)


def _pieces(chunks: Iterator[bytes | Problem]) -> Iterator[bytes | Problem]:
    for chunk in chunks:
        if isinstance(chunk, Problem):
            yield chunk
        else:
            yield from (chunk[start : start + _FED_BYTES] for start in range(0, len(chunk), _FED_BYTES))


class _Levels:
    """Counts levels of nesting in JSON text that comes in pieces."""

    _ESCAPED = re.compile(rb"\\.", re.DOTALL)
    _OTHERS = bytes(set(range(256)) - set(b"[]{}"))

    def __init__(self) -> None:
        self._level = 0
        self._in_string = False
        self._escape = b""

    def deepest_in(self, piece: bytes) -> int:
        """The deepest level within the next piece."""
        plain = self._ESCAPED.sub(b"", self._escape + piece)
        self._escape = plain[-1:] if plain.endswith(b"\\") else b""
        parts = plain.split(b'"')
        brackets = b"".join(parts[self._in_string :: 2]).translate(None, self._OTHERS)
        self._in_string ^= len(parts) % 2 == 0
        if not brackets:
            return self._level
        opened = (np.frombuffer(brackets, np.uint8) & 0x06) == 0x02  # [ { are 5B 7B, ] } are 5D 7D
        levels = self._level + np.cumsum(np.where(opened, 1, -1))
        self._level = int(levels[-1])
        return int(levels.max())


def _sent(parser: Any, chunk: bytes | None) -> str | None:
    """Feeds the parser, or ends it with None; what is wrong with the document, if anything."""
    try:
        parser.close() if chunk is None else parser.send(chunk)
    except (ijson.JSONError, ValueError, OverflowError, RecursionError) as error:
        return " ".join(str(error).split())[:200]
    return None


def _parquet_values(file: StoredFile) -> Iterator[Row | Problem]:
    import pyarrow.parquet as pq

    lake, locator = file.settings.lake, file.item.locator
    number = 0
    try:
        store = filesystem(locator["store"], lake.s3_endpoint, lake.s3_region)
        with store.open_input_file(locator["path"]) as raw:
            if raw.size() == 0:
                raise _UnusableFileError("empty_file")
            parquet = pq.ParquetFile(raw)
            groups = [parquet.metadata.row_group(index).total_byte_size for index in range(parquet.num_row_groups)]
            if sum(groups) > file.options.max_unpacked_bytes or max(groups, default=0) > MAX_PARQUET_ROW_GROUP_BYTES:
                raise _UnusableFileError("oversized", f"{sum(groups):,} bytes unpacked")
            if not parquet.metadata.num_rows:
                raise _UnusableFileError("empty_file", "no rows")
            for batch in parquet.iter_batches(batch_size=_PARQUET_BATCH_ROWS, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield str(number), row
    except _UnusableFileError as error:
        yield Problem("", error.reason, str(error))
    except UnicodeDecodeError as error:
        yield Problem(str(number + 1), "unknown_encoding", f"not UTF-8: {error.reason}; the rest is not read")
    except (pa.ArrowException, OSError) as error:
        yield Problem(str(number + 1) if number else "", "malformed_parquet", str(error))
