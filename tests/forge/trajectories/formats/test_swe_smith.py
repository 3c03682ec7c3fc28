"""SWE-smith's rows in their three styles."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.swe_smith import matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

PROMPT = """You can call:
---- BEGIN FUNCTION #1: bash ----
Description: Runs a command.
Parameters:
  (1) command (string, required): What to run.
  (2) limit (integer, optional): Seconds.
---- END FUNCTION #1 ----"""


def row(messages: Any, **more: Any) -> dict[str, Any]:
    facts = {
        "instance_id": "o__r.pr_1",
        "traj_id": "o__r.pr_1.ab12",
        "resolved": True,
        "model": "some-model",
        "patch": "",
    }
    return {"messages": messages, **facts, **more}


def action(said: str, call_id: str | None, name: str = "bash", **arguments: Any) -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {
        "role": "assistant",
        "content": said,
        "thought": said,
        "action": name if call_id else "",
        "message_type": "action",
        "tool_calls": [call] if call_id else None,
    }


TOOL = [
    {"role": "system", "content": "Be helpful.", "agent": "main"},
    {"role": "user", "content": [{"type": "text", "text": "Fix the bug."}]},
    action("I look.", "call_1", command="ls"),
    {"role": "tool", "content": [{"type": "text", "text": "OBSERVATION:\na.py"}], "tool_call_ids": ["call_1"]},
    action("", "call_2", "submit"),
    {"role": "tool", "content": "done", "tool_call_ids": ["call_2"]},
    action("Exit due to cost limit", None),
]
XML = [
    {"role": "system", "content": PROMPT},
    {"role": "user", "content": "Fix the bug."},
    {
        "role": "assistant",
        "content": "I look.\n\n<function=bash>\n<parameter=command>ls</parameter>\n"
        "<parameter=limit>5</parameter>\n</function>",
    },
    {"role": "user", "content": "OBSERVATION:\na.py"},
    {"role": "assistant", "content": "<function=submit>\n</function>"},
]
TICKS = [
    {"role": "system", "content": "Be helpful."},
    {"role": "user", "content": "Fix the bug."},
    {"role": "assistant", "content": "I look.\n\n```\nls\n```"},
    {"role": "user", "content": "OBSERVATION:\na.py"},
    {"role": "assistant", "content": "I end.\n\n```\nsubmit\n```"},
]


def test_tool_style() -> None:
    (episode,) = episodes(read, row(json.dumps(TOOL)))
    assert list(episode.steps) == [
        Step("system", "Be helpful."),
        Step("user", "Fix the bug."),
        Step("assistant", "I look.", calls=(ToolCall("bash", {"command": "ls"}, "call_1"),)),
        Step("tool", "OBSERVATION:\na.py", answers="call_1"),
        Step("assistant", calls=(ToolCall("submit", {}, "call_2"),)),
        Step("tool", "done", answers="call_2"),
        Step("assistant", "Exit due to cost limit", loss=False),
    ]
    assert (episode.outcome, episode.generator, episode.episode) == ("success", "some-model", "o__r.pr_1.ab12")
    assert (episode.task, episode.tools) == ("Fix the bug.", ())
    assert check(episode) is None


def test_xml_style() -> None:
    (episode,) = episodes(read, row(json.dumps(XML), resolved=False))
    assert list(episode.steps[2:]) == [
        Step("assistant", "I look.", calls=(ToolCall("bash", {"command": "ls", "limit": 5}),)),
        Step("tool", "OBSERVATION:\na.py"),
        Step("assistant", calls=(ToolCall("submit", {}),)),
    ]
    assert episode.outcome == "failure"
    assert [tool["name"] for tool in episode.tools] == ["bash"]
    assert check(episode) is None


def test_ticks_style() -> None:
    (episode,) = episodes(read, row(TICKS))
    assert list(episode.steps[2:]) == [
        Step("assistant", thought="I look.", calls=(ToolCall("shell", {"command": "ls"}),)),
        Step("tool", "OBSERVATION:\na.py"),
        Step("assistant", thought="I end.", calls=(ToolCall("shell", {"command": "submit"}),)),
    ]
    assert check(episode) is None


def test_a_thought_that_the_content_does_not_repeat() -> None:
    (episode,) = episodes(read, row([TOOL[1], {**action("", "c"), "thought": "I think."}]))
    assert episode.steps[1].content == "I think."


@pytest.mark.parametrize("messages", [XML, TICKS, TOOL])
def test_format(messages: list[Any]) -> None:
    for given_as in (json.dumps(messages), messages):
        assert registry.format_of_record(row(given_as)) == "swe_smith"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ("[]", "no_steps"),
        ("this is no JSON", "malformed_record"),
        ("[" * 100 + "]" * 100, "too_deeply_nested"),
        ('[{"role": "user", "content": "cut', "malformed_record"),
        (json.dumps([{"role": "assistant", "tool_calls": [{"name": "a", "arguments": "{"}]}]), "malformed_arguments"),
    ],
)
def test_unusable(messages: str, reason: str) -> None:
    assert reasons(read, row(messages)) == [reason]


def test_other_records() -> None:
    for other in ({"messages": TOOL}, {"messages": TOOL, "instance_id": "a"}, row(None)):
        assert not matches(other)


@given(st.sampled_from([TOOL, XML, TICKS]).flatmap(lambda messages: damaged(row(messages))), st.booleans())
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any], is_text: bool) -> None:
    if is_text:
        try:
            record["messages"] = json.dumps(record.get("messages"))
        except TypeError:
            return
    if matches(record):
        found_in(read, record)
