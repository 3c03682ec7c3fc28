"""Calls of episodes are linked to the APIs that they mean, over all current episodes and APIs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from pyspark.sql import SparkSession

from forge.config import Settings, SourceSettings
from forge.lake import Lake
from spark_jobs.job import Context, execute

pytestmark = pytest.mark.spark
FIRST, SECOND = "2026-11-20", "2026-11-21"
JOBS = ("parse_apis", "parse_trajectories", "link_calls")


def run_night(settings: Settings, spark: SparkSession, night: str) -> list[str]:
    context = Context(Lake.of(settings), settings, night, "test", lambda: spark)
    return [name for name in JOBS if execute(importlib.import_module(f"spark_jobs.{name}").JOB, context)]


def api(name: str, *parameters: str, service: str = "mail") -> bytes:
    row: dict[str, Any] = {
        "name": name,
        "provider": "example.com",
        "service": service,
        "description": f"What {name} does.",
        "parameters": {"type": "object", "properties": {parameter: {"type": "string"} for parameter in parameters}},
    }
    return orjson.dumps(row)


def episode(task: str, environment: str, *calls: tuple[str, dict[str, str]]) -> bytes:
    made = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    messages = [{"role": "user", "content": task}, {"role": "assistant", "tool_calls": made}]
    return orjson.dumps({"messages": messages, "environment": environment})


def links(lake: Lake, night: str) -> list[tuple[str, str, str, int]]:
    rows = lake.read("call_links", partition_key=night).to_pylist()
    return sorted((row["tool"], row["entity_key"], row["method"], row["calls"]) for row in rows)


def test_links(settings: Settings, spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "apis.jsonl").write_bytes(
        b"\n".join(
            [
                api("SendMail", "to", "subject"),
                api("search", "query", "limit"),
                api("search", "query", "limit", service="files"),
                api("ping"),
            ]
        )
    )
    (tmp_path / "runs.jsonl").write_bytes(
        b"\n".join(
            [
                episode(
                    "a", "", ("send_mail", {"to": "x", "subject": "y"}), ("send_mail", {"subject": "z", "to": "x"})
                ),
                episode("b", "", ("search", {"query": "x", "limit": "1"})),
                episode("c", "example.com/files", ("search", {"query": "x", "limit": "1"})),
                episode("d", "example.com/mail", ("ping", {})),
            ]
        )
    )
    sources = {
        "apis": SourceSettings(
            type="files", license="MIT", options={"kind": "api_doc", "paths": [str(tmp_path / "apis.jsonl")]}
        ),
        "runs": SourceSettings(
            type="trajectory_files", license="MIT", options={"paths": [str(tmp_path / "runs.jsonl")]}
        ),
    }
    settings = settings.model_copy(update={"sources": sources})
    lake = Lake.of(settings)
    assert run_night(settings, spark, FIRST) == list(JOBS)
    assert links(lake, FIRST) == [
        ("ping", "example.com/mail/ping", "entity", 1),
        ("search", "example.com/files/search", "entity", 1),
        ("send_mail", "example.com/mail/SendMail", "signature", 2),
    ], "a signature that two APIs share links nothing"
    assert run_night(settings, spark, FIRST) == []

    (tmp_path / "apis.jsonl").write_bytes(api("ping"))
    run_night(settings, spark, SECOND)
    assert links(lake, SECOND) == [("ping", "example.com/mail/ping", "entity", 1)]
