"""A user's own files as a source: globs on disk or in an object store, of JSON Lines, Parquet, plain text or OpenAPI.

An item is one file (:mod:`forge.stored_files`). Options of a source of type ``files`` are :class:`FileOptions`.
Everything is bounded and streamed; what cannot be used is a :class:`Problem`, which the readers of the kinds
(:mod:`forge.apis.files`, :mod:`forge.text.files`) turn into decisions. Trajectories have a type of their own
(:mod:`forge.trajectories.files`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from forge.config import Settings, SourceSettings, source_options
from forge.rows import DEFAULT_ROW_BYTES, lines, rows
from forge.schema import Item
from forge.stored_files import Problem, Size, StoredFile, StoredFilesOptions, list_stored_files

FileKind = Literal["api_doc", "text", "code"]
FileFormat = Literal["jsonl", "json", "parquet", "text", "openapi"]

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

    kind: FileKind = Field(description="api_doc, text or code")
    format: Literal["auto", "jsonl", "parquet", "text", "openapi"] = Field("auto", description="auto: by the suffix")
    text_field: str = Field("text", description="column of a row's text")
    id_field: str | None = Field(None, description="column of a row's id; default: its number")
    title_field: str | None = Field(None, description="column of a row's title")
    uri_field: str | None = Field(None, description="column of a row's address")
    license_field: str | None = Field(None, description="column of a row's licence; it goes before the source's")
    language: str = Field("", description="of code, or of the text; default: by the suffix")
    max_row_bytes: Size = Field(DEFAULT_ROW_BYTES, description="of one line, one row or one text file")


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
        found = _FORMAT_OF_SUFFIX.get(self.path.suffix.lower(), default)
        if found == "openapi" or (found == "json" and self.options.kind in {"api_doc", "code"}):
            return default
        return found

    def lines(self) -> Iterator[tuple[int, bytes] | Problem]:
        """(number from 1, line) of every line that is not blank and not longer than ``max_row_bytes``."""
        return lines(self, self.options.max_row_bytes)

    def rows(self) -> Iterator[tuple[str, dict[str, Any]] | Problem]:
        """(place, object) of every row of a JSON Lines, JSON or Parquet file. Never raises for bad input."""
        found = self.format
        return rows(self, found if found in ("json", "parquet") else "jsonl", self.options.max_row_bytes)
