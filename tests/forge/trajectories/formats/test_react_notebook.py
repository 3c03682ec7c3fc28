"""Notebooks: episodes out of what cells printed, over as many outputs as they were cut into."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given

from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.react_notebook import matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"


def stream(*lines: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": list(lines)}


NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 2,
    "metadata": {},
    "cells": [
        {"cell_type": "markdown", "source": ["# Run"], "metadata": {}},
        {
            "cell_type": "code",
            "source": ["run()"],
            "outputs": [
                stream("1 Claim: a\n", "Thought 1: b\n", "Action 1: Search[c]\nObs"),
                stream("Action: warning", name="stderr"),
                stream("ervation 1: d\n"),
                {"output_type": "execute_result", "data": {"text/plain": "Action 2: Finish[e]\n"}},
                {"output_type": "stream", "name": "stdout", "text": "Observation 2: Episode finished, reward = 1\n"},
            ],
        },
        {"cell_type": "code", "source": [], "outputs": [stream("2 Claim: f\nAction 1: Finish[g]\n")]},
    ],
}


def test_outputs_are_one_log() -> None:
    first, second = episodes(read, NOTEBOOK)
    assert [step.content for step in first.steps] == ["Claim: a", None, "d", None, "Episode finished, reward = 1"]
    assert (first.outcome, first.episode, second.episode, second.task) == ("success", "1", "2", "Claim: f")
    assert registry.format_of_record(NOTEBOOK) == "react_notebook"


def test_a_notebook_without_episodes() -> None:
    empty = {"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [stream("hello\n")]}]}
    assert reasons(read, empty) == ["no_steps"]
    assert not matches({"cells": [], "name": "no notebook"})


@given(damaged(NOTEBOOK))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    matches(record)
    found_in(read, record)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
@pytest.mark.parametrize(
    ("name", "beginning", "reward", "thinking"),
    [
        ("FEVER", r"^\d+ Claim: ", r"^\{'steps': .*'reward': 1", 0),
        ("WebShop", r"^Action: reset$", r"^Observation: Your score \(min 0\.0, max 1\.0\): 1\.0$", 1089),
    ],
)
def test_reacts_notebooks(name: str, beginning: str, reward: str, thinking: int) -> None:
    record = orjson.loads((SAMPLES / f"react/{name}.ipynb").read_bytes())
    text = "".join(
        "".join(output["text"])
        for cell in record["cells"]
        for output in cell.get("outputs", [])
        if output["name"] == "stdout"
    )
    found = episodes(read, record)
    assert len(found) == len(re.findall(beginning, text, re.MULTILINE)) == 500
    assert sum(one.outcome == "success" for one in found) == len(re.findall(reward, text, re.MULTILINE))
    observations = len(re.findall(r"^Observation", text, re.MULTILINE))
    resets = len(re.findall(r"^Action: reset$", text, re.MULTILINE))
    assert len(re.findall(r"^Action: think\[", text, re.MULTILINE)) == thinking
    assert sum(step.role == "tool" for one in found for step in one.steps) == observations - resets - thinking
    assert {decision.reason for decision in map(check, found) if decision} <= {"looping"}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
@pytest.mark.parametrize("name", ["alfworld", "hotpotqa"])
def test_reacts_notebooks_without_outputs(name: str) -> None:
    assert reasons(read, orjson.loads((SAMPLES / f"react/{name}.ipynb").read_bytes())) == ["no_steps"]
