"""A model behind an OpenAI-compatible server (vLLM, TGI, llama.cpp): chat completions at temperature 0.

Tools and calls are written into the messages as for a local model (:func:`training.chat.plain_messages`), so that the
server's chat template sees what a local one does; the server's own support of tools is not used. The server is not
trusted: replies are bounded in size and time, and no reply decides where the next request goes.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event
from typing import Any

import httpx
import orjson

from forge.config import ConfigurationError, EndpointSettings
from forge.schema import content_hash
from training.chat import RENDERING_VERSION, TOOLS_HEAD, TOOLS_TAIL, NotAChat, plain_messages
from training.evaluation.subject import Conversation

MAX_REPLY_BYTES = 4 << 20
MAX_EXCERPT_CHARACTERS = 300
MAX_WAIT_SECONDS = 60.0
"""Longest pause before a request is made again, whatever the server asks for."""
_TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TOO_LONG = ("context_length_exceeded", "maximum context length", "context size", "maximum model length", "too long")
"""What servers say when a prompt does not fit."""


class EndpointError(RuntimeError):
    """The server did not answer; the message names its address, the status and what it said."""


class _Transient(Exception):
    """Worth another attempt, after ``wait_seconds`` if the server named a time."""

    def __init__(self, problem: str, wait_seconds: float | None = None) -> None:
        super().__init__(problem)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class EndpointSubject:
    """See :class:`training.evaluation.subject.Subject`. ``seed`` goes to servers that sample in spite of temperature 0.

    Raises :class:`forge.config.ConfigurationError` from :meth:`answers` when the key's variable is not set.
    """

    settings: EndpointSettings
    seed: int
    attempts: int = 6
    first_wait_seconds: float = 1.0

    @property
    def prompt_hash(self) -> str:
        """Hash of our part of the rendering and the model's name: its chat template is the server's own."""
        return content_hash("endpoint", RENDERING_VERSION, TOOLS_HEAD, TOOLS_TAIL, self.settings.model)

    @property
    def device(self) -> str:
        return "remote"

    @property
    def url(self) -> str:
        """Of chat completions, without credentials that the settings may carry."""
        return str(self._url.copy_with(userinfo=b""))

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        """Place in ``conversations`` and text, as they arrive.

        The answer is "" where the prompt does not fit into the model's context or is no chat. Raises
        :class:`EndpointError` when the server refuses a request or fails repeatedly; requests under way are given up.
        """
        key = self._key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=self.settings.concurrency)
        stopped = Event()
        pool = ThreadPoolExecutor(self.settings.concurrency, "endpoint")
        with httpx.Client(headers=headers, timeout=self.settings.timeout_seconds, limits=limits) as client:
            pending = {
                pool.submit(self._answer, client, conversation, max_new_tokens, key, stopped): place
                for place, conversation in enumerate(conversations)
            }
            try:
                for done in as_completed(pending):
                    yield pending[done], done.result()
            finally:  # no wait for slow replies that nobody reads
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)

    @property
    def _url(self) -> httpx.URL:
        return httpx.URL(self.settings.url.rstrip("/") + "/chat/completions")

    def _key(self) -> str:
        variable = self.settings.api_key_variable
        if variable is None:
            return ""
        key = os.environ.get(variable, "").strip()
        if not key:
            raise ConfigurationError(f"evaluation.endpoint.api_key_variable: {variable} is not set")
        if not key.isascii() or not key.isprintable():  # errors about headers would show it
            raise ConfigurationError(f"evaluation.endpoint.api_key_variable: {variable} holds no key")
        return key

    def _answer(
        self, client: httpx.Client, conversation: Conversation, max_new_tokens: int, key: str, stopped: Event
    ) -> str:
        try:
            messages = plain_messages(conversation.tools, conversation.messages)
        except NotAChat:
            return ""
        request = {
            "model": self.settings.model,
            "messages": [_message(message) for message in messages],
            "temperature": 0,
            "seed": self.seed,
            "max_tokens": max_new_tokens,
        }
        wait_seconds = self.first_wait_seconds
        for attempt in range(1, self.attempts + 1):
            try:
                return self._attempt(client, orjson.dumps(request), key)
            except _Transient as problem:
                if attempt == self.attempts:
                    raise EndpointError(f"{self.url}: {problem} ({attempt} attempts)") from None
                wanted = problem.wait_seconds if problem.wait_seconds is not None else wait_seconds
            wait_seconds *= 2
            if stopped.wait(min(wanted, MAX_WAIT_SECONDS) * random.uniform(1.0, 1.25)):
                break
        return ""  # nobody reads it any more

    def _attempt(self, client: httpx.Client, request: bytes, key: str) -> str:
        deadline = time.monotonic() + self.settings.timeout_seconds
        try:
            with client.stream(
                "POST", self._url, content=request, headers={"Content-Type": "application/json"}
            ) as response:
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MAX_REPLY_BYTES:
                        raise EndpointError(f"{self.url}: a reply of more than {MAX_REPLY_BYTES:,} bytes")
                    if time.monotonic() > deadline:
                        raise _Transient(f"no whole reply in {self.settings.timeout_seconds:g} s")
        except httpx.TimeoutException:
            raise _Transient(f"no reply in {self.settings.timeout_seconds:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Transient(f"{type(error).__name__}: {error}") from None
        if response.status_code == 200:
            return self._text(bytes(body))
        said = _excerpt(bytes(body), key)
        if response.status_code in (400, 413, 422) and any(sign in said.lower() for sign in _TOO_LONG):
            return ""
        problem = f"status {response.status_code}: {said}"
        if response.status_code in _TRY_AGAIN:
            raise _Transient(problem, _seconds(response.headers.get("Retry-After")))
        raise EndpointError(f"{self.url}: {problem}")

    def _text(self, body: bytes) -> str:
        try:
            content = orjson.loads(body)["choices"][0]["message"]["content"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            content = body
        if content is not None and not isinstance(content, str):
            raise EndpointError(f"{self.url}: status 200, but no chat completion")
        return content or ""


def _message(message: Mapping[str, Any]) -> dict[str, str]:
    """A result of a tool names a call, as the interface asks for; the call itself stands in the assistant's text. What
    is no Unicode text becomes "?"."""
    plain = {"role": str(message["role"]), "content": str(message["content"]).encode(errors="replace").decode()}
    return plain | {"tool_call_id": "call"} if plain["role"] == "tool" else plain


def _excerpt(body: bytes, key: str) -> str:
    """The start of what the server said, on one line, without the key."""
    text = body.decode(errors="replace")
    text = (text.replace(key, "***") if key else text)[:MAX_EXCERPT_CHARACTERS]
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:  # a date: our own pauses do
        return None
