"""A user's own code and general text: text files, or rows of JSON Lines, JSON or Parquet (an item is one file)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge.config import Settings, SourceSettings
from forge.files import FileKind, OpenedFile, file_options, list_files
from forge.schema import Decision, Item, Kind, Text
from forge.stored_files import Problem
from forge.text.encoding import UnknownEncodingError, decode
from forge.text.licenses import spdx_of

_STEP = "read_texts"
_KINDS: tuple[FileKind, ...] = ("text", "code")
_LANGUAGES: Mapping[str, str] = {
    ".py": "python",
    ".pyi": "python",
    ".js": "javascript",
    ".ts": "typescript",
    ".java": "java",
    ".go": "go",
    ".rs": "rust",
    ".c": "c",
    ".h": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".hpp": "cpp",
    ".cs": "csharp",
    ".rb": "ruby",
    ".php": "php",
    ".sh": "shell",
    ".sql": "sql",
    ".scala": "scala",
    ".kt": "kotlin",
    ".swift": "swift",
    ".r": "r",
}


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """The files of a source of kind ``text`` or ``code``."""
    return list_files(name, source, settings, _KINDS)


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Text | Decision]:
    """One text of a text file, one of each row of a row file; a decision for whatever holds none."""
    file = OpenedFile(item, file_options(item.source, source), settings)
    problem = file.problem()
    if problem is not None:
        yield problem.decision(item, _STEP)
    elif file.format in {"text", "openapi"}:
        yield _whole_text(file, source)
    else:
        for found in file.rows():
            yield (
                found.decision(item, _STEP)
                if isinstance(found, Problem)
                else _row_text(*found, file=file, source=source)
            )


def _whole_text(file: OpenedFile, source: SourceSettings) -> Text | Decision:
    item = file.item
    content = file.whole(file.options.max_row_bytes)
    if isinstance(content, Problem):
        return content.decision(item, _STEP)
    try:
        text, _ = decode(content)
    except UnknownEncodingError as error:
        return Problem("", "unknown_encoding", str(error)).decision(item, _STEP)
    if not text.strip():
        return Problem("", "empty_file", "white space only").decision(item, _STEP)
    return _text(file, text, title="", uri=item.item_id, spdx=source.license or "")


def _row_text(place: str, row: Mapping[str, Any], *, file: OpenedFile, source: SourceSettings) -> Text | Decision:
    options = file.options
    text = row.get(options.text_field)
    if not isinstance(text, str) or not text.strip():
        stated = f"column {options.text_field!r}" if options.text_field in row else f"no column {options.text_field!r}"
        detail = f"{stated} (columns: {', '.join(map(str, list(row)[:20]))})"
        return Problem(place, "no_text", detail).decision(file.item, _STEP)
    if len(text) > options.max_row_bytes:
        return Problem(place, "oversized", f"{len(text):,} characters").decision(file.item, _STEP)
    part = _stated(row, options.id_field) or place
    spdx = source.license or ""
    if options.license_field is not None:  # asked for by name: what the row states is more exact than the source's
        spdx = spdx_of(_stated(row, options.license_field)) or spdx
    elif not spdx:
        spdx = spdx_of(_stated(row, "license"))
    uri = _stated(row, options.uri_field) or f"{file.item.item_id}#{part}"
    return _text(file, text, title=_stated(row, options.title_field), uri=uri, spdx=spdx)


def _stated(row: Mapping[str, Any], field: str | None) -> str:
    """A column's value as text; "" when there is none."""
    value = row.get(field) if field is not None else None
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) else ""


def _text(file: OpenedFile, text: str, *, title: str, uri: str, spdx: str) -> Text:
    kind: Kind = "code" if file.options.kind == "code" else "text"
    language = file.options.language or (_LANGUAGES.get(file.path.suffix.lower(), "") if kind == "code" else "")
    return Text(kind, uri, title, text, spdx, language, file.item.source, file.item.item_id)
