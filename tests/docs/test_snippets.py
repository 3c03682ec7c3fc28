"""Snippets of README and docs: the YAML is valid configuration, the commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from forge.cli import app
from forge.config import SourceSettings, source_options
from forge.files import file_options
from forge.trajectories.files import TrajectoryFilesOptions

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(language: str) -> list[tuple[str, str]]:
    fenced = re.compile(rf"^```{language}\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
    return [(page.name, block) for page in PAGES for block in fenced.findall(page.read_text())]


@pytest.mark.parametrize(("page", "block"), snippets("yaml"))
def test_source_entries_are_valid(page: str, block: str) -> None:
    for name, entry in yaml.safe_load(block).items():
        source = SourceSettings.model_validate(entry)
        if source.type == "files":
            file_options(name, source)
        if source.type == "trajectory_files":
            source_options(TrajectoryFilesOptions, name, source)


def forge_commands() -> list[list[str]]:
    lines = [line.split("#")[0].strip() for _, block in snippets("sh") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(".venv/bin/forge ")]


def test_there_are_snippets() -> None:
    assert len(snippets("yaml")) >= 2
    assert len(forge_commands()) >= 6


@pytest.mark.parametrize("command", forge_commands(), ids=" ".join)
def test_forge_commands_exist_with_these_options(command: list[str]) -> None:
    names = [word for word in command if not word.startswith("-")]
    depth = 2 if names[0] in ("sources", "release") else 1
    shown = CliRunner().invoke(app, [*names[:depth], "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0, shown.output
    for option in (word for word in command if word.startswith("--")):
        assert option in shown.output


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", "\n".join(b for _, b in snippets("sh")), re.MULTILINE))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"
