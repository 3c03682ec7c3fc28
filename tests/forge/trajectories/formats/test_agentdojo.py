"""AgentDojo's logs of runs, and its episodes as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.agentdojo import matches, matches_array, read, read_episode_array
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

SAMPLE = (
    Path(__file__).resolve().parents[5] / "shared" / "samples" / "_generated_classA" / "agentdojo_ground_truth.json"
)


def said(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": None if content is None else [{"type": "text", "content": content}], **more}


def call(name: str, call_id: str | None, **arguments: Any) -> dict[str, Any]:
    return {"function": name, "args": arguments, "id": call_id, "placeholder_args": None}


RUN: dict[str, Any] = {
    "suite_name": "travel",
    "pipeline_name": "some-model",
    "user_task_id": "user_task_3",
    "injection_task_id": None,
    "attack_type": None,
    "injections": {},
    "messages": [
        said("system", "You help."),
        said("user", "Pay my bill."),
        said("assistant", None, tool_calls=[call("read_file", "t1", path="bill"), call("get_balance", "t2")]),
        said("tool", "10 EUR", tool_call_id="t1", tool_call=call("read_file", "t1"), error=None),
        said("tool", "", tool_call_id="t2", tool_call=call("get_balance", "t2"), error="ValueError: no account"),
        said("assistant", "I paid.", tool_calls=None),
    ],
    "error": None,
    "utility": True,
    "security": True,
    "duration": 1.5,
}
ARRAY: list[Any] = [
    "workspace",
    "user_task_0",
    "Who comes?",
    [
        said("assistant", "", tool_calls=[call("search", None, query="party")]),
        said("tool", "Ann", tool_call_id=None, tool_call=call("search", None), error=None),
        said("assistant", "", tool_calls=None),
    ],
    False,
]
LINE: dict[str, Any] = {
    "suite": "travel",
    "benchmark_version": "v1",
    "user_task_id": "user_task_1",
    "prompt": "Book it.",
    "tools": [{"name": "book", "description": "Books.", "parameters": {"type": "object"}}],
    "messages": [
        {"role": "assistant", "content": "", "tool_calls": [{"name": "book", "arguments": {"n": 1}, "id": ""}]},
        {"role": "tool", "content": "Booked.", "error": "ValueError"},
    ],
    "utility": None,
    "error": None,
}


def test_run() -> None:
    (episode,) = episodes(read, RUN)
    assert list(episode.steps) == [
        Step("system", "You help."),
        Step("user", "Pay my bill."),
        Step("assistant", calls=(ToolCall("read_file", {"path": "bill"}, "t1"), ToolCall("get_balance", {}, "t2"))),
        Step("tool", "10 EUR", answers="t1"),
        Step("tool", "", answers="t2", error="ValueError: no account"),
        Step("assistant", "I paid."),
    ]
    assert (episode.task, episode.outcome, episode.reward) == ("Pay my bill.", "success", 1.0)
    assert (episode.environment, episode.generator, episode.episode) == (
        "agentdojo/travel",
        "some-model",
        "user_task_3",
    )
    assert check(episode) is None


@pytest.mark.parametrize(
    ("utility", "security", "outcome", "reward"),
    [
        (True, False, "success", 1.0),
        (True, True, "failure", 1.0),
        (False, True, "failure", 0.0),
        (None, False, "unknown", None),
        (True, None, "success", 1.0),
    ],
)
def test_a_run_that_obeys_an_injection_is_no_success(
    utility: bool | None, security: bool | None, outcome: str, reward: float | None
) -> None:
    attacked = {"injection_task_id": "injection_task_2", "attack_type": "important"}
    (episode,) = episodes(read, {**RUN, **attacked, "utility": utility, "security": security})
    assert (episode.outcome, episode.reward) == (outcome, reward)
    assert episode.episode == "user_task_3/important/injection_task_2"


def test_array() -> None:
    (episode,) = episodes(read_episode_array, ARRAY)
    assert list(episode.steps) == [
        Step("user", "Who comes?"),
        Step("assistant", calls=(ToolCall("search", {"query": "party"}),)),
        Step("tool", "Ann"),
    ]
    assert (episode.outcome, episode.reward, episode.episode) == ("failure", 0.0, "user_task_0")
    assert episode.environment == "agentdojo/workspace"
    assert check(episode) is None


def test_line_of_the_ground_truth_script() -> None:
    (episode,) = episodes(read, LINE)
    assert list(episode.steps) == [
        Step("user", "Book it."),
        Step("assistant", calls=(ToolCall("book", {"n": 1}),)),
        Step("tool", "Booked.", error="ValueError"),
    ]
    assert (episode.outcome, episode.reward, episode.tools) == ("unknown", None, tuple(LINE["tools"]))


def test_thinking_blocks() -> None:
    blocks = [{"type": "thinking", "content": "Hm.", "id": "1"}, {"type": "text", "content": "Paid."}]
    (episode,) = episodes(read, {**RUN, "messages": [{"role": "assistant", "content": blocks, "tool_calls": None}]})
    assert list(episode.steps) == [Step("assistant", "Paid.", "Hm.")]


def test_format() -> None:
    assert registry.format_of_record(RUN) == registry.format_of_record(LINE) == "agentdojo"
    for other in ({}, {**RUN, "suite_name": "a", "messages": "text"}, {"suite": "a", "messages": []}):
        assert not matches(other)


@pytest.mark.parametrize("values", [[], ARRAY[:4], [*ARRAY, 1], [1, *ARRAY[1:]], [*ARRAY[:3], "text", True]])
def test_other_arrays(values: list[Any]) -> None:
    assert not matches_array(values)
    assert reasons(read_episode_array, values) == ["malformed_record"]


def test_unusable() -> None:
    assert reasons(read, {**RUN, "messages": []}) == ["no_steps"]
    assert reasons(read, {**RUN, "messages": [said("assistant", "", tool_calls={"function": "a"})]}) == [
        "malformed_record"
    ]
    assert reasons(read, {**RUN, "messages": [said("assistant", "", tool_calls=[call("", None)])]}) == [
        "malformed_record"
    ]


@given(st.sampled_from([RUN, LINE]).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    if matches(record):
        found_in(read, record)


@given(damaged(ARRAY))
def test_a_damaged_array_is_a_problem_and_no_exception(values: list[Any]) -> None:
    found_in(read_episode_array, values)


@pytest.mark.skipif(not SAMPLE.is_file(), reason="no samples beside the checkout")
def test_every_array_of_the_sample() -> None:
    """96 arrays with 430 turns of the agent, 49 of them empty, and 334 calls, each with its result."""
    raw = SAMPLE.read_bytes()
    arrays = orjson.loads(raw)
    assert len(arrays) == 96
    said_by, calls = {"assistant": 0, "tool": 0, "user": 0}, 0
    for values in arrays:
        (episode,) = episodes(read_episode_array, values)
        assert check(episode) is None
        assert episode.outcome == "success"
        assert episode.task == episode.steps[0].content == values[2]
        made = [(call.name, call.arguments) for step in episode.steps for call in step.calls]
        assert made == [(c["function"], c["args"]) for turn in values[3] for c in turn.get("tool_calls") or ()]
        calls += len(made)
        for step in episode.steps:
            said_by[step.role] += 1
    empty = sum(
        turn["role"] == "assistant" and not turn["tool_calls"] and not turn["content"][0]["content"]
        for values in arrays
        for turn in values[3]
    )
    assert empty == 49
    assert said_by == {"assistant": raw.count(b'"role": "assistant"') - empty, "tool": 334, "user": 96}
    assert calls == 334
