"""Artifacts: an npm package from a registry on loopback, checked before it is opened, kept inside its folder."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

from forge.artifacts import ArtifactError, artifact_path, fetch, needed_artifacts
from forge.config import ArtifactSettings, ConfigurationError, Settings, SourceSettings, load_settings


def tarball(members: dict[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if link is not None:
            entry = tarfile.TarInfo("package/link")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return buffer.getvalue()


@contextmanager
def registry(content: bytes) -> Iterator[str]:
    """A registry that has one package, ``sample`` 1.0.0."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".tgz"):
                body = content
            else:
                integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
                url = f"http://127.0.0.1:{server.server_port}/sample/-/sample-1.0.0.tgz"
                version = {"name": "sample", "version": "1.0.0", "dist": {"tarball": url, "integrity": integrity}}
                body = orjson.dumps(
                    {"name": "sample", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
                )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def with_package(tmp_path: Path, sha256: str, optional: bool = False) -> Settings:
    artifact = ArtifactSettings(
        kind="npm", package="sample", version="1.0.0", sha256=sha256, license="MIT", optional=optional
    )
    found = load_settings("demo", environment={})
    return found.model_copy(update={"home": str(tmp_path / "home"), "artifacts": {"sample": artifact}})


def test_an_npm_package_is_fetched_once_and_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tarball({"package/api/a.json": b"{}"}, link="/etc/passwd")
    settings = with_package(tmp_path, hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with registry(content) as url:
        monkeypatch.setenv("npm_config_registry", url)
        folder = fetch(settings, "sample")
    assert folder is not None
    assert (folder / "package/api/a.json").read_bytes() == b"{}"
    assert not (folder / "package/link").exists()
    assert artifact_path(settings, "sample") == folder
    assert fetch(settings, "sample") == folder  # the registry is gone: nothing is asked for again


def test_another_file_than_the_pinned_one_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_package(tmp_path, "0" * 64)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with registry(tarball({"package/a": b"1"})) as url:
        monkeypatch.setenv("npm_config_registry", url)
        with pytest.raises(ArtifactError, match="pinned is 0000"):
            fetch(settings, "sample")
    with pytest.raises(ConfigurationError, match="not unpacked; run"):
        artifact_path(settings, "sample")


def test_a_member_that_leaves_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tarball({"package/a": b"1", "../outside": b"2"})
    settings = with_package(tmp_path, hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with registry(content) as url:
        monkeypatch.setenv("npm_config_registry", url)
        with pytest.raises(ArtifactError, match="leaves the folder"):
            fetch(settings, "sample")
    assert not list(tmp_path.rglob("outside"))


def test_an_optional_package_that_cannot_be_had_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    settings = with_package(tmp_path, "0" * 64, optional=True)
    assert fetch(settings, "sample") is None
    assert artifact_path(settings, "sample") is None


def test_only_what_the_profile_reads_is_needed() -> None:
    found = load_settings("demo", environment={})
    one = ArtifactSettings(kind="npm", package="p", version="1", sha256="0" * 64, license="MIT")
    sources = {
        "on": SourceSettings(type="openapi", artifact="read", options={"paths": ["*"]}),
        "off": SourceSettings(type="openapi", artifact="unread", enabled=False, options={"paths": ["*"]}),
    }
    artifacts = {"read": one, "unread": one, "weights": one}
    assert needed_artifacts(found.model_copy(update={"sources": sources, "artifacts": artifacts})) == [
        "read",
        "weights",
    ]
