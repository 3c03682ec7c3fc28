"""What a night's fetches say about pages: which are there, which are gone, and when silence means nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge.config import ConfigurationError, SourceSettings, checkout
from forge.paths import matches

# After these a page may well still be there; "private_address" is here because it is our configuration that refuses.
_TRANSIENT = frozenset(
    {
        "timeout", "connection_error", "protocol_error", "bad_encoding", "host_unreachable", "robots_unreachable",
        "page_limit", "round_limit", "archive_lost", "private_address",
    }
)  # fmt: skip
_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredPage:
    """One page whose response lies in an archive. ``archive`` is a path, relative to the home folder for our own."""

    source: str
    uri: str
    content_sha256: str
    archive: str
    offset: int


@dataclass(frozen=True, slots=True)
class Sightings:
    """``complete`` names sources whose pages were all looked at: what they did not show is gone. ``gone`` are pages of
    any source that answered so (404, forbidden by robots.txt, too large)."""

    pages: tuple[StoredPage, ...]
    complete: frozenset[str]
    gone: frozenset[tuple[str, str]]


def sightings(fetches: Iterable[Mapping[str, Any]]) -> Sightings:
    """Read the rows of one night's `fetches`. A page that was answered twice counts by its first whole answer."""
    pages: dict[tuple[str, str], StoredPage] = {}
    gone: set[tuple[str, str]] = set()
    incomplete: set[str] = set()
    for row in fetches:
        if row["item_id"] is None:
            continue
        key = (row["source"], row["item_id"])
        if not row["error"] and row["warc_uri"] is not None:
            pages.setdefault(key, StoredPage(*key, row["content_sha256"], row["warc_uri"], row["warc_offset"]))
        elif is_transient(row["error"], row["status"]):
            incomplete.add(row["source"])
        else:
            gone.add(key)
    found = {source for source, _ in pages}
    return Sightings(
        tuple(page for _, page in sorted(pages.items())), frozenset(found - incomplete), frozenset(gone - pages.keys())
    )


def is_transient(error: str, status: int | None) -> bool:
    """Whether an error leaves open that the page still exists."""
    return error in _TRANSIENT or (error == "http_error" and (status is None or status >= 500 or status == 429))


def warc_files(name: str, source: SourceSettings) -> list[Path]:
    """The archives of a ``warc`` source: ``options.paths`` are patterns relative to the checkout.

    Raises :class:`ConfigurationError` when the source is required and nothing matches.
    """
    patterns = source.options.get("paths", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigurationError(f"sources.{name}.options.paths: expected a list of file patterns")
    found = {path.resolve() for pattern in patterns for _, path in matches(checkout(), pattern)}
    files = sorted((path for path in found if path.is_file()), key=lambda path: (path.name, str(path)))
    if not files and source.required:
        raise ConfigurationError(f"sources.{name}.options.paths: no file matches {', '.join(patterns) or 'nothing'}")
    return files


def file_digest(path: Path) -> str:
    """Size and hash of the first and last MiB: enough to notice that an archive is another one, cheap for any size."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_SAMPLE_BYTES))
        file.seek(max(0, size - _SAMPLE_BYTES))
        digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
