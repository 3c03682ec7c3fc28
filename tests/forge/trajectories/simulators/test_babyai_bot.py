from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forge.trajectories.babyai import ENVIRONMENTS, SIMULATOR
from forge.trajectories.simulators import babyai_bot
from forge.trajectories.simulators.babyai_bot import MAX_PLANS, BoundedPlan, EndlessPlanningError
from forge.trajectories.simulators.babyai_text import ACTIONS, COLOURS, DIRECTIONS, DOOR_STATES, OBJECTS

installed = pytest.mark.skipif(
    SIMULATOR.version is None, reason="minigrid is not installed: see requirements-simulators.lock"
)


def run(*arguments: str) -> str:
    return subprocess.run(
        [str(SIMULATOR.python), "-s", "-P", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path("/"),
        env={**os.environ, "PYTHONHASHSEED": "0"},
    ).stdout


def played(environment: str, seed: int) -> dict[str, Any]:
    arguments = ("--environment", environment, "--first-seed", str(seed), "--seeds", "1")
    line: dict[str, Any] = json.loads(run(babyai_bot.__file__, *arguments))
    return line


def test_a_plan_is_looked_at_a_bounded_number_of_times() -> None:
    plan = BoundedPlan(["a", "b"])
    assert plan[-1] == "b"
    plan.pop()
    plan.append("c")
    assert [plan[-1] for _ in range(MAX_PLANS - 1)] == ["c"] * (MAX_PLANS - 1)
    with pytest.raises(EndlessPlanningError):
        plan[-1]
    plan.looks = 0
    assert plan[-1] == "c"


def test_the_script_needs_its_arguments() -> None:
    done = subprocess.run([sys.executable, babyai_bot.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--environment, --first-seed, --seeds" in done.stderr


@installed
def test_the_encoding_is_that_of_minigrid() -> None:
    program = """
import json, gymnasium, minigrid
from minigrid.core import actions, constants
print(json.dumps([
    sorted(name for name in gymnasium.registry if name.startswith("BabyAI-")),
    constants.OBJECT_TO_IDX, constants.COLOR_TO_IDX, constants.STATE_TO_IDX,
    [vector.tolist() for vector in constants.DIR_TO_VEC], [action.name for action in actions.Actions],
]))
"""
    environments, objects, colours, states, vectors, actions = json.loads(run("-c", program).splitlines()[-1])
    assert environments == sorted(ENVIRONMENTS)
    assert objects == {name: number for number, name in enumerate(OBJECTS)}
    assert colours == {name: number for number, name in enumerate(COLOURS)}
    assert states == {name: number for number, name in enumerate(DOOR_STATES)}
    assert dict(zip(DIRECTIONS, vectors, strict=True)) == {
        "east": [1, 0], "south": [0, 1], "west": [-1, 0], "north": [0, -1],
    }  # fmt: skip
    assert actions == list(ACTIONS)


@installed
def test_a_mission_that_begins_with_the_object_in_hand() -> None:
    line = played("BabyAI-PutNextS5N2Carrying-v0", 0)
    assert line["observation"]["image"][3][6][0] == OBJECTS.index("box")
    assert "put the yellow box" in line["mission"]
    assert (line["ending"], line["error"]) == ("terminated", None)
    assert line["reward"] > 0.9


@installed
@pytest.mark.parametrize(
    ("environment", "seed", "error"),
    [
        ("BabyAI-KeyInBox-v0", 0, "AssertionError: assert "),
        ("BabyAI-UnlockToUnlock-v0", 4, "EndlessPlanningError: no action after 1000 rounds"),
        ("BabyAI-PutNextS5N2Carrying-v0", 2, "PlanEndedError: the bot has done all that it planned"),
    ],
)
def test_where_the_bot_gives_up_it_is_said_why(environment: str, seed: int, error: str) -> None:
    line = played(environment, seed)
    assert (line["ending"], line["reward"]) == (None, 0.0)
    assert line["error"].startswith(error)
