"""Articles of a MediaWiki XML dump (bz2 or plain), streamed. The item is the dump file; an article is a text of it.

Options: ``path``, the dump's path below the artifact, or below the checkout without one; ``base_uri`` (default the
English Wikipedia's). Pages of other namespaces and redirects are left out; what cannot be used is a decision.
"""

from __future__ import annotations

import bz2
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, SourceSettings, checkout
from forge.schema import Decision, Item, Text
from forge.text.wikitext import plain_text

STEP = "read_texts"
MAX_ARTICLE_CHARACTERS = 4_000_000
MAX_DUMP_BYTES = 256 * 1024**3
MAX_EXPANSION = 200
"""bz2 shrinks prose about 4 to 10 times; a file that grows more than this is no dump."""
MIN_ARTICLE_CHARACTERS = 200
_OPTIONS = frozenset({"path", "base_uri"})
_CHUNK_BYTES = 1 << 20


class DumpError(ValueError):
    """The dump breaks off or is not what it says; ``reason`` is the decision's."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """The dump as one item. Raises :class:`ConfigurationError` when it is not there."""
    unknown = sorted(source.options.keys() - _OPTIONS)
    if unknown or "path" not in source.options:
        raise ConfigurationError(f"sources.{name}.options: path is required, base_uri may be given; found {unknown}")
    root = checkout() if source.artifact is None else artifact_path(settings, source.artifact)
    if root is None:
        raise ConfigurationError(f"sources.{name}: artifact {source.artifact!r} is not here")
    relative = str(source.options["path"])
    path = root / relative
    if not path.is_file():
        raise ConfigurationError(f"sources.{name}.options.path: no file {relative}")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    yield Item(name, relative, digest.hexdigest(), {"path": str(path)})


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Text | Decision]:  # noqa: ARG001
    """The articles of the dump in dump order. Reasons: too_short, too_large; for the rest of a broken file truncated,
    malformed_dump."""
    base_uri = str(source.options.get("base_uri", "https://en.wikipedia.org/wiki/"))
    try:
        for title, wikitext in articles(Path(item.locator["path"])):
            if len(wikitext) > MAX_ARTICLE_CHARACTERS:
                yield _reject(item, title, "too_large", f"{len(wikitext)} characters of wikitext")
                continue
            text = plain_text(wikitext)
            if len(text) < MIN_ARTICLE_CHARACTERS:
                yield _reject(item, title, "too_short", f"{len(text)} characters of text")
                continue
            yield Text(
                kind="text",
                uri=base_uri + quote(title.replace(" ", "_"), safe="/:(),'!*;@~"),
                title=title,
                text=f"{title}\n\n{text}",
                license=source.license or "",
                language="",
                source=item.source,
                item_id=item.item_id,
            )
    except DumpError as error:
        yield Decision(item.source, item.item_id, STEP, error.reason, str(error))


def _reject(item: Item, title: str, reason: str, detail: str) -> Decision:
    return Decision(item.source, f"{item.item_id}#{title}", STEP, reason, detail)


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """(title, wikitext) of the articles of a dump: namespace 0, no redirects. Holds one page in memory at a time.

    Raises :class:`DumpError` where the file breaks off; the articles before that have been yielded.
    """
    from lxml import etree

    # A pull parser needs no file of its own kind, so our bounded reader decides how many bytes it gets.
    parser = etree.XMLPullParser(events=("end",), resolve_entities=False, no_network=True, load_dtd=False)
    try:
        for chunk in _chunks(path):
            parser.feed(chunk)
            yield from _pages(parser)
        parser.close()
        yield from _pages(parser)
    except etree.XMLSyntaxError as error:
        raise DumpError("malformed_dump", str(error)) from None


def _pages(parser: Any) -> Iterator[tuple[str, str]]:
    for _, element in parser.read_events():
        if _local(element) != "page":
            continue
        fields = {_local(child): child for child in element if isinstance(child.tag, str)}
        title = (fields["title"].text or "") if "title" in fields else ""
        namespace = fields["ns"].text if "ns" in fields else "0"
        text = ""
        if "revision" in fields:
            for child in fields["revision"]:
                if _local(child) == "text":
                    text = child.text or ""
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]
        is_redirect = "redirect" in fields or text.lstrip()[:9].upper() == "#REDIRECT"
        if namespace == "0" and title and text and not is_redirect:
            yield title, text


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _chunks(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    limit = min(MAX_DUMP_BYTES, max(64 * 1024 * 1024, size * MAX_EXPANSION))
    with path.open("rb") as file:
        packed = file.read(3) == b"BZh"
        file.seek(0)
        yield from _unpacked(file, limit) if packed else iter(lambda: file.read(_CHUNK_BYTES), b"")


def _unpacked(file: IO[bytes], limit_bytes: int) -> Iterator[bytes]:
    decoder = bz2.BZ2Decompressor()
    produced = 0
    pending = b""
    while True:
        if decoder.eof:  # dumps are many bz2 streams, one after the other
            pending = decoder.unused_data or file.read(_CHUNK_BYTES)
            if not pending:
                return
            decoder = bz2.BZ2Decompressor()
        elif decoder.needs_input:
            pending = file.read(_CHUNK_BYTES)
            if not pending:
                raise DumpError("truncated", "the bz2 stream is cut off")
        try:
            chunk = decoder.decompress(pending, _CHUNK_BYTES)
        except (OSError, ValueError, EOFError) as error:
            raise DumpError("malformed_dump", str(error)) from None
        pending = b""
        produced += len(chunk)
        if produced > limit_bytes:
            raise DumpError("too_large", f"more than {limit_bytes} bytes after decompression")
        if chunk:
            yield chunk
