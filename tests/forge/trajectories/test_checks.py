from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory, canonical_json, table_of
from forge.trajectories import checks
from forge.trajectories.checks import check
from forge.trajectories.formats import registry

GLAIVE = Path(__file__).resolve().parents[4] / "shared" / "samples" / "glaive" / "data"


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
    assert reason(episode(Step("user", "hi"))) == "no_action"
    offered = [{"name": "f", "parameters": {}}]
    assert check(episode(Step("user", "hi"), Step("assistant", "hello"), tools=offered)) is None, "when not to call"
    assert reason(episode(Step("user", "hi"), tools=offered)) == "empty_episode"
    assert check(episode(act("f"), tools=offered)) is None
    declined = Step("assistant", "I'm sorry, but I can't assist with that.")
    assert reason(episode(Step("user", "hi"), declined, tools=offered)) == "refusal"


def test_what_is_said() -> None:
    rules = " ".join(f"rule{number}" for number in range(80))
    assert reason(episode(Step("system", rules), act(), Step("assistant", rules))) == "leaked_system_prompt"
    assert reason(episode(act(), Step("tool", "1"), Step("assistant", '{"name": "look", "argum'))) == "cut_json"


def test_failed_episodes_are_kept() -> None:
    failed = episode(act(), Step("tool", "Error: no"), Step("assistant", "It did not work."))
    assert check(replace(failed, outcome="failure", reward=0.0)) is None


def test_observations_need_a_call() -> None:
    assert reason(episode(Step("tool", "?"), act())) == "dangling_observation"
    assert reason(episode(act(), Step("tool", "1"), Step("tool", "2"))) == "dangling_observation"
    assert reason(episode(act(call_id="a"), Step("tool", "1", answers="b"))) == "dangling_observation"
    assert reason(episode(act(call_id="a"), *[Step("tool", "1", answers="a")] * 2)) == "dangling_observation"
    assert reason(episode(Step("tool", "1", answers="a"), act(call_id="a"))) == "dangling_observation"
    two = Step("assistant", calls=(ToolCall("f", {}, "a"), ToolCall("f", {}, "b")))
    assert check(episode(two, Step("tool", "2", answers="b"), Step("tool", "1", answers="a"))) is None


def test_who_does_the_same_thing_often_and_arrives_is_not_looping() -> None:
    waiting = episode(*[step for _ in range(20) for step in (act(), Step("tool", "You wait."))])
    assert reason(waiting) == "looping"
    assert check(replace(waiting, outcome="success")) is None


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
    assert reason(episode(act(text="x" * (checks.MAX_CHARACTERS + 1)))) == "oversized"
    assert reason(episode(act("f"), tools=[{"name": "f", "description": "x" * checks.MAX_CHARACTERS}])) == "oversized"


@pytest.mark.parametrize(
    "trajectory",
    [
        episode(act(text="\ud800")),
        episode(act(n=2**70)),
        episode(act("\ud800")),
        episode(act(), Step("tool", "\ud800")),
        episode(act(call_id="\ud800")),
        replace(episode(act()), task="\ud800"),
        replace(episode(act()), environment="\ud800"),
        replace(episode(act()), generator="\ud800"),
        replace(episode(act()), license="\ud800"),
        replace(episode(act()), episode="\ud800"),
        episode(act("f"), tools=[{"name": "f", "parameters": {"minimum": 2**70}}]),
    ],
)
def test_what_no_table_can_hold(trajectory: Trajectory) -> None:
    assert reason(trajectory) == "malformed_record"


def schema(properties: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "f", "parameters": {"type": "object", "properties": properties, **more}}]


def test_arguments_against_the_schema() -> None:
    tools = schema({"n": {"$ref": "#/$defs/count"}}, required=["n"], **{"$defs": {"count": {"type": "integer"}}})
    assert check(episode(act("f", n=1), tools=tools)) is None
    assert reason(episode(act("f", n="one"), tools=tools)) == "call_schema_mismatch"
    assert reason(episode(act("f"), tools=tools)) == "call_schema_mismatch"
    without_schema = [*tools, {"name": "g", "description": "free"}]
    assert check(episode(act("g", anything=1), tools=without_schema)) is None, "a tool without a schema is not checked"
    assert check(episode(act("f", n="one"), tools=[*tools, *schema({"n": {"type": "string"}})])) is None, "either tool"


def test_tools_that_are_not_listed() -> None:
    tools = schema({})
    seen, failed = Step("tool", "a room"), Step("tool", "Error: no such tool")
    assert reason(episode(act("g"), tools=tools)) == "unknown_tool"
    assert check(episode(act("g"))) is None, "nothing is listed"
    assert reason(episode(act("g"), tools=[{"name": ["g"]}, {}])) == "unknown_tool"
    assert check(episode(act("g"), seen, tools=tools)) is None, "the environment knows it"
    assert reason(episode(act("g"), failed, tools=tools)) == "unknown_tool"
    assert check(episode(act("g"), failed, act("f"), seen, tools=tools)) is None, "recovered"
    assert reason(episode(act("f"), seen, act("g"), failed, tools=tools)) == "unknown_tool"
    assert reason(episode(act("g"), failed, act("f"), failed, tools=tools)) == "unknown_tool"
    assert check(episode(act("f"), seen, act("Finish"), tools=tools)) is None
    assert check(episode(act("f"), seen, act("final_answer"), tools=tools)) is None
    (placeholder,) = checks.PLACEHOLDER_TOOLS
    assert reason(episode(act(placeholder), failed, act("f"), seen, tools=tools)) == "unknown_tool"


def test_a_wrong_call_that_is_refused_and_corrected_teaches() -> None:
    tools = schema({"n": {"type": "integer"}})
    wrong, refused, right = act("f", n="one"), Step("tool", "Error: n is no integer"), act("f", n=1)
    assert check(episode(wrong, refused, right, Step("tool", "ok"), tools=tools)) is None
    assert reason(episode(wrong, refused, tools=tools)) == "call_schema_mismatch"
    assert reason(episode(wrong, Step("tool", "ok"), right, Step("tool", "ok"), tools=tools)) == "call_schema_mismatch"
    assert reason(episode(wrong, refused, right, refused, tools=tools)) == "call_schema_mismatch"


def test_the_order_of_reasons() -> None:
    wrong = act("f", "a", n="one")
    twice = [Step("tool", "1", answers="a")] * 2
    assert reason(episode(wrong, *twice, tools=schema({"n": {"type": "integer"}}))) == "dangling_observation"


def test_steps_of_a_typical_episode_are_checked_fast() -> None:
    tools = [
        {
            "name": f"tool{number}",
            "description": "Does something that takes a sentence to describe, with care. " * 3,
            "parameters": {
                "type": "object",
                "properties": {name: {"type": "string", "description": "What it is. " * 4} for name in "abcde"},
                "required": ["a"],
            },
        }
        for number in range(10)
    ]
    turns = [
        step
        for number in range(4)
        for step in (
            Step("assistant", "I will look. " * 10, calls=(ToolCall(f"tool{number}", {"a": "x" * 50}, str(number)),)),
            Step(
                "tool",
                canonical_json({"rows": [{"id": row, "name": "n" * 20} for row in range(20)]}),
                answers=str(number),
            ),
        )
    ]
    prompt = " ".join(f"word{number % 97}" for number in range(500))
    typical = episode(Step("system", prompt), *turns, Step("assistant", "Done. " * 40), tools=tools)
    assert check(typical) is None
    started = time.process_time()
    for _ in range(300):
        check(typical)
    assert 300 * len(typical.steps) / (time.process_time() - started) > 20_000


@pytest.mark.skipif(not GLAIVE.is_dir(), reason="needs the samples beside the checkout")
def test_real_answers_beside_tools_that_do_not_cover_the_request_are_kept() -> None:
    records = json.loads((GLAIVE / "glaive_toolcall_en_demo.json").read_text())
    silent = [
        record
        for record in records
        if json.loads(record["tools"] or "[]")
        and all(turn["from"] != "function_call" for turn in record["conversations"])
    ]
    assert len(silent) > 30
    found = [found for record in silent for found in registry.module_of("sharegpt").read(record)]
    assert [check(trajectory) for trajectory in found] == [None] * len(silent)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**70) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "n", "$ref"]), inner, max_size=3)
    ),
    max_leaves=10,
)
texts = st.none() | st.text(max_size=8) | st.sampled_from(["Error: no", '{"a": ', "\ud800"])
names = st.sampled_from(["f", "g", "finish", ""])
ids = st.sampled_from([None, "a", "b"])
calls = st.builds(ToolCall, names, st.dictionaries(st.text(max_size=3), values, max_size=3), ids)
steps = st.builds(
    Step,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=texts,
    thought=texts,
    calls=st.lists(calls, max_size=2),
    answers=ids,
    error=texts,
)


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.lists(steps, max_size=8),
    st.lists(st.fixed_dictionaries({"name": names | values}, optional={"parameters": values}), max_size=3),
)
def test_check_never_raises_and_what_it_passes_is_a_row(steps: list[Step], tools: list[dict[str, Any]]) -> None:
    trajectory = episode(*steps, tools=tools)
    if check(trajectory) is None:
        assert table_of("trajectories", [trajectory.row("night")]).num_rows == 1
