"""A plain HTTP server for an unpacked documentation site, on a loopback port that the system chooses."""

from __future__ import annotations

import hashlib
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Fixed, because the system's table of media types differs between machines.
_MEDIA_TYPES = mimetypes.MimeTypes(filenames=())
_IDLE_SECONDS = 30


class _FileHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ForgeMirror"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True  # head and body are two writes: without this each answer waits 40 ms

    def __init__(self, root: Path, *arguments: object) -> None:
        self._root = root
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        file = self._file()
        if file is None:
            self._send(404, {"Content-Type": "text/plain; charset=utf-8"}, b"not found\n", with_body)
            return
        body = file.read_bytes()
        # The tag is the content's hash, so a mirror that was unpacked again still answers "not modified".
        tag = '"' + hashlib.sha256(body).hexdigest()[:32] + '"'
        if self.headers.get("If-None-Match") == tag:
            self._send(304, {"ETag": tag}, b"", with_body=False)
            return
        media_type = _MEDIA_TYPES.guess_type(file.name)[0] or "application/octet-stream"
        self._send(200, {"Content-Type": media_type, "ETag": tag}, body, with_body)

    def _file(self) -> Path | None:
        path = unquote(urlsplit(self.path).path, errors="replace").lstrip("/")
        if "\0" in path:
            return None
        file = (self._root / path).resolve()
        if not file.is_relative_to(self._root):
            return None
        if file.is_dir():
            file /= "index.html"
        return file if file.is_file() else None

    def _send(self, status: int, headers: dict[str, str], body: bytes, with_body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Nothing: the crawl's own rows are the log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a crawler that closes a connection early is no fault of the mirror."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve the files of a folder while the block runs; yields the base URL ("http://127.0.0.1:41234/").

    Only files that lie inside the folder after links are resolved are served; folders answer with their index.html.
    """
    root = folder.resolve()
    server = _Server(("127.0.0.1", 0), partial(_FileHandler, root))
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True, name="mirror")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
