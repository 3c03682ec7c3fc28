"""API-Bank, level 3: scenes with their right calls, as text."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory
from forge.stored_files import Problem
from forge.trajectories.checks import check
from forge.trajectories.formats import api_bank_scenes, registry
from forge.trajectories.formats.fields import Found

SCENES = Path(__file__).resolve().parents[5] / "shared" / "samples" / "api-bank" / "api-bank" / "lv3-samples"
SCENE = """Scene: Afternoon

First Utterence: Help me with the tea.

Key Info:

- Tea: green
- Cups: 2

- GT API Call:
GetToken(username="ada", password="x(y)")
BrewTea(token=98b4, tea="green", cups=2, to=["ada", "bob"]): two for the guests

"""


def read(text: str) -> list[Found]:
    return list(api_bank_scenes.read_text(iter(text.splitlines(keepends=True))))


def test_a_scene() -> None:
    text = SCENE.replace("98b4", "b498")
    (only,) = read(text)
    assert isinstance(only, Trajectory)
    assert only.task == "Help me with the tea."
    assert list(only.steps) == [
        Step("system", "Scene: Afternoon"),
        Step("user", "Help me with the tea.\n\nKey Info:\n\n- Tea: green\n- Cups: 2"),
        Step("assistant", calls=(ToolCall("GetToken", {"username": "ada", "password": "x(y)"}),)),
        Step(
            "assistant",
            thought="two for the guests",
            calls=(ToolCall("BrewTea", {"token": "b498", "tea": "green", "cups": 2, "to": ["ada", "bob"]}),),
        ),
    ]
    assert check(only) is None
    assert registry.format_of_text(text) == "api_bank_scenes"


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ("BrewTea(token=98b4)", "malformed_arguments"),
        ("BrewTea('green')", "malformed_arguments"),
        ("BrewTea(**{'tea': 'green'})", "malformed_arguments"),
        ("BrewTea(tea=open('/'))", "malformed_arguments"),
        ("BrewTea(tea={1, 2})", "malformed_arguments"),
        ("tea.Brew(cups=1)", "malformed_arguments"),
        ("BrewTea", "malformed_arguments"),
        ("BrewTea(cups=" + "(" * 300 + ")", "malformed_arguments"),
        ("BrewTea(cups=1)\n" * 10_000, "oversized"),
    ],
)
def test_what_is_no_call(calls: str, reason: str) -> None:
    (problem,) = read(f"Scene: x\nFirst Utterance: y\nAPI Calls:\n{calls}")
    assert isinstance(problem, Problem)
    assert problem.reason == reason


def test_a_scene_without_a_request() -> None:
    (problem,) = read("Scene: x\nAPI Calls:\nBrewTea(cups=1)")
    assert isinstance(problem, Problem)
    assert problem.reason == "malformed_record"


def test_other_texts_do_not_match() -> None:
    assert not api_bank_scenes.matches_text("Scene: a play\nAPI Calls are not made in it\n")
    assert not api_bank_scenes.matches_text("API Calls:\n")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text("BrewTa(=,)'\"[]{}:1-.*\\ \n", max_size=60))
def test_any_text_is_an_episode_or_a_problem(info: str, calls: str) -> None:
    assert len(read(f"Scene: x\nFirst Utterance: y\n{info}\nAPI Calls:\n{calls}")) == 1


def test_a_long_text_is_not_read_to_its_end() -> None:
    started = time.process_time()
    (problem,) = api_bank_scenes.read_text("Scene: endless\n" for _ in range(10**9))
    assert isinstance(problem, Problem)
    assert problem.reason == "oversized"
    assert time.process_time() - started < 5


@pytest.mark.skipif(not SCENES.is_dir(), reason="the samples are not here")
def test_real_scenes() -> None:
    scenes = calls = 0
    for path in sorted(SCENES.glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        assert api_bank_scenes.matches_text(text)
        (only,) = read(text)
        assert isinstance(only, Trajectory)
        assert check(only) is None
        scenes += 1
        calls += sum(len(step.calls) for step in only.steps)
        assert sum(len(step.calls) for step in only.steps) == text.partition("API Call")[2].count("(")
    assert (scenes, calls) == (8, 34)
