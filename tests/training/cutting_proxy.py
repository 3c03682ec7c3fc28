"""A TCP proxy that cuts connections, slows them down or refuses them: what networks do to a store."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

_CHUNK_BYTES = 64 * 1024


class CuttingProxy:
    """Forwards to ``target`` ("http://host:port"). The attributes may be changed at any time.

    ``cut_after_bytes``: of one connection, in the direction named by ``cut``, until it is cut; None never.
    ``cuts``: how many connections are still cut so. ``bytes_per_second``: of each connection and direction.
    ``is_down``: new connections are closed at once, old ones too. ``rewrite`` changes the bytes of replies.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self.cut_after_bytes: int | None = None
        self.cut = "replies"
        self.cuts = 0
        self.was_cut = 0
        self.bytes_per_second: float | None = None
        self.is_down = False
        self.rewrite: Callable[[bytes], bytes] | None = None
        self.connections = 0
        self.forwarded = {"requests": 0, "replies": 0}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.is_down:
                client.close()
                continue
            server = socket.create_connection(self._target)
            for source, sink, direction in ((client, server, "requests"), (server, client, "replies")):
                threading.Thread(target=self._forward, args=(source, sink, direction), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                if self.is_down or self._is_cut(direction, passed + len(chunk)):
                    break
                if self.bytes_per_second:
                    time.sleep(len(chunk) / self.bytes_per_second)
                if self.rewrite is not None and direction == "replies":
                    chunk = self.rewrite(chunk)
                sink.sendall(chunk)
                passed += len(chunk)
                self.forwarded[direction] += len(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _is_cut(self, direction: str, passed: int) -> bool:
        with self._lock:
            if direction != self.cut or self.cut_after_bytes is None or self.cuts < 1 or passed < self.cut_after_bytes:
                return False
            self.cuts -= 1
            self.was_cut += 1
            return True

    def close(self) -> None:
        self.is_down = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def cutting(target: str) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
