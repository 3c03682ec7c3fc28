from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Item, Step, ToolCall, Trajectory
from forge.trajectories.agentdojo import SIMULATOR, list_items, read_item, trajectory_of


def source(*suites: str) -> SourceSettings:
    return SourceSettings(type="agentdojo", license="MIT", options={"suites": list(suites)})


@pytest.mark.parametrize("suite", ["banking", "slack"])
def test_held_out_suites_are_refused(suite: str, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"held out for evaluation.*allowed: workspace, travel"):
        list(list_items("agentdojo", source("workspace", suite), settings))


def test_unknown_suites_are_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="no suite 'moon'"):
        list(list_items("agentdojo", source("moon"), settings))
    with pytest.raises(ConfigurationError, match=r"options\.suites: Input should be a valid tuple"):
        list(list_items("agentdojo", SourceSettings(type="agentdojo", options={"suites": "travel"}), settings))
    with pytest.raises(ConfigurationError, match="unknown key; allowed here: suites"):
        list(list_items("agentdojo", SourceSettings(type="agentdojo", options={"suite": ["travel"]}), settings))


def test_an_absent_simulator_is_one_decision(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_SIMULATORS_PYTHON", "/nonexistent/python")
    (item,) = list_items("agentdojo", source("travel"), settings)
    (found,) = read_item(item, source("travel"), settings)
    assert isinstance(found, Decision)
    assert (found.reason, found.step) == ("simulator_not_installed", "parse_trajectories")


def test_a_line_of_the_script_becomes_a_trajectory() -> None:
    line = {
        "suite": "travel",
        "user_task_id": "user_task_1",
        "prompt": "Book it.",
        "tools": [{"name": "book", "description": "Books.", "parameters": {"type": "object", "properties": {}}}],
        "messages": [
            {"role": "assistant", "content": "", "tool_calls": [{"name": "book", "arguments": {}, "id": None}]},
            {"role": "tool", "content": "booked"},
            {"role": "assistant", "content": ""},
        ],
        "utility": True,
        "error": None,
    }
    found = trajectory_of(line, Item("agentdojo", "travel", "h"), "MIT")
    assert found.steps == (
        Step("user", "Book it."),
        Step("assistant", calls=(ToolCall("book", {}),)),
        Step("tool", "booked"),
    )
    assert (found.outcome, found.reward, found.environment) == ("success", 1.0, "agentdojo/travel")
    assert found.episode == "user_task_1"
    assert trajectory_of({**line, "utility": False}, Item("a", "t", "h"), "").outcome == "failure"


def test_the_real_suites(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    if SIMULATOR.version is None:
        pytest.skip("the simulators' environment is not installed: see requirements-simulators.lock")
    travel, workspace = list_items("agentdojo", source("workspace", "travel"), settings)
    assert (travel.item_id, workspace.item_id) == ("travel", "workspace")
    found = list(read_item(travel, source("travel"), settings))
    kept = [row for row in found if isinstance(row, Trajectory)]
    assert len(kept) == len(found) == 20
    assert {row.outcome for row in kept} == {"success"}
    assert all(row.tools and row.steps[0].role == "user" for row in kept)
    (cached,) = (settings.home_path / "simulators").iterdir()
    first = cached.read_bytes()
    cached.unlink()
    monkeypatch.setenv("PYTHONHASHSEED", "4")
    assert [
        row.trajectory_id for row in read_item(travel, source("travel"), settings) if isinstance(row, Trajectory)
    ] == [row.trajectory_id for row in kept]
    assert cached.read_bytes() == first, "two runs print equal bytes"
    sample = Path(__file__).parents[4] / "shared" / "samples" / "_generated_classA" / "agentdojo_ground_truth.json"
    if sample.is_file():
        prompts = {
            episode[2]
            for episode in (json.loads(line) for line in _episodes(sample.read_text()))
            if episode[0] == "travel" and episode[4]
        }
        assert len(prompts & {row.task for row in kept}) >= 15, "the same tasks as in the recorded runs"
    assert os.environ["PYTHONHASHSEED"] == "4"


def _episodes(text: str) -> list[str]:
    """The sample is one JSON array or one array a line."""
    try:
        return [json.dumps(episode) for episode in json.loads(text)]
    except json.JSONDecodeError:
        return text.splitlines()
