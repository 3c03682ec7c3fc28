"""One polite, bounded, guarded HTTP exchange at a time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from yarl import URL

from forge.crawl.guard import SocketGuard, is_private_host_allowed, refusal

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back. ``status`` is None when nothing did; ``error`` is "" when the body is whole. ``body`` is decoded
    (no content encoding)."""

    status: int | None
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    error: str = ""
    detail: str = ""

    def header(self, name: str) -> str:
        """The first header of that name; "" when there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def media_type(self) -> str:
        return self.header("Content-Type").partition(";")[0].strip().lower()


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class HttpClient:
    """Requests without redirects, cookies, proxies or retries; one connection a host.

    Bytes are counted as they arrive and again as they are decoded; both stop at ``max_body_bytes``. Hosts of
    ``private_hosts`` use connections of their own, so a public name never gets one that may reach a private address.
    """

    def __init__(self, user_agent: str, timeout_seconds: float, private_hosts: Sequence[str]) -> None:
        self._headers = {"User-Agent": user_agent, "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.1"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._private_hosts = tuple(private_hosts)
        self._guards: dict[bool, SocketGuard] = {}
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> HttpClient:
        for private_allowed in (False, True):
            guard = SocketGuard(private_allowed)
            self._guards[private_allowed] = guard
            self._sessions[private_allowed] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit_per_host=1, socket_factory=guard),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                auto_decompress=False,
                trust_env=False,
                headers=self._headers,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    async def get(
        self, url: str, max_body_bytes: int, headers: Mapping[str, str] | None = None, keep_beginning: bool = False
    ) -> Exchange:
        """GET one URL. Never raises for what the other side does: ``error`` says bad_url, private_address, timeout,
        connection_error, protocol_error, too_large or bad_encoding. With ``keep_beginning`` a body that is too large is
        cut instead."""
        refused = refusal(url, self._private_hosts)
        if refused:
            return Exchange(None, error=refused, detail="not a public http(s) address, nor one of private_hosts")
        private_allowed = is_private_host_allowed(url, self._private_hosts)
        guard, session = self._guards[private_allowed], self._sessions[private_allowed]
        guard.reset()
        status: int | None = None
        received: tuple[tuple[str, str], ...] = ()
        request_headers = {"Accept-Encoding": "gzip", **(headers or {})}
        try:
            async with session.get(URL(url, encoded=True), headers=request_headers, allow_redirects=False) as response:
                status = response.status
                received = tuple((str(name), str(value)) for name, value in response.headers.items())
                body = await _read(response, max_body_bytes, keep_beginning)
        except _Refused as stop:
            return Exchange(status, received, error=stop.reason, detail=stop.detail)
        except TimeoutError:
            return Exchange(
                status, received, error="timeout", detail=f"no complete answer within {self._timeout.total} s"
            )
        except (aiohttp.ClientError, OSError) as error:
            if guard.refused is not None:
                return Exchange(None, error="private_address", detail=f"{url} leads to {guard.refused}")
            reason = "connection_error" if status is None and isinstance(error, OSError) else "protocol_error"
            # Messages of aiohttp may name the port of a mirror, which differs between runs.
            return Exchange(status, received, error=reason, detail=type(error).__name__)
        except (ValueError, asyncio.IncompleteReadError) as error:
            return Exchange(status, received, error="protocol_error", detail=type(error).__name__)
        return Exchange(status, received, body)


async def _read(response: aiohttp.ClientResponse, max_body_bytes: int, keep_beginning: bool) -> bytes:
    stated = response.content_length
    if stated is not None and stated > max_body_bytes and not keep_beginning:
        response.close()
        raise _Refused("too_large", f"{stated} bytes stated, at most {max_body_bytes} are read")
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        response.close()
        raise _Refused("bad_encoding", f"content encoding {encoding[:40]!r} was not asked for")
    # 47: zlib recognises gzip and zlib headers itself.
    decoder = zlib.decompressobj(wbits=47) if encoding in {"gzip", "x-gzip", "deflate"} else None
    body = bytearray()
    raw_bytes = 0
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        raw_bytes += len(chunk)
        if decoder is None:
            body += chunk
        else:
            try:
                body += decoder.decompress(chunk, max_body_bytes + 1 - len(body))
            except zlib.error as error:
                response.close()
                raise _Refused("bad_encoding", str(error)) from error
        if len(body) > max_body_bytes or raw_bytes > max_body_bytes or (decoder and decoder.unconsumed_tail):
            response.close()
            if keep_beginning:
                return bytes(body[:max_body_bytes])
            raise _Refused("too_large", f"more than {max_body_bytes} bytes after decoding")
    if decoder is not None and raw_bytes and not decoder.eof:
        raise _Refused("bad_encoding", "the compressed body is cut off")
    return bytes(body)
