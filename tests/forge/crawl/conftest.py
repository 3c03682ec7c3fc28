"""A hostile web on loopback: real sockets, real answers."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forge.config import CrawlSettings
from forge.crawl.shard import Shard, fetch_shard
from forge.crawl.urls import Site

Answer = Callable[["_Handler"], None]


def reply(body: bytes = b"", status: int = 200, media_type: str = "text/html; charset=utf-8", **headers: str) -> Answer:
    def answer(handler: _Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", media_type)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirect(target: str, status: int = 302) -> Answer:
    return reply(status=status, Location=target)


def gzip_bomb(decoded_bytes: int) -> Answer:
    return reply(gzip.compress(bytes(decoded_bytes), 9), Content_Encoding="gzip")


def endless(total_bytes: int) -> Answer:
    """A body without a stated length, sent in pieces."""

    def answer(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for _ in range(total_bytes // 65536):
            handler.wfile.write(b"<p>" + b"x" * 65533)
        handler.close_connection = True

    return answer


def slow(seconds: float) -> Answer:
    def answer(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        for _ in range(int(seconds / 0.05)):
            handler.wfile.write(b"a")
            time.sleep(0.05)

    return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10

    def __init__(self, web: HostileWeb, *arguments: object) -> None:
        self.web = web
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.web.requests.append((self.path, dict(self.headers), time.monotonic()))
        self.web.answers.get(self.path, reply(b"nothing here", 404))(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@dataclass
class HostileWeb:
    """``answers`` by path; ``requests`` are (path, headers, time) as they came in."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], float]] = field(default_factory=list)
    base: str = ""

    def site(self, start: str = "", source: str = "web") -> Site:
        return Site(source, "https://web.example/" + start, "https://web.example/", self.base, f"mirror-{source}")

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]


@pytest.fixture
def web() -> Iterator[HostileWeb]:
    found = HostileWeb()
    server = _Server(("127.0.0.1", 0), partial(_Handler, found))
    found.base = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def limits() -> CrawlSettings:
    return CrawlSettings(
        private_hosts=("127.0.0.1",), delay_seconds=0.0, timeout_seconds=1.0, rounds=3, max_body_bytes=200_000
    )


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Sequence[Shard]], None]:
    """Runs shards as a Spark task does: from JSON, in one event loop."""

    def run_shards(shards: Sequence[Shard]) -> None:
        async def everything() -> None:
            await asyncio.gather(*(fetch_shard(Shard.from_json(shard.to_json()), tmp_path) for shard in shards))

        asyncio.run(everything())

    return run_shards
