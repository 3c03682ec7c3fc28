"""The documentation of the generator: its example runs, its table has every option."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from forge.trajectories.generator.__main__ import app
from forge.trajectories.generator.options import GeneratorOptions
from tests.forge.trajectories.generator.conftest import Endpoint, schema

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs" / "trajectory-generator.md").read_text()


def snippet(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_example_runs(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(ROOT / "conf", conf)
    file = tmp_path / "specs" / "tools.json"
    file.parent.mkdir()
    known = {"city": {"type": "string"}}
    file.write_text(json.dumps([{"name": name, "parameters": schema(("city",), **known)} for name in ("a", "b", "c")]))
    entry = yaml.safe_load(snippet("yaml").replace("specs/tools.json", str(file)))
    sources = yaml.safe_load((conf / "sources.yaml").read_text())
    (conf / "sources.yaml").write_text(yaml.safe_dump({**sources, **entry}))
    for name, value in {"FORGE_CONF": str(conf), "FORGE__HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    prefix = ".venv/bin/python -m forge.trajectories.generator "
    commands = [line.removeprefix(prefix) for line in snippet("sh").splitlines() if line.startswith(prefix)]
    assert len(commands) == 2
    for words in commands:
        found = CliRunner().invoke(app, shlex.split(words.replace("http://127.0.0.1:8000", endpoint.url)))
        assert found.exit_code == 0, found.output
    made = (tmp_path / "home" / "generated" / "default" / "trajectories.jsonl").read_bytes().splitlines()
    assert len(made) == 3
    assert {orjson.loads(line)["environment"] for line in made} == {"mock/ours.example"}


def _options(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _options(info.annotation, f"{above}{name}.")
        else:
            default = info.get_default(call_default_factory=True)
            shown = "none" if default is None else "empty" if default == "" else f"`{default}`"
            yield f"{above}{name}", f"| `{above}{name}` | {shown} | {info.description} |"


def test_the_table_lists_every_option_with_its_default() -> None:
    rows = dict(_options(GeneratorOptions))
    assert [line for line in PAGE.splitlines() if line.startswith("| `")] == list(rows.values())


def test_the_configuration_is_off() -> None:
    found = GeneratorOptions.model_validate(yaml.safe_load((ROOT / "conf" / "trajectory_generator.yaml").read_text()))
    assert (found.base_url, found.model) == ("", "")
