"""SWE-agent's trajectories: the history and the entries as one episode."""

from __future__ import annotations

import json
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
from forge.trajectories.formats.swe_agent import matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples" / "swe-agent"

DOCUMENTATION = """bash:
  docstring: runs the given command
  signature: <command>
  arguments:
    - command (string) [required]: a command to run

goto:
  docstring: moves the window.
For example:
    goto 5

  signature: goto <line> [<end>]
  arguments:
    - line (integer) [required]: where to
    - end (whatever) [optional]: until (if given)

submit:
  docstring: submits
  signature: submit

"""


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "agent": "main", **more}


def entry(action: str, observation: str, thought: str = "I try.", **more: Any) -> dict[str, Any]:
    response = f"{thought}\n```\n{action}```" if action else thought
    return {
        "action": action,
        "observation": observation,
        "response": response,
        "thought": thought,
        "state": '{"open_file": "n/a"}',
        **more,
    }


def asked(name: str, arguments: dict[str, Any], call_id: str, action: str) -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return message("assistant", "I call.", thought="I call.", action=action, tool_calls=[call])


COMMANDS = {
    "environment": "swe_main",
    "trajectory": [
        entry("ls\n", "a.py\n", "I look.\n\n"),
        entry("vim a.py\n", "", "I open it."),
        entry("edit 1:1\nx = 1\nend_of_edit\n", "File updated.\n"),
        entry("submit\n", "diff --git a/a.py b/a.py\n"),
    ],
    "history": [
        message("system", "SETTING: a shell."),
        message("user", "--- DEMONSTRATION --- ls", is_demo=True),
        message("user", "ISSUE:\nx is missing.\nbash-$"),
        message("assistant", "I look.\n\n```\nls\n```", thought="I look.\n\n", action="ls\n"),
        message("user", "a.py\n\n(Open file: n/a)\nbash-$"),
        message("assistant", "…", thought="I try.", action="edit 1:1\nx = 1\nend_of_edit\n"),
        message("user", "File updated.\n\n(Open file: /a.py)\nbash-$"),
        message("assistant", "…", thought="I try.", action="submit\n"),
    ],
    "info": {"exit_status": "submitted", "submission": "diff", "model_stats": {"tokens_sent": 9}},
}
CALLS = {
    "environment": "main",
    "trajectory": [
        entry("ls -F", "a.py", "I call.", execution_time=0.1),
        entry("goto 5", "", "I call."),
        entry("submit", "diff --git"),
    ],
    "history": [
        message("system", [{"type": "text", "text": "SETTING"}]),
        message("user", [{"type": "text", "text": "ISSUE"}]),
        asked("bash", {"command": "ls -F"}, "call_1", "ls -F"),
        message("tool", "a.py\nbash-$", tool_call_ids=["call_1"]),
        asked("goto", {"line": 5}, "call_2", "goto 5"),
        message("tool", "no output\nbash-$", tool_call_ids=["call_2"]),
    ],
    "info": {"exit_status": "submitted", "model_stats": {"tokens_sent": 9}, "resolved": True},
    "replay_config": json.dumps(
        {
            "agent": {"model": {"name": "some-model"}, "tools": {"command_docs": DOCUMENTATION}},
            "problem_statement": {"id": "owner__repo-1", "text": "ISSUE"},
        }
    ),
}
HISTORY_ONLY = {"history": CALLS["history"]}


def shell(command: str) -> tuple[ToolCall, ...]:
    return (ToolCall("shell", {"command": command}),)


def test_commands() -> None:
    (episode,) = episodes(read, COMMANDS)
    assert list(episode.steps) == [
        Step("system", "SETTING: a shell."),
        Step("user", "ISSUE:\nx is missing.\nbash-$"),
        Step("assistant", thought="I look.", calls=shell("ls")),
        Step("tool", "a.py\n\n(Open file: n/a)\nbash-$"),
        Step("assistant", thought="I open it.", calls=shell("vim a.py"), loss=False),
        Step("tool", ""),
        Step("assistant", thought="I try.", calls=shell("edit 1:1\nx = 1\nend_of_edit")),
        Step("tool", "File updated.\n\n(Open file: /a.py)\nbash-$"),
        Step("assistant", thought="I try.", calls=shell("submit")),
        Step("tool", "diff --git a/a.py b/a.py\n"),
    ]
    assert (episode.task, episode.outcome, episode.environment) == (
        "ISSUE:\nx is missing.\nbash-$",
        "unknown",
        "swe_main",
    )
    assert episode.tools == ()
    assert check(episode) is None


def test_calls_have_their_ids_and_tools() -> None:
    (episode,) = episodes(read, CALLS)
    assert list(episode.steps) == [
        Step("system", "SETTING"),
        Step("user", "ISSUE"),
        Step("assistant", thought="I call.", calls=(ToolCall("bash", {"command": "ls -F"}, "call_1"),)),
        Step("tool", "a.py\nbash-$", answers="call_1"),
        Step("assistant", thought="I call.", calls=(ToolCall("goto", {"line": 5}, "call_2"),)),
        Step("tool", "no output\nbash-$", answers="call_2"),
        Step("assistant", thought="I try.", calls=(ToolCall("submit", {}),)),
        Step("tool", "diff --git"),
    ]
    assert (episode.generator, episode.episode, episode.outcome) == ("some-model", "owner__repo-1", "success")
    assert [tool["name"] for tool in episode.tools] == ["bash", "goto", "submit"]
    assert episode.tools[1] == {
        "name": "goto",
        "description": "moves the window.\nFor example:\n    goto 5",
        "parameters": {
            "type": "object",
            "properties": {
                "line": {"type": "integer", "description": "where to"},
                "end": {"x-type": "whatever", "description": "until (if given)"},
            },
            "required": ["line"],
        },
    }
    assert check(episode) is None


def test_history_alone() -> None:
    (episode,) = episodes(read, HISTORY_ONLY)
    assert [step.role for step in episode.steps] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert episode.steps[2].calls == (ToolCall("bash", {"command": "ls -F"}, "call_1"),)


def test_entries_alone() -> None:
    (episode,) = episodes(read, {**COMMANDS, "history": [], "replay_config": {"problem_statement": {"text": "Fix."}}})
    assert episode.task == "Fix."
    assert [step.content for step in episode.steps if step.role == "tool"] == [
        "a.py\n",
        "",
        "File updated.\n",
        "diff --git a/a.py b/a.py\n",
    ]
    assert all(step.loss is None for step in episode.steps)


def test_what_ran_nothing_is_kept_and_not_trained_on() -> None:
    note = "Exit due to cost limit"
    entries = [entry("ls\n", "a.py"), entry("", "", "No command."), entry("", "Exited (autosubmitted)", note)]
    (episode,) = episodes(read, {**COMMANDS, "trajectory": entries, "history": []})
    assert list(episode.steps[2:]) == [
        Step("assistant", thought="No command.", loss=False),
        Step("assistant", thought=note, loss=False),
        Step("user", "Exited (autosubmitted)"),
    ]


@pytest.mark.parametrize("stated", [{"name": "replay"}, {"name": "human_thought"}, {"name": "m"}])
def test_who_acted(stated: dict[str, str]) -> None:
    config = {"agent": {"model": stated}}
    (asked_for,) = episodes(read, {**COMMANDS, "replay_config": config})
    (replayed,) = episodes(read, {**COMMANDS, "replay_config": config, "info": {"model_stats": {"tokens_sent": 0}}})
    assert (asked_for.generator, replayed.generator) == {
        "replay": ("", ""),
        "human_thought": ("human", "human"),
        "m": ("m", ""),
    }[stated["name"]]


def test_thinking_stands_apart_from_what_was_said() -> None:
    history = [
        message("user", "ISSUE"),
        message("assistant", "I say.", action="ls", thought="I say.", thinking_blocks=[{"thinking": "I think."}]),
        message("user", "a.py"),
    ]
    (episode,) = episodes(read, {"history": history})
    assert episode.steps[1] == Step("assistant", "I say.", "I think.", shell("ls"))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"trajectory": [], "history": [message("system", "S")]}, "no_steps"),
        ({**COMMANDS, "history": [message("narrator", "Once.")]}, "malformed_record"),
        ({**COMMANDS, "trajectory": [*COMMANDS["trajectory"], 5]}, "malformed_record"),
        ({"history": [message("assistant", "", tool_calls=[{"name": ""}])]}, "malformed_record"),
        ({"history": [message("assistant", "", tool_calls=[{"name": "a", "arguments": "{"}])]}, "malformed_arguments"),
    ],
)
def test_unusable(record: dict[str, Any], reason: str) -> None:
    assert reasons(read, record) == [reason]


@pytest.mark.parametrize(
    "record", [{}, {"trajectory": [{"role": "user"}]}, {"history": [{"role": "user"}]}, {"trajectory": [[]]}]
)
def test_other_records(record: dict[str, Any]) -> None:
    assert not matches(record)


@given(st.sampled_from([COMMANDS, CALLS, HISTORY_ONLY]).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    if matches(record):
        found_in(read, record)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
def test_every_sample() -> None:
    """22 files: an assistant and a tool step for each entry, or, without entries, for each answer in the history."""
    counted: Counter[str] = Counter()
    for path in sorted(SAMPLES.rglob("*.traj")):
        record = orjson.loads(path.read_bytes())
        assert registry.format_of_record(record) == "swe_agent"
        answers = [one for one in record["history"] if one["role"] == "assistant"]
        entries = record.get("trajectory") or answers
        (episode,) = episodes(read, record)
        assert check(episode) is None
        roles = Counter(step.role for step in episode.steps)
        assert roles == {"system": 1, "user": 1, "assistant": len(entries), "tool": len(entries)}
        for one, step in zip(entries, (s for s in episode.steps if s.role == "assistant"), strict=True):
            assert (step.thought or "") == one["thought"].strip()
            said = "".join(str(value) for call in step.calls for value in call.arguments.values())
            assert one["action"].strip() == said.strip() or step.calls[0].name not in ("shell", "bash")
        observed = [step.content or "" for step in episode.steps if step.role == "tool"]
        for one, shown in zip(record.get("trajectory") or [], observed, strict=False):
            assert one["observation"].strip() in shown
        counted.update(files=1, entries=len(record.get("trajectory") or []), answers=len(answers))
        counted[f"outcome {episode.outcome}"] += 1
    assert counted == {"files": 22, "entries": 227, "answers": 230, "outcome unknown": 22}
