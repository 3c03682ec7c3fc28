"""Rows of sets of OpenHands runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.openhands import matches, read, resolution_of
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons


def said(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "name": None, "tool_call_id": None, "tool_calls": None, **more}


def call(name: str, call_id: str, **arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "index": None, "function": {"name": name, "arguments": json.dumps(arguments)}}


TOOL = {
    "type": "function",
    "function": {
        "name": "execute_bash",
        "description": "Runs.",
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string", "enum": None}, "thought": None},
            "required": ["command"],
        },
    },
}
GYM: dict[str, Any] = {
    "instance_id": "owner__repo-1",
    "run_id": "some-model-2024_maxiter_30_N_v1",
    "resolved": None,
    "messages": [
        said("system", "You are helpful."),
        said("user", "Fix it."),
        said("assistant", "", tool_calls=[call("execute_bash", "c1", command="ls"), call("think", "c2", thought="x")]),
        said("tool", "OBSERVATION:\na.py", tool_call_id="c1", name="execute_bash"),
        said("tool", "OBSERVATION:\nok", tool_call_id="c2", name="think"),
        said("assistant", None, tool_calls=[call("finish", "c1")]),
    ],
    "tools": [TOOL],
    "test_result": {"git_patch": "", "report": {"resolved": False, "test_timeout": False}},
}
REBENCH: dict[str, Any] = {
    "trajectory_id": "t-1",
    "instance_id": "owner__repo-1",
    "repo": "owner/repo",
    "trajectory": GYM["messages"],
    "tools": [TOOL],
    "model_patch": "diff",
    "exit_status": "submit",
    "resolved": 1,
}
TEXT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Call <function=name> …"},
        {"role": "user", "content": "Fix it."},
        {
            "role": "assistant",
            "content": "I look.\n\n<function=execute_bash>\n<parameter=command>\nls\npwd\n</parameter>\n</function>",
        },
        {"role": "user", "content": "EXECUTION RESULT of [execute_bash]:\na.py"},
        {"role": "assistant", "content": "Done.\n<function=finish>\n</function>"},
    ]
}
ORDINARY: list[dict[str, Any]] = [
    {},
    {"messages": GYM["messages"]},
    {"messages": GYM["messages"], "instance_id": "a"},
    {**GYM, "messages": json.dumps(GYM["messages"])},
    {**GYM, "messages": ["text"]},
    {**TEXT, "traj_id": "a"},
]


def test_gym_row() -> None:
    (episode,) = episodes(read, GYM)
    assert list(episode.steps) == [
        Step("system", "You are helpful."),
        Step("user", "Fix it."),
        Step(
            "assistant",
            calls=(ToolCall("execute_bash", {"command": "ls"}, "c1"), ToolCall("think", {"thought": "x"}, "c2")),
        ),
        Step("tool", "OBSERVATION:\na.py", answers="c1"),
        Step("tool", "OBSERVATION:\nok", answers="c2"),
        Step("assistant", calls=(ToolCall("finish", {}, "c1"),)),
    ]
    assert (episode.outcome, episode.generator, episode.episode) == ("failure", "some-model-2024", "owner__repo-1")
    assert episode.tools == (
        {
            "name": "execute_bash",
            "description": "Runs.",
            "parameters": {
                "type": "object",
                "properties": {"command": {"type": "string"}},
                "required": ["command"],
            },
        },
    )
    assert check(episode) is None


def test_rebench_row() -> None:
    (episode,) = episodes(read, REBENCH)
    assert [step.role for step in episode.steps] == ["system", "user", "assistant", "tool", "tool", "assistant"]
    assert (episode.outcome, episode.generator, episode.episode) == ("success", "", "t-1")
    assert episode.tools == episodes(read, GYM)[0].tools
    (written,) = episodes(read, {**REBENCH, "tools": json.dumps([TOOL])})
    assert written.tools == episode.tools


def test_calls_in_text() -> None:
    (episode,) = episodes(read, TEXT)
    assert list(episode.steps[2:]) == [
        Step("assistant", "I look.", calls=(ToolCall("execute_bash", {"command": "ls\npwd"}),)),
        Step("tool", "EXECUTION RESULT of [execute_bash]:\na.py"),
        Step("assistant", "Done.", calls=(ToolCall("finish", {}),)),
    ]
    assert episode.outcome == "unknown"


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        ({"resolved": True}, "success"),
        ({"resolved": 0}, "failure"),
        ({"test_result": {"resolved": True}}, "success"),
        ({"report": {"resolved": False}}, "failure"),
        ({"resolved": None, "test_result": {"report": {"resolved": True}}}, "success"),
        ({"resolved": "true"}, "unknown"),
        ({"test_result": []}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_resolution(record: dict[str, Any], outcome: str) -> None:
    assert resolution_of(record) == outcome


@pytest.mark.parametrize("record", [GYM, REBENCH, TEXT, {**GYM, "messages": []}])
def test_format(record: dict[str, Any]) -> None:
    assert registry.format_of_record(record) == "openhands"


@pytest.mark.parametrize("record", ORDINARY)
def test_other_records(record: dict[str, Any]) -> None:
    assert not matches(record)


def test_unusable() -> None:
    cut = {"function": {"name": "edit", "arguments": '{"path": "/a", "text'}}
    assert reasons(read, {**GYM, "messages": []}) == ["no_steps"]
    assert reasons(read, {**GYM, "messages": [said("assistant", None, tool_calls=[cut])]}) == ["malformed_arguments"]


@given(st.sampled_from([GYM, REBENCH, TEXT]).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    if matches(record):
        found_in(read, record)
