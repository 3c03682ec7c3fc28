"""Evaluation reports in a real API server, and which files it never shows."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from forge.config import load_settings
from forge_airflow.components import admin_password, airflow_environment, free_port, migrate

pytestmark = pytest.mark.airflow

RUN = "0123456789abcdef"
PAGE = "<!DOCTYPE html><title>Evaluation</title><h1>Evaluation of run 0123456789abcdef</h1><script>alert(1)</script>"


def write_run(runs: Path, run_id: str = RUN) -> Path:
    (runs / run_id).mkdir(parents=True)
    path = runs / run_id / "report.html"
    path.write_text(PAGE)
    return path


def test_only_plain_files_below_the_runs_are_read(tmp_path: Path) -> None:
    from forge_airflow.reports import MAX_REPORT_BYTES, read_report, report_path

    runs = tmp_path / "runs"
    path = write_run(runs)
    assert report_path(runs, RUN) == path
    assert read_report(path) == PAGE.encode()
    for name in ("..", "../../etc", RUN + "/..", RUN.upper(), "", RUN + "\n", "f" * 16):
        assert report_path(runs, name) is None, name

    secret = write_run(tmp_path / "elsewhere", "a" * 16)
    (runs / ("a" * 16)).symlink_to(secret.parent)
    assert report_path(runs, "a" * 16) is None, "a folder that is a link"
    (runs / ("b" * 16)).mkdir()
    (runs / ("b" * 16) / "report.html").symlink_to(secret)
    assert report_path(runs, "b" * 16) is None, "a file that is a link"
    assert read_report(runs / ("b" * 16) / "report.html") is None
    (runs / ("c" * 16)).mkdir()
    pipe = runs / ("c" * 16) / "report.html"
    os.mkfifo(pipe)
    assert read_report(pipe) is None, "a pipe would be waited for"
    with path.open("r+b") as file:
        file.truncate(MAX_REPORT_BYTES + 1)
    assert read_report(path) is None
    (tmp_path / "linked").symlink_to(runs)
    assert report_path(tmp_path / "linked", RUN) is not None, "the operator may have linked the folder of runs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Address of a real API server whose home has one report, and the header of its administrator."""
    home = tmp_path_factory.mktemp("home")
    write_run(home / "runs")
    (home / "secret.html").write_text("<h1>secret</h1>")
    settings = load_settings("demo", environment={"FORGE__HOME": str(home)})
    port = free_port(18_080)
    environment = airflow_environment(settings, port) | {"FORGE__HOME": str(home)}
    password, _ = admin_password(settings)
    migrate(settings, environment)
    address = f"http://127.0.0.1:{port}"
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, (home / "server.log").read_text()[-4000:]
            assert time.monotonic() < deadline, (home / "server.log").read_text()[-4000:]
            try:
                if httpx.get(f"{address}/api/v2/monitor/health", timeout=5, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.3)
        answer = httpx.post(
            f"{address}/auth/token", json={"username": "admin", "password": password}, timeout=30, trust_env=False
        )
        yield address, {"Authorization": f"Bearer {answer.json()['access_token']}"}
    finally:
        process.terminate()
        process.wait(30)


def get(address: str, **given: object) -> httpx.Response:
    return httpx.get(address, timeout=30, trust_env=False, **given)  # type: ignore[arg-type]


@pytest.mark.timeout(300)
def test_the_api_server_shows_a_report_to_its_users_only(server: tuple[str, dict[str, str]]) -> None:
    address, user = server
    report = f"{address}/forge/reports/{RUN}/report.html"
    answer = get(report, headers=user)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert "script" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    token = user["Authorization"].removeprefix("Bearer ")
    assert get(report, cookies={"_token": token}).status_code == 200, "as a browser asks"

    assert get(report).status_code == 401
    assert get(report, headers={"Authorization": "Bearer nonsense"}).status_code == 403
    browser = get(report, headers={"Accept": "text/html,*/*"})
    assert browser.status_code == 302
    assert browser.headers["location"].startswith("/api/v2/auth/login?next=http")
    assert httpx.post(report, headers=user, trust_env=False).status_code == 405


@pytest.mark.timeout(300)
def test_nothing_else_is_shown(server: tuple[str, dict[str, str]]) -> None:
    address, user = server
    for path in (
        "f" * 16 + "/report.html",
        f"{RUN}/../../secret.html",
        f"{RUN}/%2e%2e/%2e%2e/secret.html",
        "%2e%2e/report.html",
        "..%2f..%2fsecret.html",
        f"..%2fruns%2f{RUN}/report.html",
        f"{RUN}%00/report.html",
        f"{RUN}/run.json",
        f"{RUN}/report.html/",
        f"{RUN}%0a/report.html",
        "docs",
        "openapi.json",
    ):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)  # leaves paths as they are
        connection.request("GET", f"/forge/reports/{path}", headers=user)
        answer = connection.getresponse()
        assert answer.status in (404, 307), path
        assert b"<h1>" not in answer.read(), path
        connection.close()
