"""The loopback server for unpacked sites serves that folder and nothing else."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from forge.crawl.mirror import serve


def get(base: str, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.headers)
    finally:
        connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<p>home")
    (root / "sub" / "index.html").write_text("<p>sub")
    (tmp_path / "secret.html").write_text("secret")
    (root / "link.html").symlink_to(tmp_path / "secret.html")
    return root


def test_files_folders_and_conditional_requests(folder: Path) -> None:
    with serve(folder) as base:
        assert base.startswith("http://127.0.0.1:")
        status, body, headers = get(base, "/index.html?query=1")
        assert (status, body, headers["Content-Type"]) == (200, b"<p>home", "text/html")
        assert get(base, "/sub/")[1] == b"<p>sub"
        assert get(base, "/index.html", **{"If-None-Match": headers["ETag"]})[:2] == (304, b"")
        assert get(base, "/missing.html")[0] == 404
    with pytest.raises(ConnectionError):
        get(base, "/index.html")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/..%2fsecret.html",
        "/link.html",
        "/%00",
        "//etc/passwd",
        "/sub/../../secret.html",
    ],
)
def test_nothing_outside_the_folder_is_served(folder: Path, path: str) -> None:
    with serve(folder) as base:
        assert get(base, path)[0] == 404
