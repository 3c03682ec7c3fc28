"""Prompts of solved examples: every episode of every text, and a reason for texts that only reason."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory
from forge.stored_files import Problem
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.react_prompts import matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"
CLAIMS = """
Say whether it is so.
Claim: Ice is cold.
Action 1: Search[ice]
Observation 1: Cold.
Action 2: Finish[SUPPORTS]

Claim: Ice is hot.
Action 1: Finish[REFUTES]

"""
ROOM = "You are in the middle of a room.\nYour task is to: find a pen.\n> look\nA pen.\n"
PROMPTS = {"act_claims": CLAIMS, "qa": "Question: a?\nThought: b\nAnswer: c\n", "act_room": ROOM}


def test_episodes_are_called_by_their_prompt() -> None:
    found = found_in(read, PROMPTS)
    assert [one.episode if isinstance(one, Trajectory) else (one.part, one.reason) for one in found] == [
        "act_claims.1",
        "act_claims.2",
        ("qa", "no_action"),
        "act_room",
    ]
    hot = episodes(read, PROMPTS)[1]
    assert hot.task == "Claim: Ice is hot."
    assert hot.steps == (
        Step("system", "Say whether it is so."),
        Step("user", "Claim: Ice is hot."),
        Step("assistant", calls=(ToolCall("Finish", {"input": "REFUTES"}),)),
    )


@pytest.mark.parametrize(
    ("record", "known"),
    [
        (PROMPTS, True),
        ({"a": "b"}, False),
        ({}, False),
        ({**PROMPTS, "n": 1}, False),
        ({"instruction": "Do.", "output": CLAIMS}, False),
    ],
)
def test_matches(record: dict[str, object], known: bool) -> None:
    assert matches(record) is known
    assert (registry.format_of_record(record) == "react_prompts") is known


@given(damaged(PROMPTS))
def test_damage_is_a_problem_and_no_exception(record: dict[str, object]) -> None:
    matches(record)
    found_in(read, record)


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=30)))
def test_any_texts(record: dict[str, str]) -> None:
    assert matches(record) in (True, False)
    found_in(read, record)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
@pytest.mark.parametrize(
    ("name", "beginning", "count"),
    [
        ("alfworld", r"^You are in the middle", 24),
        ("alfworld_3prompts", r"^You are in the middle", 36),
        ("fever", r"^Claim: ", 6),
        ("prompts_naive", r"^Question: ", 23),
    ],
)
def test_reacts_prompts(name: str, beginning: str, count: int) -> None:
    record = orjson.loads((SAMPLES / f"react/prompts/{name}.json").read_bytes())
    acting = [text for text in record.values() if re.search(r"^(Action \d+:|>)", text, re.MULTILINE)]
    assert sum(len(re.findall(beginning, text, re.MULTILINE)) for text in acting) == count
    found = found_in(read, record)
    read_ = [one for one in found if isinstance(one, Trajectory)]
    assert len(read_) == count
    assert [one.reason for one in found if isinstance(one, Problem)] == ["no_action"] * (len(record) - len(acting))
    assert [check(one) for one in read_] == [None] * count
    acts = r"^Action \d+:" if beginning != r"^You are in the middle" else r"^>(?! ?think)"
    extra = 1 if name == "alfworld_3prompts" else 0  # one thought is answered with more than OK.
    made = sum(len(step.calls) for one in read_ for step in one.steps)
    assert made == sum(len(re.findall(acts, text, re.MULTILINE)) for text in acting) + extra
