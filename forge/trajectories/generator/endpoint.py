"""The client of an OpenAI-compatible endpoint: POST {base_url}/v1/chat/completions, bounded in time and size.

What nobody pays for and may succeed later is tried again (429, 5xx, timeouts, the network), after what Retry-After asks
for. The API key comes from the environment, goes into one header, and is in no message.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from forge.trajectories.generator.options import GeneratorOptions

_CHUNK_BYTES = 64 * 1024
_MAX_DETAIL_CHARACTERS = 300
_TRANSIENT = frozenset({408, 425, 429})
_NOT_OURS = frozenset({401, 402, 403, 404, 405})


class EndpointError(Exception):
    """A request failed for good: ``reason`` is timeout, connection_error, too_large, malformed_response or
    http_<status>. ``is_final``: every other request would fail as well (the key, the address). ``is_paid``: an answer
    was given, though one that cannot be used."""

    def __init__(self, reason: str, detail: str, *, is_final: bool = False, is_paid: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.is_final = is_final
        self.is_paid = is_paid


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer as it came, and read. Token counts are None where the endpoint states none."""

    payload: bytes
    value: Mapping[str, Any]
    input_tokens: int | None
    output_tokens: int | None


class _Transient(Exception):
    def __init__(self, reason: str, detail: str, wait_seconds: float = 0.0) -> None:
        super().__init__(detail)
        self.reason = reason
        self.wait_seconds = wait_seconds


class Endpoint:
    """One endpoint; no redirects, cookies or proxies. ``requests`` counts what was sent."""

    def __init__(self, options: GeneratorOptions, api_key: str) -> None:
        self._options = options
        self._key = api_key
        self._url = options.base_url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
        self._places = asyncio.Semaphore(options.concurrency)
        self._resume_at = 0.0
        self.requests = 0

    async def __aenter__(self) -> Endpoint:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._options.timeout_seconds),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def complete(self, body: Mapping[str, Any]) -> Completion:
        """The completion of a request's body. Raises :class:`EndpointError`."""
        data = orjson.dumps(body)
        for attempt in range(1, self._options.max_tries + 1):
            async with self._places:
                await asyncio.sleep(max(0.0, self._resume_at - time.monotonic()))
                try:
                    return await self._once(data)
                except _Transient as failed:
                    if attempt == self._options.max_tries:
                        detail = self._told(f"{failed} ({attempt} tries)")
                        raise EndpointError(failed.reason, detail) from None
                    wait = self._wait_seconds(attempt, failed.wait_seconds)
                    if failed.wait_seconds:  # it said so to all of us
                        self._resume_at = max(self._resume_at, time.monotonic() + wait)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    def _wait_seconds(self, attempt: int, asked: float) -> float:
        doubled: float = self._options.backoff_seconds * 2.0 ** min(attempt - 1, 30)
        return min(max(asked, doubled * random.uniform(1.0, 1.25)), self._options.max_wait_seconds)

    async def _once(self, data: bytes) -> Completion:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self.requests += 1
        status = 0
        try:
            async with self._session.post(self._url, data=data, headers=headers, allow_redirects=False) as response:
                status = response.status
                payload = await self._read(response)
                wait_seconds = _retry_after(response.headers.get("Retry-After", ""))
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            is_late = isinstance(error, TimeoutError)
            reason = "timeout" if is_late else "connection_error"
            seconds = self._options.timeout_seconds
            detail = f"no complete answer within {seconds} s" if is_late else type(error).__name__
            if status == 200:
                raise EndpointError(reason, detail, is_paid=True) from None
            raise _Transient(reason, detail) from None
        if status != 200:
            detail = self._told(f"status {status}: {payload[: 4 * _MAX_DETAIL_CHARACTERS].decode(errors='replace')}")
            if status in _TRANSIENT or status >= 500:
                raise _Transient(f"http_{status}", detail, wait_seconds)
            raise EndpointError(f"http_{status}", detail, is_final=status in _NOT_OURS or status < 400)
        if len(payload) > self._options.max_response_bytes:
            raise EndpointError("too_large", f"more than {self._options.max_response_bytes} bytes", is_paid=True)
        completion = _completion(payload)
        if completion is None:
            raise EndpointError("malformed_response", "status 200 without a completion in JSON", is_paid=True)
        return completion

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The body; of one that is too large a little more than is allowed."""
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._options.max_response_bytes:
                response.close()
                break
        return bytes(body)

    def _told(self, detail: str) -> str:
        """A message without the key, which some endpoints repeat."""
        shown = detail.replace(self._key, "***") if self._key else detail
        return " ".join(shown.split())[:_MAX_DETAIL_CHARACTERS]


def _completion(payload: bytes) -> Completion | None:
    value = read_completion(payload)
    if value is None:
        return None
    usage = value.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Completion(payload, value, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def read_completion(payload: bytes) -> Mapping[str, Any] | None:
    """A response's body as an object with ``choices[0].message``; None for anything else."""
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return value if isinstance(first, dict) and isinstance(first.get("message"), dict) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def _retry_after(header: str) -> float:
    """Seconds, from a number or a date; 0 for anything else."""
    text = header.strip()
    try:
        return max(0.0, min(float(text), 86_400.0)) if text else 0.0
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
