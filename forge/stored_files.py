"""Files as the items of a source: found by globs below an artifact, on disk or in an object store, hashed, and read
within bounds. What cannot be used is a :class:`Problem`, which readers turn into decisions.

An item is one file, or one part of a large file (:attr:`StoredFilesOptions.part_bytes`); its content hash is the
sha256 of the file's bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs
from pydantic import BaseModel, ConfigDict, Field

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, SourceSettings, checkout
from forge.paths import matches
from forge.schema import Decision, Item

_CHUNK_BYTES = 1 << 20
_UNPACKED_CHUNK_BYTES = 1 << 16  # what a damaged stream loses before the damage
_COMPRESSIONS: Mapping[bytes, Literal["gzip", "zstd"]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}

Size = Annotated[int, Field(gt=0)]


class StoredFilesOptions(BaseModel):
    """The options that all sources of files share; the types of API documentation add their own.

    ``paths`` are globs (``*``, ``?``, ``**``): below the artifact when the source names one; else absolute, relative to
    the checkout, or ``s3://bucket/prefix/*.jsonl``. ``max_unpacked_bytes`` bounds what a compressed file may become.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[str, ...] = Field(min_length=1, description="globs of the files that are read")
    max_file_bytes: Size = Field(2 * 1024**3, description="larger files are rejected")
    max_unpacked_bytes: Size = Field(16 * 1024**3, description="of a compressed file")
    max_files: Size = Field(100_000, description="more than these are an error of the configuration")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row (``part`` names it: a line or row number, from 1) or the rest of a file (``part`` "") is of no use."""

    part: str
    reason: str
    detail: str = ""

    def decision(self, item: Item, step: str) -> Decision:
        place = "" if not self.part else f"line {self.part}: " if self.part.isdecimal() else f"record {self.part}: "
        return Decision(
            item.source,
            f"{item.item_id}#{self.part}" if self.part else item.item_id,
            step,
            self.reason,
            place + self.detail,
        )


# --- listing ------------------------------------------------------------------------------------------------------


def list_stored_files(
    name: str, source: SourceSettings, settings: Settings, options: StoredFilesOptions, part_bytes: int | None = None
) -> Iterator[Item]:
    """One item a file, by path as the glob spells it. With ``part_bytes`` a larger file is several items, named
    "path@2of5", so that several workers share it; ``locator`` then has "part" (from 0) and "parts".

    Raises :class:`ConfigurationError` when the artifact is absent, no file matches, or too many do.
    """
    root = checkout()
    if source.artifact is not None:
        unpacked = artifact_path(settings, source.artifact)
        if unpacked is None:
            raise ConfigurationError(f"sources.{name}: artifact {source.artifact!r} is not here")
        root = unpacked
    found: dict[str, tuple[str, pafs.FileInfo]] = {}
    unreadable: list[str] = []
    for pattern in options.paths:
        is_remote = pattern.startswith("s3://")
        store = "s3" if is_remote else "local"
        for item_id, info in _s3_matches(pattern, settings) if is_remote else _matches(root, pattern):
            if info is None:
                unreadable.append(item_id.encode("utf-8", "backslashreplace").decode())
                continue
            if item_id in found and found[item_id][1].path != info.path:
                advice = "use one pattern for both, or two sources"
                raise ConfigurationError(f"sources.{name}.options.paths: two files are called {item_id!r}; {advice}")
            found[item_id] = (store, info)
            if len(found) > options.max_files:
                raise ConfigurationError(
                    f"sources.{name}.options.paths: more than max_files = {options.max_files} files"
                )
    if not found and not unreadable:
        raise ConfigurationError(f"sources.{name}.options.paths: no file matches {', '.join(options.paths)}")
    for item_id in sorted(set(unreadable)):
        detail = "the file's name is not UTF-8"
        yield Item(name, item_id, "unreadable-name", {"reason": "unreadable_file", "detail": detail})
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
        parts = 1 if part_bytes is None else -(-info.size // part_bytes)
        if parts < 2:
            yield Item(name, item_id, digest, locator)
        else:
            for part in range(parts):
                place = {**locator, "part": str(part), "parts": str(parts)}
                yield Item(name, f"{item_id}@{part + 1}of{parts}", digest, place)


def _is_unicode(name: str) -> bool:
    """Whether a name can stand in a table: half surrogate pairs are bytes of a file system that are no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _matches(root: Path, pattern: str) -> Iterator[tuple[str, pafs.FileInfo | None]]:
    """Files on disk; None for one whose name is no text, which Arrow cannot open.

    Names are as the pattern spells them; those of an absolute pattern begin after its fixed folder, so that ids, and
    with them splits, do not depend on where a machine keeps its data.
    """
    local = pafs.LocalFileSystem()
    fixed = Path(re.split(r"[*?\[]", pattern, maxsplit=1)[0] + "-").parent if Path(pattern).is_absolute() else Path()
    for name, path in matches(root, pattern):
        if path.is_file():
            place = str(path.resolve())
            info = local.get_file_info(place) if _is_unicode(name + place) else None
            yield Path(name).relative_to(fixed).as_posix(), info


def _s3_matches(pattern: str, settings: Settings) -> Iterator[tuple[str, pafs.FileInfo]]:
    path = pattern.removeprefix("s3://")
    fixed = re.split(r"[*?]", path, maxsplit=1)[0]
    if "/" not in fixed:
        raise ConfigurationError(f"{pattern}: name the bucket and at least the beginning of a path")
    wanted = re.compile(_regular_expression(path))
    store = filesystem("s3", settings.lake.s3_endpoint, settings.lake.s3_region)
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


def matches_pattern(pattern: str, item: Item) -> bool:
    """Whether a glob of the source is one by which the item was listed."""
    expression = re.compile(_regular_expression(pattern))
    name = item.item_id.rpartition("@")[0] if "parts" in item.locator else item.item_id
    return any(expression.fullmatch(path) is not None for path in (name, item.locator.get("path", "")))


def _regular_expression(pattern: str) -> str:
    """A glob as a regular expression: ``*`` and ``?`` stop at ``/``, ``**/`` spans folders."""
    pieces = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(pieces.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))


@lru_cache(maxsize=8)
def filesystem(store: str, endpoint: str | None, region: str) -> pafs.FileSystem:
    """The object store or the local disk, by the ``store`` of an item's locator."""
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
    with filesystem(store, endpoint, region).open_input_stream(path, compression=None) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredFile:
    """One file (or part of a file) of a source, to be read within the bounds of its options."""

    item: Item
    options: StoredFilesOptions
    settings: Settings

    @property
    def path(self) -> PurePosixPath:
        """The file's path without the suffix of a compression."""
        name = self.item.item_id
        if "parts" in self.item.locator:
            name = name.rpartition("@")[0]
        path = PurePosixPath(name)
        return path.with_suffix("") if path.suffix.lower() in {".gz", ".zst"} else path

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
                while chunk := stream.read(_CHUNK_BYTES if name is None else _UNPACKED_CHUNK_BYTES):
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
        return filesystem(locator["store"], lake.s3_endpoint, lake.s3_region).open_input_stream(
            locator["path"], compression=None
        )
