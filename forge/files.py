"""A user's own files as a source: globs on disk or in an object store, of JSON Lines, Parquet, plain text or OpenAPI.

An item is one file (:mod:`forge.stored_files`). Options of a source of type ``files`` are :class:`FileOptions`.
Everything is bounded and streamed; what cannot be used is a :class:`Problem`, which the readers of the three kinds
(:mod:`forge.apis.files`, :mod:`forge.trajectories.files`, :mod:`forge.text.files`) turn into decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import pyarrow as pa
from pydantic import Field

from forge.config import Settings, SourceSettings, source_options
from forge.schema import Item, is_deeper_than
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, filesystem, list_stored_files

FileKind = Literal["api_doc", "trajectory", "text", "code"]
FileFormat = Literal["jsonl", "json", "parquet", "text", "openapi"]

MAX_ARRAY_BYTES = 128 * 1024 * 1024
MAX_NESTING = 64
MAX_PARQUET_ROW_GROUP_BYTES = 4 * 1024**3
_PARQUET_BATCH_ROWS = 256
_UTF8_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_FORMAT_OF_SUFFIX: Mapping[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".yaml": "openapi",
    ".yml": "openapi",
}


class FileOptions(StoredFilesOptions):
    """Options of a source of type ``files``.

    The ``_field`` options name columns of JSON Lines and Parquet rows of kinds text and code.
    """

    kind: FileKind = Field(description="api_doc, trajectory, text or code")
    format: Literal["auto", "jsonl", "parquet", "text", "openapi"] = Field("auto", description="auto: by the suffix")
    text_field: str = Field("text", description="column of a row's text")
    id_field: str | None = Field(None, description="column of a row's id; default: its number")
    title_field: str | None = Field(None, description="column of a row's title")
    uri_field: str | None = Field(None, description="column of a row's address")
    license_field: str | None = Field(None, description="column of a row's licence; it goes before the source's")
    language: str = Field("", description="of code, or of the text; default: by the suffix")
    max_row_bytes: Size = Field(16 * 1024 * 1024, description="of one line, one row or one text file")


class _UnusableFileError(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


def file_options(name: str, source: SourceSettings) -> FileOptions:
    """The validated options of a source. Raises :class:`ConfigurationError`: the key and what is allowed there."""
    return source_options(FileOptions, name, source)


def list_files(name: str, source: SourceSettings, settings: Settings, kinds: tuple[FileKind, ...]) -> Iterator[Item]:
    """The files of a source whose ``kind`` is one of ``kinds``; else none. Raises :class:`ConfigurationError`: see
    :func:`forge.stored_files.list_stored_files`."""
    options = file_options(name, source)
    if options.kind in kinds:
        yield from list_stored_files(name, source, settings, options)


@dataclass(frozen=True)
class OpenedFile(StoredFile):
    """One file of a source of type ``files``, to be read as what it is."""

    options: FileOptions

    @property
    def format(self) -> FileFormat:
        """As configured, else by suffix; API documentation is OpenAPI unless it is rows."""
        if self.options.format != "auto":
            return self.options.format
        default: FileFormat = "openapi" if self.options.kind == "api_doc" else "text"
        if self.options.kind == "trajectory":
            default = "jsonl"
        found = _FORMAT_OF_SUFFIX.get(self.path.suffix.lower(), default)
        if found == "openapi" or (found == "json" and self.options.kind in {"api_doc", "code"}):
            return default
        return found

    def lines(self) -> Iterator[tuple[int, bytes] | Problem]:
        """(number from 1, line) of every line that is not blank and not longer than ``max_row_bytes``."""
        limit = self.options.max_row_bytes
        number, pending, skipping, anything = 0, b"", False, False
        for chunk in self.chunks():
            if isinstance(chunk, Problem):
                yield Problem(str(number + 1), chunk.reason, chunk.detail) if number else chunk
                return
            if not number and not pending and chunk.startswith(_WIDE_MARKS):
                yield Problem("", "unknown_encoding", "UTF-16; JSON Lines are UTF-8")
                return
            *complete, pending = (pending + chunk).split(b"\n")
            for line in complete:
                number += 1
                anything = anything or skipping or bool(line.strip())
                if not skipping:
                    yield from _bounded_line(number, line, limit)
                skipping = False
            if len(pending) > limit:
                if not skipping:
                    yield Problem(str(number + 1), "oversized", f"a line of more than {limit:,} bytes")
                pending, skipping = b"", True
        if not skipping:
            anything = anything or bool(pending.strip())
            yield from _bounded_line(number + 1, pending, limit)
        if not anything and not skipping:
            yield Problem("", "empty_file")

    def rows(self) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
        """(number from 1, object) of every row of a JSON Lines, JSON or Parquet file. Never raises for bad input."""
        if self.format == "parquet":
            yield from self._parquet_rows()
        elif self.format == "json":
            yield from self._json_rows()
        else:
            for found in self.lines():
                yield found if isinstance(found, Problem) else _row(*found)

    def _json_rows(self) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
        content = self.whole(MAX_ARRAY_BYTES)
        if isinstance(content, Problem):
            yield content
            return
        try:
            value = orjson.loads(content.removeprefix(_UTF8_MARK))
        except orjson.JSONDecodeError as error:
            yield Problem("", "invalid_json", str(error))
            return
        for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
            yield _checked(number, row)

    def _parquet_rows(self) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
        import pyarrow.parquet as pq

        lake, locator = self.settings.lake, self.item.locator
        number = 0
        try:
            store = filesystem(locator["store"], lake.s3_endpoint, lake.s3_region)
            with store.open_input_file(locator["path"]) as raw:
                if raw.size() == 0:
                    raise _UnusableFileError("empty_file")
                parquet = pq.ParquetFile(raw)
                groups = [parquet.metadata.row_group(index).total_byte_size for index in range(parquet.num_row_groups)]
                if (
                    sum(groups) > self.options.max_unpacked_bytes
                    or max(groups, default=0) > MAX_PARQUET_ROW_GROUP_BYTES
                ):
                    raise _UnusableFileError("oversized", f"{sum(groups):,} bytes unpacked")
                if not parquet.metadata.num_rows:
                    raise _UnusableFileError("empty_file", "no rows")
                for batch in parquet.iter_batches(batch_size=_PARQUET_BATCH_ROWS, use_threads=False):
                    for row in batch.to_pylist():
                        number += 1
                        yield _checked(number, row)
        except _UnusableFileError as error:
            yield Problem("", error.reason, str(error))
        except (pa.ArrowException, OSError) as error:
            yield Problem(str(number + 1) if number else "", "malformed_parquet", str(error))


def _bounded_line(number: int, line: bytes, limit_bytes: int) -> Iterator[tuple[int, bytes] | Problem]:
    if number == 1:
        line = line.removeprefix(_UTF8_MARK)
    line = line.strip()
    if len(line) > limit_bytes:
        yield Problem(str(number), "oversized", f"a line of {len(line):,} bytes, at most {limit_bytes:,} are read")
    elif line:
        yield number, line


def _row(number: int, line: bytes) -> tuple[int, dict[str, Any]] | Problem:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            line.decode()
        except UnicodeDecodeError as broken:
            return Problem(str(number), "unknown_encoding", f"not UTF-8: {broken.reason} at byte {broken.start}")
        return Problem(str(number), "invalid_json", str(error))
    return _checked(number, value)


def _checked(number: int, value: object) -> tuple[int, dict[str, Any]] | Problem:
    if not isinstance(value, dict):
        return Problem(str(number), "not_an_object", f"a row is a {type(value).__name__}")
    if is_deeper_than(value, MAX_NESTING):
        return Problem(str(number), "too_deeply_nested", f"more than {MAX_NESTING} levels")
    return number, value
