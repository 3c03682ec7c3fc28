"""General text in files: plain text (also gzipped), HTML and Mallard pages. An item is one file."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, SourceSettings, checkout, source_options
from forge.paths import matches
from forge.schema import Decision, Item, Text
from forge.text.encoding import UnknownEncodingError, decode
from forge.text.html import Rejection, extract_page
from forge.text.mallard import MallardError, mallard_text

STEP = "read_texts"
_HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})


class PlainTextOptions(BaseModel):
    """Options of a source of type ``plain_text``; see the module's description."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[str, ...] = Field(
        min_length=1, description="globs, below the artifact when the source names one, else below the checkout"
    )
    public_uri: str = Field("", description="what stands before a path in stored URIs")
    max_part_characters: int = Field(20_000, ge=1000, description="a longer plain text is cut at paragraph ends")
    max_file_bytes: int = Field(64 * 1024 * 1024, gt=0, description="also after decompression")


class _UnusableFileError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a file, named by its path below the artifact or as the pattern spells it.

    Raises :class:`ConfigurationError` when the artifact is absent or nothing matches.
    """
    options = source_options(PlainTextOptions, name, source)
    root = checkout()
    if source.artifact is not None:
        unpacked = artifact_path(settings, source.artifact)
        if unpacked is None:
            raise ConfigurationError(f"sources.{name}: artifact {source.artifact!r} is not here")
        root = unpacked
    files = {item_id: path for pattern in options.paths for item_id, path in matches(root, pattern) if path.is_file()}
    if not files:
        raise ConfigurationError(f"sources.{name}.options.paths: no file matches {', '.join(options.paths)}")
    for item_id, path in sorted(files.items()):
        size = path.stat().st_size
        if size > options.max_file_bytes:
            yield Item(name, item_id, f"too_large-{size}", {"path": str(path)})
        else:
            yield Item(name, item_id, hashlib.sha256(path.read_bytes()).hexdigest(), {"path": str(path)})


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Text | Decision]:  # noqa: ARG001
    """The texts of one file, or why there are none: too_large, truncated, unknown_encoding, empty_file, or a reason of
    :func:`forge.text.html.extract_page`."""
    options = source_options(PlainTextOptions, item.source, source)
    path = Path(item.locator["path"])
    try:
        title, text = _title_and_text(path, options.max_file_bytes)
        if not text.strip():
            raise _UnusableFileError("empty_file", "nothing but white space")
    except _UnusableFileError as error:
        yield Decision(item.source, item.item_id, STEP, error.reason, str(error))
        return
    except OSError as error:
        yield Decision(item.source, item.item_id, STEP, "unreadable_file", type(error).__name__)
        return
    parts = list(split_text(text, options.max_part_characters))
    for number, part in enumerate(parts, 1):
        uri = options.public_uri + item.item_id
        yield Text(
            kind="text",
            uri=uri if len(parts) == 1 else f"{uri}#part{number}",
            title=title,
            text=part,
            license=source.license or "",
            language="",
            source=item.source,
            item_id=item.item_id,
        )


def split_text(text: str, max_characters: int) -> Iterator[str]:
    """Parts of a text that end at blank lines, each of at most ``max_characters`` unless one paragraph is longer.

    Joined by blank lines the parts hold every paragraph in its order.
    """
    if len(text) <= max_characters:
        yield text.strip("\n")
        return
    pending: list[str] = []
    size = 0
    for paragraph in text.split("\n\n"):
        if not paragraph.strip():
            continue
        if pending and size + len(paragraph) > max_characters:
            yield "\n\n".join(pending).strip("\n")
            pending, size = [], 0
        pending.append(paragraph)
        size += len(paragraph) + 2
    if pending:
        yield "\n\n".join(pending).strip("\n")


def _title_and_text(path: Path, max_bytes: int) -> tuple[str, str]:
    content = _content(path, max_bytes)
    suffix = path.with_suffix("").suffix.lower() if path.suffix == ".gz" else path.suffix.lower()
    if not content.strip():
        raise _UnusableFileError("empty_file", f"{len(content)} bytes")
    if suffix in _HTML_SUFFIXES:
        page = extract_page(content, "text/html")
        if isinstance(page, Rejection):
            raise _UnusableFileError(page.reason, page.detail)
        return page.title, page.text
    if suffix == ".page":
        try:
            return mallard_text(content)
        except MallardError as error:
            raise _UnusableFileError("malformed_page", str(error)) from None
    try:
        text, _ = decode(content)
    except UnknownEncodingError as error:
        raise _UnusableFileError("unknown_encoding", str(error)) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return next((line.strip()[:200] for line in text.splitlines() if line.strip()), ""), text


def _content(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise _UnusableFileError("too_large", f"more than {max_bytes} bytes")
    return _unzipped(content, max_bytes) if content.startswith(b"\x1f\x8b") else content


def _unzipped(content: bytes, max_bytes: int) -> bytes:
    """All members of a gzip file, at most ``max_bytes`` of output."""
    parts: list[bytes] = []
    size = 0
    while content:
        decoder = zlib.decompressobj(wbits=31)
        try:
            part = decoder.decompress(content, max_bytes - size + 1)
        except zlib.error as error:
            raise _UnusableFileError("malformed_gzip", str(error)) from None
        size += len(part)
        if size > max_bytes:
            raise _UnusableFileError("too_large", f"more than {max_bytes} bytes after decompression")
        if not decoder.eof:
            raise _UnusableFileError("truncated", "the gzip file is cut off")
        parts.append(part)
        content = decoder.unused_data.lstrip(b"\0")
    return b"".join(parts)
