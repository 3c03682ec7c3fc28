"""WARC/1.1 files, one gzip member a record: written with warcio, read with fastwarc (8 times faster at reading)."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any

MAX_HEADER_BYTES = 64 * 1024
# The body is stored decoded, so these describe bytes that are no longer there; Common Crawl renames them likewise.
_RENAMED_HEADERS = {
    "content-encoding": "X-Crawl-Content-Encoding",
    "transfer-encoding": "X-Crawl-Transfer-Encoding",
    "content-length": "X-Crawl-Content-Length",
}

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]{0,100}\r\n")


class WarcError(Exception):
    """A WARC file cannot be read where it should hold a record."""


class WarcFile:
    """Writes one WARC file under a temporary name; leaving the block without an error makes it appear whole.

    A file that holds no response does not appear at all.
    """

    def __init__(self, path: Path, software: str) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._software = software
        self._responses = 0
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def __enter__(self) -> WarcFile:
        from warcio.warcwriter import WARCWriter

        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._temporary.open("wb")
        self._writer = WARCWriter(self._file, gzip=True, warc_version="1.1")
        info = {"software": self._software, "format": "WARC File Format 1.1", "robots": "obey"}
        self._writer.write_record(self._writer.create_warcinfo_record(self._path.name, info))
        return self

    def write_response(
        self, url: str, status: int, headers: Sequence[tuple[str, str]], body: bytes, fetched_at: str
    ) -> int:
        """Append one response whose body is already decoded; returns the offset of its record in bytes.

        ``fetched_at`` is a UTC time in ISO 8601 (``2026-11-21T02:00:00Z``).
        """
        from warcio.statusandheaders import StatusAndHeaders

        if self._file is None:
            raise WarcError(f"{self._path}: the file is not open for writing")
        kept = [(_RENAMED_HEADERS.get(name.lower(), name), value) for name, value in headers]
        kept.append(("Content-Length", str(len(body))))
        http = StatusAndHeaders(str(status), kept, protocol="HTTP/1.1")
        offset = self._file.tell()
        self._writer.write_record(
            self._writer.create_warc_record(
                url, "response", payload=BytesIO(body), http_headers=http, warc_headers_dict={"WARC-Date": fetched_at}
            )
        )
        self._responses += 1
        return offset

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if kind is None and self._responses:
            self._temporary.replace(self._path)
        else:
            self._temporary.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class WarcResponse:
    """One response record. ``body`` is None when it is larger than the reader's cap; ``body_bytes`` is what the record
    says."""

    url: str
    offset: int
    status: int
    media_type: str
    charset: str | None
    body: bytes | None
    body_bytes: int

    @property
    def content_sha256(self) -> str:
        return hashlib.sha256(self.body or b"").hexdigest()


def read_response(path: Path, offset: int, max_body_bytes: int) -> WarcResponse:
    """The response record that begins at a byte offset. Raises :class:`WarcError`."""
    with path.open("rb") as file:
        file.seek(offset)
        for response in _responses(file, max_body_bytes, path):
            # The reader looks for the next record where none begins: that would be another page's.
            if response.offset == offset:
                return response
            break
    raise WarcError(f"{path.name}: no response record at offset {offset}")


def scan_responses(path: Path, max_body_bytes: int) -> Iterator[WarcResponse]:
    """All response records of a WARC file, compressed or not, in file order.

    Raises :class:`WarcError` where the file breaks off or is no WARC; the records before that have been yielded.
    """
    with path.open("rb") as file:
        last = 0
        for response in _responses(file, max_body_bytes, path):
            last = response.offset
            yield response
        _check_end(file, last, path)


def _responses(file: IO[bytes], max_body_bytes: int, path: Path) -> Iterator[WarcResponse]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    try:
        records = ArchiveIterator(
            file, record_types=WarcRecordType.response, parse_http=True, max_header_len=MAX_HEADER_BYTES
        )
        for record in records:
            if not record.is_http_parsed:
                continue
            # One byte more than allowed shows that a body is too large without reading the rest of it.
            body: bytes | None = record.reader.read(max_body_bytes + 1)
            size = len(body or b"")
            if size <= max_body_bytes:
                body = _decoded(body or b"", record.http_headers, max_body_bytes)
            if size > max_body_bytes or body is None:
                body, size = None, max(size, record.content_length)
            else:
                size = len(body)
            yield WarcResponse(
                url=(record.headers.get("WARC-Target-URI") or "").strip("<>"),
                offset=record.stream_pos,
                status=int(record.http_headers.status_code or 0),
                media_type=(record.http_content_type or "").lower(),
                charset=record.http_charset,
                body=body,
                body_bytes=size,
            )
    except (OSError, ValueError, RuntimeError, EOFError) as error:
        raise WarcError(f"{path.name}: {error}") from error


def _decoded(body: bytes, headers: Any, max_bytes: int) -> bytes | None:
    """Undo chunks and gzip where the bytes show them: many archives keep the headers but store decoded bodies. None
    when the decoded body is too large."""
    if (headers.get("Transfer-Encoding") or "").lower() == "chunked":
        body = _without_chunks(body)
    if (headers.get("Content-Encoding") or "").lower() in {"gzip", "x-gzip"} and body.startswith(b"\x1f\x8b"):
        try:
            decoder = zlib.decompressobj(wbits=31)
            decoded = decoder.decompress(body, max_bytes + 1)
        except zlib.error:
            return body
        return decoded if len(decoded) <= max_bytes else None
    return body


def _without_chunks(body: bytes) -> bytes:
    parts: list[bytes] = []
    position = 0
    while match := _CHUNK_SIZE.match(body, position):
        size = int(match[1], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[match.end() : match.end() + size])
        position = match.end() + size + 2
    return b"".join(parts) if parts and position >= len(body) else body


def _check_end(file: IO[bytes], last_offset: int, path: Path) -> None:
    """Raises :class:`WarcError` when the last gzip member of a compressed file is cut off: the reader drops a broken
    last record without a word."""
    file.seek(last_offset)
    decoder, seen = None, b""
    while chunk := seen or file.read(1 << 20):
        if decoder is None:
            if not chunk.startswith(b"\x1f\x8b"):
                return
            decoder = zlib.decompressobj(wbits=31)
        try:
            while chunk and not decoder.eof:
                decoder.decompress(chunk, 1 << 20)
                chunk = decoder.unconsumed_tail
        except zlib.error as error:
            raise WarcError(f"{path.name}: {error}") from error
        seen = decoder.unused_data
        if decoder.eof:
            decoder = None
    if decoder is not None:
        raise WarcError(f"{path.name}: the file is cut off within a record")
