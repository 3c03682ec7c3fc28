"""Logs of text games."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.games import matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples" / "_generated_classA"

SCIENCE: dict[str, Any] = {
    "env": "scienceworld 9",
    "task": "boil",
    "variation": 3,
    "instruction": "Boil water.",
    "initial_observation": "A kitchen.",
    "steps": [
        {"action": "look", "observation": "A stove.", "reward": 0, "done": False, "score": 0},
        {"action": "boil water", "observation": "It boils.", "reward": 100, "done": True, "score": 100},
    ],
    "final_score": 100,
}
COIN: dict[str, Any] = {
    "game": "coin",
    "task": "Find the coin.",
    "seed": 7,
    "observation": "A hall.",
    "valid_actions": ["go north", "wait"],
    "steps": [
        {
            "action": {"name": "move", "arguments": {"to": "north"}},
            "thought": "North it is.",
            "observation": None,
            "valid_actions": ["take coin"],
            "error": "Too dark.",
        },
    ],
    "success": False,
    "score": 0.5,
}


def act(action: str) -> tuple[ToolCall, ...]:
    return (ToolCall("act", {"action": action}),)


def test_score_in_percent() -> None:
    (episode,) = episodes(read, SCIENCE)
    assert list(episode.steps) == [
        Step("user", "Boil water.\n\nA kitchen."),
        Step("assistant", calls=act("look")),
        Step("tool", "A stove."),
        Step("assistant", calls=act("boil water")),
        Step("tool", "It boils."),
    ]
    assert (episode.task, episode.outcome, episode.reward) == ("Boil water.", "success", 100.0)
    assert (episode.environment, episode.episode) == ("scienceworld 9/boil", "boil/3")
    assert check(episode) is None
    assert registry.format_of_record(SCIENCE) == "games"


def test_actions_as_calls_and_offered_actions() -> None:
    (episode,) = episodes(read, COIN)
    assert list(episode.steps) == [
        Step("user", "Find the coin.\n\nA hall.\n\nValid actions: go north, wait"),
        Step("assistant", thought="North it is.", calls=(ToolCall("move", {"to": "north"}),)),
        Step("tool", "Valid actions: take coin", error="Too dark."),
    ]
    assert (episode.task, episode.outcome, episode.reward) == ("Find the coin.", "failure", 0.5)
    assert (episode.environment, episode.episode) == ("coin", "7")


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({"final_score": 99}, "failure"),
        ({"final_score": None}, "unknown"),
        ({"final_score": 100, "env": "zork"}, "unknown"),
        ({"won": False}, "failure"),
        ({"won": False, "success": True}, "success"),
        ({"success": "yes", "final_score": float("nan")}, "unknown"),
    ],
)
def test_outcome(facts: dict[str, Any], outcome: str) -> None:
    (episode,) = episodes(read, {**SCIENCE, **facts})
    assert episode.outcome == outcome


@pytest.mark.parametrize("action", [None, "", 5, [], {"arguments": {}}])
def test_no_action(action: object) -> None:
    assert reasons(read, {**SCIENCE, "steps": [{"action": action, "observation": "x"}]}) == ["malformed_record"]


def test_other_records() -> None:
    for other in ({}, {**SCIENCE, "steps": []}, {**SCIENCE, "steps": ["x"]}, {"steps": SCIENCE["steps"]}):
        assert not matches(other)
    assert not matches({**SCIENCE, "steps": [{"action": "x"}]})


@given(st.sampled_from([SCIENCE, COIN]).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    if matches(record):
        found_in(read, record)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
@pytest.mark.parametrize(
    ("name", "records", "actions"), [("scienceworld_gold", 20, 364), ("textworld_express_gold", 40, 545)]
)
def test_every_sample(name: str, records: int, actions: int) -> None:
    lines = (SAMPLES / f"{name}.jsonl").read_bytes().splitlines()
    counted: Counter[str] = Counter()
    for line in lines:
        record = orjson.loads(line)
        assert registry.format_of_record(record) == "games"
        (episode,) = episodes(read, record)
        assert check(episode) is None
        assert [call.arguments["action"] for step in episode.steps for call in step.calls] == [
            step["action"] for step in record["steps"]
        ]
        assert [step.content for step in episode.steps if step.role == "tool"] == [
            step["observation"] for step in record["steps"]
        ]
        assert episode.steps[0].content == f"{record['instruction']}\n\n{record['initial_observation']}"
        counted[episode.outcome] += 1
    assert counted == {"success": records}
    assert sum(line.count(b'"action":') for line in lines) == actions
