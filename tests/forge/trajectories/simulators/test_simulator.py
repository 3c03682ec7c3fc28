from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forge.config import Settings
from forge.schema import Decision
from forge.trajectories.simulators import episodes, simulator
from forge.trajectories.simulators.simulator import Simulator, installed_version, simulators_python

PYDANTIC = Simulator("demo", "pydantic", "play.py", has_own_environment=False)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script of ``PYDANTIC``, which says what it was called with."""
    for name in ("tethered.py",):
        (tmp_path / name).write_bytes((episodes.SCRIPTS / name).read_bytes())
    monkeypatch.setattr(episodes, "SCRIPTS", tmp_path)
    monkeypatch.setattr(simulator, "SCRIPTS", tmp_path)
    (tmp_path / "play.py").write_text("import json, sys; print(json.dumps({'arguments': sys.argv[1:]}))")
    return tmp_path / "play.py"


def test_an_item_is_run_with_its_arguments(script: Path, settings: Settings) -> None:
    item = PYDANTIC.item("games", "chess", ["--game", "two words"], 30.0)
    assert (item.source, item.item_id) == ("games", "chess")
    assert PYDANTIC.lines(item, settings) == [{"arguments": ["--game", "two words"]}]
    script.write_text("raise SystemExit(3)")
    assert PYDANTIC.lines(item, settings) == [{"arguments": ["--game", "two words"]}], "kept from the first run"


def test_another_script_or_argument_is_another_item(script: Path) -> None:
    hashes = [PYDANTIC.item("games", "chess", [argument], 30.0).content_hash for argument in ("a", "b", "a")]
    assert hashes[0] == hashes[2] != hashes[1]
    assert PYDANTIC.item("games", "chess", ["a"], 90.0).content_hash == hashes[0], "the limit changes no episode"
    script.write_text("raise SystemExit(3)")
    assert PYDANTIC.item("games", "chess", ["a"], 30.0).content_hash != hashes[0]


def test_a_failing_script_is_a_decision(script: Path, settings: Settings) -> None:
    script.write_text("import sys; sys.exit('no more games')")
    found = PYDANTIC.lines(PYDANTIC.item("games", "chess", [], 30.0), settings)
    assert isinstance(found, Decision)
    assert (found.reason, found.detail) == ("simulator_failed", "exit status 1: no more games")


def test_what_is_not_installed_is_a_decision(script: Path, settings: Settings) -> None:
    absent = Simulator("demo", "no-such-distribution", "play.py", has_own_environment=False)
    found = absent.lines(absent.item("games", "chess", [], 30.0), settings)
    assert isinstance(found, Decision)
    assert found.reason == "simulator_not_installed"
    assert found.detail == "no-such-distribution is not installed; see requirements.lock"


def test_the_simulators_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORGE_SIMULATORS_PYTHON", raising=False)
    assert simulators_python().parts[-3:] == (".venv-simulators", "bin", "python")
    monkeypatch.setenv("FORGE_SIMULATORS_PYTHON", "/opt/python")
    assert simulators_python() == Path("/opt/python")
    assert installed_version(Path("/nonexistent/python"), "pydantic") is None
    assert installed_version(Path(sys.executable), "no-such-distribution") is None
    assert installed_version(Path(sys.executable), "textworld-express") == "1.1.0"
