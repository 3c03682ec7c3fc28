from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Item, Step, ToolCall, Trajectory
from forge.trajectories.scienceworld import SIMULATOR, TRAIN_VARIATIONS, list_items, read_item, trajectory_of
from forge.trajectories.simulators.episodes import SCRIPTS

LINE: dict[str, Any] = {
    "task": "boil",
    "variation": 3,
    "description": "Your task is to boil water.",
    "observation": "This room is the kitchen.\n",
    "possible_actions": ["look around", "open OBJ"],
    "steps": [{"action": "open door", "observation": "The door is now open.\n", "score": 1.0}],
    "success": True,
    "score": 1.0,
    "error": None,
}
needs_simulator = pytest.mark.skipif(
    SIMULATOR.version is None or shutil.which("java") is None,
    reason="needs Java, and scienceworld: see requirements-simulators.lock",
)


def source(**options: object) -> SourceSettings:
    return SourceSettings(type="scienceworld", license="Apache-2.0", options=options)


def arguments_of(settings: Settings, **options: object) -> str:
    (item,) = list_items("science", source(**options), settings)
    return item.locator["arguments"]


def test_an_item_is_a_task_type(settings: Settings) -> None:
    items = list(list_items("science", source(), settings))
    assert [item.item_id for item in items] == sorted(TRAIN_VARIATIONS)
    assert len(items) == 30
    other = list(list_items("science", source(max_steps=10), settings))
    assert all(one.content_hash != another.content_hash for one, another in zip(items, other, strict=True))


def test_which_variations_are_played(settings: Settings) -> None:
    assert arguments_of(settings, tasks=["boil"]) == "--task boil --max-steps 300 --variations 0 1"
    everything = arguments_of(settings, tasks=["identify-life-stages-2"], variations_per_task=50)
    assert everything.endswith("--variations 0 1 2 3")
    assert arguments_of(settings, tasks=["boil"], variations=[13, 2, 13]).endswith("--variations 2 13")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tasks": ["boil"], "variations": [0, 14]},
            "variation 14 of 'boil' is held out for evaluation and never trained on; allowed: 0 to 13",
        ),
        ({"variations": [5]}, "variation 5 of 'identify-life-stages-2' is held out"),
        ({"variations": []}, r"options\.variations: .* at least 1 item"),
        ({"variations": [-1]}, r"options\.variations\.0: .* greater than or equal to 0"),
        ({"variations_per_task": 0}, r"options\.variations_per_task: .* greater than or equal to 1"),
        ({"max_steps": 0}, r"options\.max_steps: .* greater than or equal to 1"),
        ({"tasks": ["cook"]}, "no task 'cook'; there are: boil, "),
        ({"tasks": []}, r"options\.tasks: .* at least 1 item"),
        ({"task": ["boil"]}, r"options\.task: unknown key; allowed here: tasks, "),
    ],
)
def test_bad_options(options: dict[str, object], message: str, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"sources\.science\..*" + message):
        list(list_items("science", source(**options), settings))


def test_a_line_of_the_script_becomes_a_trajectory() -> None:
    found = trajectory_of(LINE, Item("science", "boil", "h"), "Apache-2.0")
    assert found.steps == (
        Step("user", "Your task is to boil water.\n\nThis room is the kitchen."),
        Step("assistant", calls=(ToolCall("act", {"action": "open door"}),)),
        Step("tool", "The door is now open."),
    )
    (tool,) = found.tools
    assert tool["name"] == "act"
    assert tool["description"].endswith("look around, open OBJ.")
    assert (found.outcome, found.reward, found.generator) == ("success", 1.0, "simulator_gold")
    assert (found.environment, found.episode) == ("scienceworld/boil", "3")
    failed = trajectory_of({**LINE, "success": False, "score": 0.4}, Item("science", "boil", "h"), "")
    assert (failed.outcome, failed.reward) == ("failure", 0.4)


def test_an_absent_simulator_is_one_decision(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_SIMULATORS_PYTHON", "/nonexistent/python")
    (item,) = list_items("science", source(tasks=["boil"]), settings)
    (found,) = read_item(item, source(), settings)
    assert isinstance(found, Decision)
    assert (found.reason, found.step) == ("simulator_not_installed", "parse_trajectories")


@needs_simulator
def test_a_gold_path_that_is_too_long_is_a_decision(settings: Settings) -> None:
    (item,) = list_items("science", source(tasks=["boil"]), settings)
    kept = settings.home_path / "simulators" / f"scienceworld-{item.locator['run']}.jsonl"
    kept.parent.mkdir()
    kept.write_bytes(orjson.dumps({**LINE, "steps": [], "success": False, "error": "the gold path has 301 steps"}))
    (found,) = read_item(item, source(), settings)
    assert isinstance(found, Decision)
    assert (found.item_id, found.reason, found.detail) == ("boil#3", "task_not_run", "the gold path has 301 steps")


@needs_simulator
def test_a_real_task_is_completed_and_equal_in_two_runs(settings: Settings) -> None:
    before = psutil.Process().children(recursive=True)
    options = source(tasks=["lifespan-shortest-lived"], variations=[0])
    (item,) = list_items("science", options, settings)
    (found,) = read_item(item, options, settings)
    assert isinstance(found, Trajectory)
    assert (found.outcome, found.reward, found.episode) == ("success", 1.0, "0")
    assert "the shortest life span" in found.task
    assert "focus on OBJ" in found.tools[0]["description"]
    assert any(call.arguments["action"].startswith("focus on ") for step in found.steps for call in step.calls)
    (cached,) = (settings.home_path / "simulators").iterdir()
    first = cached.read_bytes()
    cached.unlink()
    list(read_item(item, options, settings))
    assert cached.read_bytes() == first
    started = set(psutil.Process().children(recursive=True)) - set(before)
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == [], "no Java process is left behind"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SIMULATOR.python), "-s", "-P", *arguments], capture_output=True, text=True, check=False, cwd=Path("/")
    )


@needs_simulator
def test_the_script_refuses_what_the_simulator_holds_out() -> None:
    script = str(SCRIPTS / SIMULATOR.script)
    refused = run(script, "--task", "boil", "--max-steps", "9", "--variations", "0", "13", "14", "21")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "boil: no train variations: 14, 21" in refused.stderr


@needs_simulator
@pytest.mark.slow
def test_the_train_splits_are_those_of_the_simulator() -> None:
    program = """
import json
from scienceworld import ScienceWorldEnv
env = ScienceWorldEnv()
found = {}
for task in env.get_task_names():
    env.load(task, 0)
    found[task] = env.get_variations_train()
print(json.dumps(found))
env.close()
"""
    found = json.loads(run("-c", program).stdout.splitlines()[-1])
    assert found == {task: list(range(count)) for task, count in TRAIN_VARIATIONS.items()}
