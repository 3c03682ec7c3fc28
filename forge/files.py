"""A user's own files as a source: globs on disk or in an object store, of JSON Lines, Parquet, plain text or OpenAPI.

An item is one file and its content hash is the sha256 of its bytes. Options of a source of type ``files`` are
:class:`FileOptions`. Everything is bounded and streamed; what cannot be used is a :class:`Problem`, which the readers
of the three kinds (:mod:`forge.apis.files`, :mod:`forge.trajectories.files`, :mod:`forge.text.files`) turn into
decisions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import orjson
import pyarrow as pa
import pyarrow.fs as pafs
from pydantic import BaseModel, ConfigDict, Field

from forge.config import ConfigurationError, Settings, SourceSettings, checkout, source_options
from forge.paths import matches
from forge.schema import Decision, Item, is_deeper_than

FileKind = Literal["api_doc", "trajectory", "text", "code"]
FileFormat = Literal["jsonl", "json", "parquet", "text", "openapi"]

MAX_ARRAY_BYTES = 128 * 1024 * 1024
MAX_NESTING = 64
MAX_PARQUET_ROW_GROUP_BYTES = 4 * 1024**3
_CHUNK_BYTES = 1 << 20
_PARQUET_BATCH_ROWS = 256
_COMPRESSIONS: Mapping[bytes, Literal["gzip", "zstd"]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
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

Size = Annotated[int, Field(gt=0)]


class FileOptions(BaseModel):
    """Options of a source of type ``files``.

    ``paths`` are globs (``*``, ``?``, ``**``): absolute, relative to the checkout, or ``s3://bucket/prefix/*.jsonl``.
    The ``_field`` options name columns of JSON Lines and Parquet rows of kinds text and code. ``max_unpacked_bytes``
    bounds what a compressed file may become, ``max_row_bytes`` one line, one row or one text file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[str, ...] = Field(min_length=1)
    kind: FileKind
    format: Literal["auto", "jsonl", "parquet", "text", "openapi"] = "auto"
    text_field: str = "text"
    id_field: str | None = None
    title_field: str | None = None
    uri_field: str | None = None
    license_field: str | None = None
    language: str = ""
    max_file_bytes: Size = 2 * 1024**3
    max_unpacked_bytes: Size = 16 * 1024**3
    max_row_bytes: Size = 16 * 1024 * 1024
    max_files: Size = 100_000


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row (``part`` names it: a line or row number, from 1) or the rest of a file (``part`` "") is of no use."""

    part: str
    reason: str
    detail: str = ""

    def decision(self, item: Item, step: str) -> Decision:
        place = f"line {self.part}: " if self.part else ""
        return Decision(
            item.source,
            f"{item.item_id}#{self.part}" if self.part else item.item_id,
            step,
            self.reason,
            place + self.detail,
        )


class _UnusableFileError(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


def file_options(name: str, source: SourceSettings) -> FileOptions:
    """The validated options of a source. Raises :class:`ConfigurationError`: the key and what is allowed there."""
    return source_options(FileOptions, name, source)


# --- listing ------------------------------------------------------------------------------------------------------


def list_files(name: str, source: SourceSettings, settings: Settings, kinds: tuple[FileKind, ...]) -> Iterator[Item]:
    """One item per file, by path as the glob spells it, when the source's ``kind`` is one of ``kinds``; else none.

    Raises :class:`ConfigurationError` for bad options, when no file matches, and when too many do.
    """
    options = file_options(name, source)
    if options.kind not in kinds:
        return
    found: dict[str, tuple[str, pafs.FileInfo]] = {}
    for pattern in options.paths:
        is_remote = pattern.startswith("s3://")
        store = "s3" if is_remote else "local"
        for item_id, info in _s3_matches(pattern, settings) if is_remote else _matches(pattern):
            if item_id in found and found[item_id][1].path != info.path:
                advice = "use one pattern for both, or two sources"
                raise ConfigurationError(f"sources.{name}.options.paths: two files are called {item_id!r}; {advice}")
            found[item_id] = (store, info)
            if len(found) > options.max_files:
                raise ConfigurationError(
                    f"sources.{name}.options.paths: more than max_files = {options.max_files} files"
                )
    if not found:
        raise ConfigurationError(f"sources.{name}.options.paths: no file matches {', '.join(options.paths)}")
    for item_id, (store, info) in sorted(found.items()):
        locator = {"store": store, "path": info.path}
        if info.size > options.max_file_bytes:
            detail = f"{info.size:,} bytes, at most {options.max_file_bytes:,} are read"
            yield Item(name, item_id, f"oversized-{info.size}", {**locator, "reason": "oversized", "detail": detail})
            continue
        try:
            digest = _sha256(
                store, info.path, info.size, info.mtime_ns, settings.lake.s3_endpoint, settings.lake.s3_region
            )
        except OSError as error:
            # Not the message, which may hold an absolute path.
            detail = type(error).__name__
            yield Item(
                name, item_id, f"unreadable-{detail}", {**locator, "reason": "unreadable_file", "detail": detail}
            )
            continue
        yield Item(name, item_id, digest, locator)


def _matches(pattern: str) -> Iterator[tuple[str, pafs.FileInfo]]:
    """Files on disk. Names are as the pattern spells them; those of an absolute pattern begin after its fixed folder,
    so that ids, and with them splits, do not depend on where a machine keeps its data."""
    local = pafs.LocalFileSystem()
    fixed = Path(re.split(r"[*?\[]", pattern, maxsplit=1)[0] + "-").parent if Path(pattern).is_absolute() else Path()
    for name, path in matches(checkout(), pattern):
        if path.is_file():
            yield Path(name).relative_to(fixed).as_posix(), local.get_file_info(str(path.resolve()))


def _s3_matches(pattern: str, settings: Settings) -> Iterator[tuple[str, pafs.FileInfo]]:
    path = pattern.removeprefix("s3://")
    fixed = re.split(r"[*?]", path, maxsplit=1)[0]
    if "/" not in fixed:
        raise ConfigurationError(f"{pattern}: name the bucket and at least the beginning of a path")
    wanted = re.compile(_regular_expression(path))
    store = _filesystem("s3", settings.lake.s3_endpoint, settings.lake.s3_region)
    try:
        if fixed == path:
            infos = [store.get_file_info(path)]
        else:
            selector = pafs.FileSelector(fixed.rpartition("/")[0], recursive=True, allow_not_found=True)
            infos = store.get_file_info(selector)
    except OSError as error:
        raise ConfigurationError(f"{pattern}: cannot be listed: {error}") from None
    for info in sorted(infos, key=lambda info: str(info.path)):
        if info.type == pafs.FileType.File and wanted.fullmatch(info.path):
            yield f"s3://{info.path}", info


def _regular_expression(pattern: str) -> str:
    """A glob as a regular expression: ``*`` and ``?`` stop at ``/``, ``**/`` spans folders."""
    pieces = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(pieces.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))


@lru_cache(maxsize=8)
def _filesystem(store: str, endpoint: str | None, region: str) -> pafs.FileSystem:
    if store == "local":
        return pafs.LocalFileSystem()
    scheme, _, host = (endpoint or "").partition("://")
    return pafs.S3FileSystem(
        endpoint_override=host or None, scheme="http" if scheme == "http" else "https", region=region
    )


@lru_cache(maxsize=100_000)  # a run lists twice: once for the fingerprint, once to read
def _sha256(
    store: str,
    path: str,
    size: int,  # noqa: ARG001 - with the time of change part of the cache's key
    modified_ns: int,  # noqa: ARG001
    endpoint: str | None,
    region: str,
) -> str:
    digest = hashlib.sha256()
    with _filesystem(store, endpoint, region).open_input_stream(path, compression=None) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenedFile:
    """One file of a source, to be read as what it is."""

    item: Item
    options: FileOptions
    settings: Settings

    @property
    def path(self) -> PurePosixPath:
        """The file's path without the suffix of a compression."""
        path = PurePosixPath(self.item.item_id)
        return path.with_suffix("") if path.suffix.lower() in {".gz", ".zst"} else path

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

    def problem(self) -> Problem | None:
        """What the listing found already, if it found that the file cannot be used."""
        reason = self.item.locator.get("reason")
        return None if reason is None else Problem("", reason, self.item.locator.get("detail", ""))

    def whole(self, limit_bytes: int) -> bytes | Problem:
        """The unpacked bytes of a file of at most ``limit_bytes``."""
        parts: list[bytes] = []
        total = 0
        for chunk in self.chunks():
            if isinstance(chunk, Problem):
                return chunk
            total += len(chunk)
            if total > limit_bytes:
                return Problem("", "oversized", f"more than {limit_bytes:,} bytes")
            parts.append(chunk)
        return b"".join(parts) if total else Problem("", "empty_file")

    def chunks(self) -> Iterator[bytes | Problem]:
        """The unpacked bytes; a problem, if there is one, comes last."""
        total = 0
        try:
            with self._open() as raw:
                head = raw.read(4)
                name = next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)
            with self._open() as raw:
                stream = raw if name is None else pa.CompressedInputStream(raw, name)
                while chunk := stream.read(_CHUNK_BYTES):
                    total += len(chunk)
                    if total > self.options.max_unpacked_bytes:
                        yield Problem("", "oversized", f"more than {self.options.max_unpacked_bytes:,} bytes unpacked")
                        return
                    yield bytes(chunk)
        except OSError as error:
            message = str(error)
            if message.startswith("Truncated compressed stream"):
                yield Problem("", "truncated_container", f"the {name} stream ends in the middle")
            elif "inflate" in message or "decompress" in message:
                yield Problem("", "corrupt_container", message)
            else:
                yield Problem("", "unreadable_file", type(error).__name__)

    def _open(self) -> Any:
        lake, locator = self.settings.lake, self.item.locator
        return _filesystem(locator["store"], lake.s3_endpoint, lake.s3_region).open_input_stream(
            locator["path"], compression=None
        )

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
            store = _filesystem(locator["store"], lake.s3_endpoint, lake.s3_region)
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
