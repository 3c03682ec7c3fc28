"""OpenHands' event streams, of both generations, in records and as files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.openhands_events import matches, matches_first, read, read_file
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons


def asked(name: str, call_id: str, **arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def metadata(call_id: str, response_id: str, said: str, *calls: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": said, "tool_calls": list(calls)}
    response = {"id": response_id, "choices": [{"message": message}]}
    return {"function_name": "any", "tool_call_id": call_id, "model_response": response}


BOTH = (asked("execute_bash", "c1", command="ls"), asked("think", "c2", thought="hm"))
EVENTS: list[dict[str, Any]] = [
    {"id": 0, "source": "agent", "action": "system", "args": {"content": "You are …", "tools": [{"name": "think"}]}},
    {"id": 1, "source": "user", "message": "Fix it.", "action": "message", "args": {"content": "Fix it."}},
    {"id": 2, "source": "environment", "action": "change_agent_state", "args": {"agent_state": "running"}},
    {"id": 3, "source": "environment", "observation": "agent_state_changed", "content": "", "extras": {}},
    {"id": 4, "source": "user", "action": "recall", "args": {"query": "Fix it."}},
    {"id": 5, "source": "environment", "observation": "recall", "content": "Added context", "cause": 4},
    {
        "id": 6,
        "source": "agent",
        "action": "run",
        "args": {"command": "ls", "thought": "I look.", "hidden": False},
        "tool_call_metadata": metadata("c1", "r1", "I look.", *BOTH),
    },
    {
        "id": 7,
        "source": "agent",
        "observation": "run",
        "content": "a.py",
        "cause": 6,
        "tool_call_metadata": metadata("c1", "r1", "I look.", *BOTH),
    },
    {
        "id": 8,
        "source": "agent",
        "action": "think",
        "args": {"thought": "hm"},
        "tool_call_metadata": metadata("c2", "r1", "I look.", *BOTH),
    },
    {
        "id": 9,
        "source": "agent",
        "observation": "error",
        "content": "No such tool",
        "cause": 8,
        "tool_call_metadata": metadata("c2", "r1", "I look.", *BOTH),
    },
    {"id": 10, "source": "agent", "action": "message", "args": {"content": "Which file?"}},
    {"id": 11, "source": "user", "action": "message", "args": {"content": "a.py"}},
    {"id": 12, "source": "agent", "action": "finish", "args": {"outputs": {}, "thought": "Done.", "task": None}},
]
RECORD: dict[str, Any] = {
    "instance_id": "owner__repo-1",
    "instruction": "Fix it.",
    "metadata": {"agent_class": "CodeActAgent", "llm_config": {"model": "some-model"}},
    "history": EVENTS,
    "test_result": {"git_patch": "", "report": {"resolved": True}},
}
PAIRS: dict[str, Any] = {
    "history": [
        [{"source": "user", "action": "message", "args": {"content": "Add."}}, {"observation": "null", "content": ""}],
        [
            {
                "id": 3,
                "source": "agent",
                "action": "run",
                "args": {"command": "ls", "thought": "I look.", "is_input": None},
            },
            {"source": "agent", "observation": "run", "cause": 3, "content": "a.py", "extras": {"exit_code": 0}},
        ],
        [
            {"id": 5, "source": "agent", "action": "run_ipython", "args": {"code": "1 + 1", "thought": {"text": "T"}}},
            {"source": "agent", "observation": "run_ipython", "cause": 5, "content": "2", "extras": {}},
        ],
        [
            {"id": 7, "source": "user", "action": "run", "args": {"command": "pwd"}},
            {"source": "user", "observation": "run", "cause": 7, "content": "/home", "extras": {}},
        ],
    ]
}


def text(said: str) -> dict[str, Any]:
    return {"cache_prompt": False, "type": "text", "text": said}


SDK: dict[str, Any] = {
    "instance_id": "owner__repo-2",
    "metadata": {"llm": {"model": "other-model"}},
    "history": [
        {
            "kind": "SystemPromptEvent",
            "source": "agent",
            "system_prompt": text("You are …"),
            "dynamic_context": text("Today is Monday."),
            "tools": [{"name": "terminal", "description": "Runs.", "annotations": {}}],
        },
        {"kind": "ConversationStateUpdateEvent", "source": "environment", "key": "a", "value": 1},
        {
            "kind": "MessageEvent",
            "source": "user",
            "llm_message": {"role": "user", "content": [text("Fix it.")]},
            "extended_content": [text("Rules.")],
        },
        {
            "kind": "ActionEvent",
            "source": "agent",
            "thought": [text("I look.")],
            "reasoning_content": "Where?",
            "tool_name": "terminal",
            "tool_call_id": "c1",
            "tool_call": {"id": "c1", "name": "terminal", "arguments": '{"command": "ls", "security_risk": "LOW"}'},
            "action": {"kind": "TerminalAction", "command": "ls"},
            "llm_response_id": "r1",
        },
        {
            "kind": "ActionEvent",
            "source": "agent",
            "thought": [],
            "tool_name": "file_editor",
            "tool_call_id": "c2",
            "action": {"kind": "FileEditorAction", "path": "/a"},
            "llm_response_id": "r1",
        },
        {
            "kind": "ObservationEvent",
            "source": "environment",
            "tool_name": "terminal",
            "tool_call_id": "c1",
            "observation": {"kind": "TerminalObservation", "content": [text("a.py"), {"type": "image"}]},
        },
        {
            "kind": "ObservationEvent",
            "source": "environment",
            "tool_name": "file_editor",
            "tool_call_id": "c2",
            "observation": {"kind": "FileEditorObservation", "content": [text("No such file")], "is_error": True},
        },
        {
            "kind": "ActionEvent",
            "source": "agent",
            "thought": [],
            "tool_name": "nothing",
            "tool_call_id": "c3",
            "tool_call": {"id": "c3", "function": {"name": "nothing", "arguments": "{}"}},
            "llm_response_id": "r2",
        },
        {
            "kind": "AgentErrorEvent",
            "source": "agent",
            "tool_name": "nothing",
            "tool_call_id": "c3",
            "error": "Unknown",
        },
        {
            "kind": "MessageEvent",
            "source": "agent",
            "llm_message": {"role": "assistant", "content": [text("Done.")], "reasoning_content": "Enough."},
        },
    ],
}


def test_events() -> None:
    (episode,) = episodes(read, RECORD)
    calls = (ToolCall("execute_bash", {"command": "ls"}, "c1"), ToolCall("think", {"thought": "hm"}, "c2"))
    assert list(episode.steps) == [
        Step("system", "You are …"),
        Step("user", "Fix it."),
        Step("assistant", "I look.", calls=calls),
        Step("tool", "a.py", answers="c1"),
        Step("tool", "No such tool", answers="c2", error="No such tool"),
        Step("assistant", "Which file?"),
        Step("user", "a.py"),
        Step("assistant", thought="Done.", calls=(ToolCall("finish", {"outputs": {}}),)),
    ]
    assert (episode.outcome, episode.generator, episode.episode) == ("success", "some-model", "owner__repo-1")
    assert (episode.task, episode.tools) == ("Fix it.", ({"name": "think"},))
    assert registry.format_of_record(RECORD) == "openhands_events"


def test_pairs_without_metadata() -> None:
    (episode,) = episodes(read, PAIRS)
    assert list(episode.steps) == [
        Step("user", "Add."),
        Step("assistant", thought="I look.", calls=(ToolCall("shell", {"command": "ls"}),)),
        Step("tool", "a.py"),
        Step("assistant", thought="T", calls=(ToolCall("python", {"code": "1 + 1"}),)),
        Step("tool", "2"),
        Step("user", '{"run":{"command":"pwd"}}'),
        Step("user", "/home"),
    ]
    assert check(episode) is None


def test_events_without_ids() -> None:
    events = [{name: value for name, value in event.items() if name not in ("id", "cause")} for event in PLAIN]
    (episode,) = episodes(read, {"history": events})
    assert [step.role for step in episode.steps] == ["user", "assistant", "tool"]


PLAIN: list[dict[str, Any]] = [
    {"id": 0, "source": "user", "action": "message", "args": {"content": "List."}},
    {"id": 1, "source": "agent", "action": "run", "args": {"command": "ls"}},
    {"id": 2, "source": "agent", "observation": "run", "content": "a.py", "cause": 1},
]


def test_sdk_events() -> None:
    (episode,) = episodes(read, SDK)
    calls = (
        ToolCall("terminal", {"command": "ls", "security_risk": "LOW"}, "c1"),
        ToolCall("file_editor", {"path": "/a"}, "c2"),
    )
    assert list(episode.steps) == [
        Step("system", "You are …\nToday is Monday."),
        Step("user", "Fix it.\nRules."),
        Step("assistant", "I look.", "Where?", calls),
        Step("tool", 'a.py\n{"type":"image"}', answers="c1"),
        Step("tool", "No such file", answers="c2", error="No such file"),
        Step("assistant", calls=(ToolCall("nothing", {}, "c3"),)),
        Step("tool", "Unknown", answers="c3", error="Unknown"),
        Step("assistant", "Done.", "Enough."),
    ]
    assert (episode.generator, episode.outcome) == ("other-model", "unknown")
    assert episode.tools == ({"name": "terminal", "description": "Runs."},)
    assert registry.format_of_record(SDK) == "openhands_events"


@pytest.mark.parametrize("record", [RECORD, SDK])
def test_a_file_of_events_is_one_episode(record: dict[str, Any]) -> None:
    events = record["history"]
    assert matches_first(events[0])
    assert registry.format_of_file(events[0]) == "openhands_events"
    assert not any(matches(event) for event in events)
    (of_file,), (of_record,) = list(read_file(events)), episodes(read, record)
    assert of_file.steps == of_record.steps  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"history": [{"role": "user", "content": "x"}]},
        {"trajectory": [{"action": "ls", "observation": "a", "source": "x"}]},
        {"events": [{"action": "ls"}]},
        {"history": "text"},
        {"steps": EVENTS},
    ],
)
def test_other_records(other: dict[str, Any]) -> None:
    assert not matches(other)
    assert not matches_first(other)


def test_unusable() -> None:
    assert reasons(read, {"history": EVENTS[:4]}) == ["no_steps"]
    assert reasons(read, {"history": [EVENTS[0], "text"]}) == ["malformed_record"]
    assert reasons(read, {"history": [*EVENTS[:2], {**SDK["history"][7], "tool_call": {"name": 1}}]}) == [
        "malformed_record"
    ]


@given(st.sampled_from([RECORD, PAIRS, SDK]).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    if matches(record):
        found_in(read, record)
    events = record.get("history")
    if isinstance(events, list) and all(isinstance(event, dict) for event in events) and events:
        found_in(read_file, events)
