from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories import checks
from forge.trajectories.checks import check


def episode(*steps: Step, tools: Sequence[dict[str, Any]] = ()) -> Trajectory:
    return Trajectory("t", tools, steps, "unknown", None, "e", "MIT", "human", "s", "i")


def act(name: str = "look", call_id: str | None = None, **arguments: Any) -> Step:
    return Step("assistant", calls=(ToolCall(name, arguments, call_id),))


def reason(trajectory: Trajectory) -> str | None:
    found = check(trajectory)
    return None if found is None else found.reason


def test_a_good_episode_passes() -> None:
    assert check(episode(Step("user", "go"), act(), Step("tool", "a room"), Step("assistant", "done"))) is None


def test_no_steps_and_no_action() -> None:
    assert reason(episode()) == "no_steps"
    assert reason(episode(Step("user", "hi"), Step("assistant", "hello"))) == "no_action"


def test_observations_need_a_call() -> None:
    assert reason(episode(Step("tool", "?"), act())) == "dangling_observation"
    assert reason(episode(act(), Step("tool", "1"), Step("tool", "2"))) == "dangling_observation"
    assert reason(episode(act(call_id="a"), Step("tool", "1", answers="b"))) == "dangling_observation"
    two = Step("assistant", calls=(ToolCall("f", {}, "a"), ToolCall("f", {}, "b")))
    assert check(episode(two, Step("tool", "2", answers="b"), Step("tool", "1", answers="a"))) is None


def test_loops_of_any_short_period() -> None:
    def turns(*observations: str, times: int) -> list[Step]:
        return [step for _ in range(times) for seen in observations for step in (act(), Step("tool", seen))]

    assert check(episode(*turns("same", times=checks.LOOP_REPEATS - 1))) is None
    assert reason(episode(*turns("same", times=checks.LOOP_REPEATS))) == "looping"
    assert reason(episode(*turns("a", "b", times=checks.LOOP_REPEATS))) == "looping"
    assert check(episode(*(step for n in range(50) for step in (act(), Step("tool", str(n)))))) is None


def test_oversized() -> None:
    assert reason(episode(*[act(), Step("tool", "x")] * checks.MAX_STEPS)) == "oversized"
    assert reason(episode(act(), Step("tool", "x" * (checks.MAX_CHARACTERS + 1)))) == "oversized"


def schema(properties: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "f", "parameters": {"type": "object", "properties": properties, **more}}]


def test_arguments_against_the_schema() -> None:
    tools = schema({"n": {"$ref": "#/$defs/count"}}, required=["n"], **{"$defs": {"count": {"type": "integer"}}})
    assert check(episode(act("f", n=1), tools=tools)) is None
    assert reason(episode(act("f", n="one"), tools=tools)) == "call_schema_mismatch"
    assert reason(episode(act("f"), tools=tools)) == "call_schema_mismatch"
    assert check(episode(act("g", anything=1), tools=tools)) is None, "a tool without a schema is not checked"


@pytest.mark.parametrize(
    "parameters",
    [
        {"$ref": "http://192.0.2.1/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#"},
        {"type": "dict"},
        {"properties": {"n": {"pattern": "(a+)+$"}}},
        {"$ref": "#/$defs/d0", "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}},
        {"properties": 3},
    ],
)
def test_hostile_schemas_cost_no_time_and_reject_nothing(parameters: dict[str, Any]) -> None:
    started = time.monotonic()
    assert check(episode(act("f", n="a" * 40 + "!"), tools=[{"name": "f", "parameters": parameters}])) is None
    assert time.monotonic() - started < 2


keywords = st.sampled_from(["type", "properties", "items", "n", "$ref", "allOf", "minimum"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords, inner, max_size=3),
    max_leaves=10,
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=3), values, max_size=3), values)
def test_check_never_raises(arguments: dict[str, Any], parameters: Any) -> None:
    check(
        episode(
            act("f", **{f"k{key}": value for key, value in arguments.items()}),
            tools=[{"name": "f", "parameters": parameters}],
        )
    )
