"""The command: its options, and a run that is killed at its worst moment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from forge.config import load_settings
from forge.lake import Lake
from forge.schema import table_of
from forge.trajectories.generator.__main__ import app
from tests.forge.trajectories.generator.conftest import Endpoint, error, operation, schema

ROOT = Path(__file__).resolve().parents[4]
COMMAND = [sys.executable, "-m", "forge.trajectories.generator"]
TOOLS = [
    {"name": name, "parameters": schema(required, **{each: {"type": "string"} for each in known})}
    for name, known, required in [
        ("create_note", ("title", "text"), ("title",)),
        ("get_note", ("note_id",), ("note_id",)),
        ("list_notes", (), ()),
        ("update_note", ("note_id", "text"), ("note_id",)),
        ("delete_note", ("note_id",), ("note_id",)),
        ("send_mail", ("to", "text"), ("to",)),
    ]
]  # fmt: skip


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """A configuration with one source of tools and a home of its own."""
    conf = tmp_path / "conf"
    shutil.copytree(ROOT / "conf", conf)
    (tmp_path / "notes.json").write_text(json.dumps(TOOLS))
    sources = yaml.safe_load((conf / "sources.yaml").read_text())
    options = {"paths": [str(tmp_path / "notes.json")], "provider": "notes.example", "service": "api"}
    sources["notes"] = {"type": "tool_schemas", "license": "MIT", "options": options}
    (conf / "sources.yaml").write_text(yaml.safe_dump(sources))
    return {
        "FORGE_CONF": str(conf),
        "FORGE__HOME": str(tmp_path / "home"),
        "FORGE__LAKE__ROOT": str(tmp_path / "lake"),
        "FORGE_GENERATOR_API_KEY": "secret-key\n",
    }


def command(environment: Mapping[str, str], *words: str) -> Result:
    return CliRunner().invoke(app, words, env=environment)


def process(environment: Mapping[str, str], *words: str) -> subprocess.Popen[str]:
    """The same in a process of its own, which can be killed."""
    return subprocess.Popen([*COMMAND, *words], cwd=ROOT, env={**os.environ, **environment}, text=True)


def test_it_is_off_and_says_so_in_one_line(environment: Mapping[str, str]) -> None:
    found = command(environment, "--source", "notes")
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr == "the generator is off: name base_url and model (docs/trajectory-generator.md)\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "nobody"], "no source 'nobody' of API documentation; such sources: "),
        ([], "the lake has no elected operation: run parse_apis and elect_versions, or name a --source\n"),
        (["--base-url", "ftp://x"], "base_url: Value error, an http(s) address without user information"),
        (["--name", "../x"], "name: Value error, letters, digits, '-', '_' and '.' only, 64 at most"),
        (["--options", "/nowhere.yaml"], "/nowhere.yaml: cannot be read"),
    ],
)
def test_bad_options_are_one_line(environment: Mapping[str, str], words: list[str], message: str) -> None:
    found = command(environment, *words)
    assert found.exit_code == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr


def test_a_dry_run_shows_the_task_sets_and_sends_nothing(environment: Mapping[str, str], endpoint: Endpoint) -> None:
    words = ["--source", "notes", "--base-url", endpoint.url, "--model", "m", "--dry-run", "--episodes", "3"]
    first, second = command(environment, *words), command(environment, *words)
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    assert len(first.stdout.splitlines()) == 3
    assert first.stdout.startswith("0\tnotes.example\t")
    assert endpoint.requests == []


def test_a_killed_run_pays_nothing_twice_and_leaves_the_same_bytes(
    environment: Mapping[str, str], endpoint: Endpoint, tmp_path: Path
) -> None:
    words = ["--source", "notes", "--base-url", f"{endpoint.url}/v1/", "--model", "rules", "--episodes", "4"]
    options = tmp_path / "options.yaml"
    options.write_text("concurrency: 1\n")
    whole = command(environment, *words, "--name", "whole", "--options", str(options))
    assert whole.exit_code == 0, whole.stderr
    needed = sum(endpoint.answered.values())
    endpoint.answered.clear()

    endpoint.hang_at = len(endpoint.requests) + needed // 2
    killed = process(environment, *words, "--name", "killed", "--options", str(options))
    assert endpoint.is_hanging.wait(60)
    folder = tmp_path / "home" / "generated" / "killed"
    second = command(environment, *words, "--name", "killed")
    assert (second.exit_code, "another run of this name is at work" in second.stderr) == (2, True)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(10) == -signal.SIGKILL
    assert not (folder / "trajectories.jsonl").exists()
    before = sum(endpoint.answered.values())
    assert before == needed // 2 - 1

    endpoint.let_go.set()
    resumed = command(environment, *words, "--name", "killed", "--options", str(options))
    assert resumed.exit_code == 0, resumed.stderr
    assert sum(endpoint.answered.values()) == needed
    assert set(endpoint.answered.values()) == {1}, "no request that was answered is sent again"
    made = (folder / "trajectories.jsonl").read_bytes()
    assert made == (folder.parent / "whole" / "trajectories.jsonl").read_bytes()
    report = orjson.loads((folder / "report.json").read_bytes())
    assert report["spent_before"]["input_tokens"] == 100 * before
    assert report["spent"]["input_tokens"] == 100 * needed
    assert {path.name for path in folder.iterdir()} == {"cache.sqlite", "lock", "report.json", "trajectories.jsonl"}


def test_how_it_ended_is_the_exit_code(environment: Mapping[str, str], endpoint: Endpoint, tmp_path: Path) -> None:
    words = ["--source", "notes", "--base-url", endpoint.url, "--model", "rules", "--episodes", "3"]
    (tmp_path / "poor.yaml").write_text("budget: {max_tokens: 100}\n")
    poor = command(environment, *words, "--options", str(tmp_path / "poor.yaml"))
    assert poor.exit_code == 3
    assert "stopped by the budget" in poor.stdout
    endpoint.faults = [error(401)] * 9
    refused = command(environment, *words)
    assert refused.exit_code == 1
    assert "stopped by the endpoint: http_401: status 401: " in refused.stdout
    assert "secret-key" not in refused.stdout + refused.stderr
    assert endpoint.headers[-1]["Authorization"] == "Bearer secret-key"


def test_from_the_lake_the_elected_rows_only(
    environment: Mapping[str, str], endpoint: Endpoint, tmp_path: Path
) -> None:
    """Two versions of one operation, one elected; another operation that was removed; a function, which is no tool."""
    lake = Lake(str(tmp_path / "lake"))
    old = operation("GET /pets", schema(old={"type": "string"}), {}, version="1", source_uri="old.json")
    new = operation("GET /pets", schema(new={"type": "string"}), {}, version="2", source_uri="new.json")
    gone = operation("GET /gone", schema(), {})
    function = operation("shop.buy", schema(), {}, provider="python", entity_type="function")
    entities = [old, new, gone, function]
    lake.write(
        "api_entities", table_of("api_entities", [each.row("2026-01-01") for each in entities]), "2026-01-01", "a"
    )
    states = [(new, "present", "2026-01-01"), (gone, "present", "2026-01-01"), (function, "present", "2026-01-01")]
    for night, rows in {"2026-01-01": states, "2026-01-02": [(gone, "removed", "2026-01-02")]}.items():
        elected = [
            {
                "entity_key": each.entity_key,
                "version": each.version,
                "source": each.source,
                "item_id": each.item_id,
                "source_uri": each.source_uri,
                "versions": [],
                "state": state,
                "partition_key": night,
            }
            for each, state, _ in rows
        ]
        lake.write("entity_versions", table_of("entity_versions", elected), night, night)
    found = command(environment, "--base-url", endpoint.url, "--model", "rules", "--dry-run")
    assert (found.exit_code, found.stdout) == (0, "0\tpets.example\tget_pets\n"), found.stderr
    made = command(environment, "--base-url", endpoint.url, "--model", "rules")
    assert made.exit_code == 0, made.stderr
    [row] = (tmp_path / "home" / "generated" / "default" / "trajectories.jsonl").read_bytes().splitlines()
    [tool] = [orjson.loads(each) for each in orjson.loads(row)["tools"]]
    assert set(tool["parameters"]["properties"]) == {"new"}


def test_the_source_of_the_configuration_reads_what_is_written_by_default() -> None:
    settings = load_settings("demo", environment={})
    source = settings.sources["generated_trajectories"]
    assert (source.enabled, source.type) == (False, "trajectory_files")
    assert source.options["paths"] == [f"{settings.home}/generated/*/trajectories.jsonl"]
