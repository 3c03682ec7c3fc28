"""What the demo driver shows."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from forge.config import ConfigurationError
from forge_airflow import components, local
from forge_airflow.demo import ProgressTail, progress_text


def test_progress_line_for_people() -> None:
    line = {
        "job": "render",
        "message": "documents",
        "tasks_done": 3,
        "tasks": 8,
        "rows": 12000,
        "rows_per_second": 1234.5,
    }
    assert progress_text(line) == "render · documents · 3/8 tasks · 12,000 documents · 1,234 documents/s"
    assert progress_text({}) == ""


def test_progress_tail_reads_only_complete_new_lines(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-21.jsonl"
    path.write_text(json.dumps({"job": "of an earlier demo"}) + "\n")
    tail = ProgressTail(path)
    assert tail.newest() == {}
    with path.open("a") as file:
        file.write('{"job": "crawl"}\nnot json\n[1]\n{"job": "rea')
    assert tail.newest() == {"job": "crawl"}
    with path.open("a") as file:
        file.write('d"}\n')
    assert tail.newest() == {"job": "read"}
    assert tail.newest() == {"job": "read"}


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert components.free_port(port) > port


def test_the_night_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_PARTITION", "2026-11-20")
    assert local.tonight() == "2026-11-20"
    monkeypatch.setenv("FORGE_PARTITION", "yesterday")
    with pytest.raises(ConfigurationError, match=r"FORGE_PARTITION.*YYYY-MM-DD"):
        local.tonight()


def test_the_password_is_generated_once_and_private(settings, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    password, is_new = components.admin_password(settings)
    assert is_new
    assert len(password) >= 12
    assert components.admin_password(settings) == (password, False)
    assert components.password_file(settings).stat().st_mode & 0o777 == 0o600
    environment = components.airflow_environment(settings, 8080)
    secrets_file = components.airflow_home(settings) / "secrets.json"
    assert secrets_file.stat().st_mode & 0o777 == 0o600
    secrets = json.loads(secrets_file.read_text())
    assert len(set(secrets.values())) == 3
    assert secrets.items() <= environment.items()
    assert components.airflow_environment(settings, 8080) == environment, "secrets survive a restart"


def test_a_users_airflow_options_do_not_leak_in(settings, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    environment = components.airflow_environment(settings, 8080)
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert environment["AIRFLOW_HOME"] == str(settings.home_path / "airflow")
    assert environment["PATH"] == os.environ["PATH"]
