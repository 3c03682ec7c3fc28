"""Answers of a server over real sockets: whole, late, refused, cut, endless."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from forge.config import ConfigurationError, EndpointSettings
from training.chat import plain_messages
from training.evaluation import endpoint
from training.evaluation.endpoint import EndpointError, EndpointSubject
from training.evaluation.subject import Conversation

KEY = "sk-secret-key-4711"
TOOL = {"name": "get_user", "description": "Get a user", "parameters": {"type": "object", "properties": {}}}


def conversation(text: str) -> Conversation:
    return Conversation([TOOL], [{"role": "user", "content": text}])


Reply = Callable[["_Handler", dict[str, Any]], None]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((self.path, self.headers.get("Authorization"), request))
            reply = self.server.replies.pop(0) if self.server.replies else echo
            self.server.at_a_time += 1
            self.server.most_at_a_time = max(self.server.most_at_a_time, self.server.at_a_time)
        try:
            reply(self, request)
        except OSError:  # the client has gone
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.at_a_time -= 1

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not to the console."""


def completion(content: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def echo(handler: _Handler, request: dict[str, Any]) -> None:
    handler.send(200, completion("to " + request["messages"][-1]["content"]))


def says(body: bytes, status: int = 200, **headers: str) -> Reply:
    return lambda handler, _: handler.send(status, body, **headers)


def cut(handler: _Handler, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def slow(seconds: float) -> Reply:
    def reply(handler: _Handler, request: dict[str, Any]) -> None:
        time.sleep(seconds)
        echo(handler, request)

    return reply


def drips(handler: _Handler, _: dict[str, Any]) -> None:
    """Never silent for long, never done."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def huge(handler: _Handler, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(1_000):
        handler.wfile.write(b'"' + b"x" * 65_536)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.replies: list[Reply] = []
        self.at_a_time = self.most_at_a_time = 0

    def handle_error(self, *_: object) -> None:
        """A client may go at any time."""


@dataclass
class Endpoint:
    server: _Server
    settings: EndpointSettings = field(init=False)

    def __post_init__(self) -> None:
        url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.settings = EndpointSettings(
            url=url, model="m", api_key_variable="TEST_ENDPOINT_KEY", concurrency=4, timeout_seconds=20.0
        )

    def subject(self, attempts: int = 3, **changes: Any) -> EndpointSubject:
        return EndpointSubject(self.settings.model_copy(update=changes), 3, attempts, first_wait_seconds=0.01)

    def answer(self, *replies: Reply, attempts: int = 3, **changes: Any) -> str:
        self.server.replies[:] = replies
        ((_, text),) = self.subject(attempts, **changes).answers([conversation("hello")], max_new_tokens=7)
        return text


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("TEST_ENDPOINT_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Endpoint(server)
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_conversation_is_answered_with_few_requests_at_a_time(served: Endpoint) -> None:
    served.server.replies[:] = [slow(0.05)] * 20
    asked = [conversation(str(number)) for number in range(20)]
    found = dict(served.subject().answers(asked, max_new_tokens=7))
    assert found == {number: f"to {number}" for number in range(20)}
    assert 2 <= served.server.most_at_a_time <= 4


def test_a_request_carries_our_rendering_and_greedy_settings(served: Endpoint) -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "calls": [{"name": "get_user", "arguments": {"id": 3}}], "loss": False},
        {"role": "tool", "content": "Ann"},
    ]
    assert list(served.subject().answers([Conversation([TOOL], messages)], max_new_tokens=7)) == [(0, "to Ann")]
    ((path, authorization, request),) = served.server.requests
    assert (path, authorization) == ("/v1/chat/completions", f"Bearer {KEY}")
    sent = request.pop("messages")
    assert request == {"model": "m", "temperature": 0, "seed": 3, "max_tokens": 7}
    rendered = [(message["role"], message["content"]) for message in plain_messages([TOOL], messages)]
    assert [(message["role"], message["content"]) for message in sent] == rendered
    assert "get_user(id=3)" in sent[2]["content"]
    assert set(sent[2]) == {"role", "content"}
    assert sent[3]["tool_call_id"]


@pytest.mark.parametrize(
    "trouble",
    [
        says(b"later", 429), says(b"later", 429, Retry_After="0"), says(b"", 503, Retry_After="tomorrow"),
        says(b"oops", 500), cut, slow(3.0), drips, says(b"no gzip", Content_Encoding="gzip"),
    ],
    ids=["429", "429 with a time", "503 with a date", "500", "cut", "slow", "dripping", "not as encoded"],
)  # fmt: skip
def test_passing_trouble_is_tried_again(served: Endpoint, trouble: Reply) -> None:
    assert served.answer(trouble, timeout_seconds=1.0) == "to hello"
    assert len(served.server.requests) == 2


def test_a_server_that_names_a_time_is_given_it(served: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    assert served.answer(says(b"later", 429, Retry_After="0.4")) == "to hello"
    assert time.monotonic() - started >= 0.4
    monkeypatch.setattr(endpoint, "MAX_WAIT_SECONDS", 0.1)
    started = time.monotonic()
    assert served.answer(says(b"later", 429, Retry_After="100000")) == "to hello"
    assert time.monotonic() - started < 30


def test_lasting_trouble_ends_with_address_and_status(served: Endpoint) -> None:
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:\d+/v1/chat/completions: status 503: down \(3 attempts\)"):
        served.answer(*[says(b"down", 503)] * 3)
    assert len(served.server.requests) == 3


def test_no_server(served: Endpoint) -> None:
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:1/v1/chat/completions: ConnectError.*2 attempts"):
        served.answer(attempts=2, url="http://127.0.0.1:1/v1/")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (says(b'{"error": "no such model"}', 404), "status 404: .*no such model"),
        (says(b"", 301, Location="http://127.0.0.1:1/"), "status 301"),
        (huge, "a reply of more than 4,194,304 bytes"),
        (says(b"<html>"), "status 200, but no chat completion"),
        (says(b"[]"), "no chat completion"),
        (says(b'{"choices": []}'), "no chat completion"),
        (says(b'{"choices": {"0": 1}}'), "no chat completion"),
        (says(completion(["a"])), "no chat completion"),
        (says(b"[" * 100_000), "no chat completion"),
    ],
)
def test_a_reply_that_is_no_answer_is_not_asked_for_again(served: Endpoint, reply: Reply, message: str) -> None:
    with pytest.raises(EndpointError, match=message):
        served.answer(reply)
    assert len(served.server.requests) == 1


def test_a_wrong_key_is_an_error_that_does_not_show_it(served: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(EndpointError, match="status 401: Incorrect API key") as raised:
        served.answer(says(f"Incorrect API key\n\x1b[31mprovided: {KEY}".encode(), 401))
    assert KEY not in str(raised.value)
    assert "\x1b" not in str(raised.value)
    assert KEY not in caplog.text
    assert KEY not in repr(served.subject())


def test_credentials_in_the_address_are_not_shown(served: Endpoint) -> None:
    url = served.settings.url.replace("http://", "http://me:hidden@")
    with pytest.raises(EndpointError) as raised:
        served.answer(says(b"", 403), url=url)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("key", ["", " ", "a\nb", "é"])
def test_a_key_that_is_none(served: Endpoint, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("TEST_ENDPOINT_KEY", key)
    with pytest.raises(ConfigurationError, match="api_key_variable: TEST_ENDPOINT_KEY"):
        served.answer()
    assert served.server.requests == []


def test_no_key_is_wanted(served: Endpoint) -> None:
    assert served.answer(api_key_variable=None) == "to hello"
    assert served.server.requests[0][1] is None


@pytest.mark.parametrize(
    "reply",
    [
        says(completion(None)),
        says(json.dumps({"message": "This model's maximum context length is 8192 tokens"}).encode(), 400),
        says(json.dumps({"error": {"code": "context_length_exceeded"}}).encode(), 400),
    ],
)
def test_nothing_is_an_answer(served: Endpoint, reply: Reply) -> None:
    assert served.answer(reply) == ""


def test_what_is_no_unicode_text_is_sent_all_the_same(served: Endpoint) -> None:
    asked = [conversation("a \udcff")]
    assert list(served.subject().answers(asked, max_new_tokens=7)) == [(0, "to a ?")]


def test_what_is_no_chat_is_not_sent(served: Endpoint) -> None:
    asked = [Conversation([], [{"role": "stranger", "content": "hello"}])]
    assert list(served.subject().answers(asked, max_new_tokens=7)) == [(0, "")]
    assert served.server.requests == []


def test_an_error_does_not_wait_for_slow_replies(served: Endpoint) -> None:
    served.server.replies[:] = [slow(5.0), slow(5.0), slow(5.0), says(b"no", 403)]
    started = time.monotonic()
    with pytest.raises(EndpointError):
        list(served.subject().answers([conversation(str(number)) for number in range(50)], max_new_tokens=7))
    assert time.monotonic() - started < 4.0
    assert len(served.server.requests) < 15


def test_the_prompt_hash_names_the_model(served: Endpoint) -> None:
    assert served.subject().prompt_hash == served.subject().prompt_hash != served.subject(model="other").prompt_hash
    assert served.subject().device == "remote"
