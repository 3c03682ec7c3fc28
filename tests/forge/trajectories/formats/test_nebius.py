"""nebius' rows: turns of text with masks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.nebius import matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons


def turn(role: str, said: str | None, mask: bool = False, prompt: str | None = None) -> dict[str, Any]:
    return {"role": role, "text": said, "mask": mask, "system_prompt": prompt, "cutoff_date": None}


ROW: dict[str, Any] = {
    "instance_id": "owner__repo-1",
    "model_name": "some-70b",
    "target": True,
    "trajectory": [
        turn("system", None, prompt="SETTING: a shell."),
        turn("user", "ISSUE: x\nbash-$"),
        turn("ai", "I look.\n```\nls\n```", True),
        turn("user", "a.py\nbash-$"),
        turn("ai", "I have no command.", True),
        turn("user", "Your output was not formatted correctly."),
        turn("ai", "```\nsubmit\n```", False),
    ],
    "exit_status": "submitted",
    "generated_patch": "diff",
    "eval_logs": "1 passed",
}


def test_row() -> None:
    (episode,) = episodes(read, ROW)
    assert list(episode.steps) == [
        Step("system", "SETTING: a shell."),
        Step("user", "ISSUE: x\nbash-$"),
        Step("assistant", thought="I look.", calls=(ToolCall("shell", {"command": "ls"}),), loss=True),
        Step("tool", "a.py\nbash-$"),
        Step("assistant", "I have no command.", loss=True),
        Step("user", "Your output was not formatted correctly."),
        Step("assistant", calls=(ToolCall("shell", {"command": "submit"}),), loss=False),
    ]
    assert (episode.task, episode.outcome, episode.generator, episode.episode) == (
        "ISSUE: x\nbash-$",
        "success",
        "some-70b",
        "owner__repo-1",
    )
    assert check(episode) is None
    assert registry.format_of_record(ROW) == "nebius"


@pytest.mark.parametrize(
    ("target", "outcome"), [(False, "failure"), (None, "unknown"), ("yes", "unknown"), ([], "unknown")]
)
def test_outcome(target: object, outcome: str) -> None:
    (episode,) = episodes(read, {**ROW, "target": target})
    assert episode.outcome == outcome


def test_unusable() -> None:
    assert reasons(read, {**ROW, "trajectory": []}) == ["no_steps"]
    assert reasons(read, {**ROW, "trajectory": [turn("narrator", "Once.")]}) == ["malformed_record"]


def test_other_records() -> None:
    others: list[dict[str, Any]] = [{}, {"trajectory": []}, {**ROW, "trajectory": "text"}]
    for other in (*others, {**ROW, "trajectory": [{"role": "user"}]}):
        assert not matches(other)


@given(damaged(ROW))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    if matches(record):
        found_in(read, record)
