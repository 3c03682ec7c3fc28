from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.formats.fields import UnusableRecordError, trajectory
from forge.trajectories.formats.remainder import remainder, restored

FOUND = trajectory(
    "Hi", (Step("user", "Hi"), Step("assistant", calls=(ToolCall("f", {"a": 1}, "c1"), ToolCall("g", {}))))
)


def changed(number: int, **fields: Any) -> Trajectory:
    steps = list(FOUND.steps)
    steps[number] = replace(steps[number], **fields)
    return replace(FOUND, steps=tuple(steps))


@pytest.mark.parametrize(
    ("wanted", "patch"),
    [
        (FOUND, {}),
        (replace(FOUND, source="s", item_id="i"), {}),
        (replace(FOUND, task="", reward=0.5), {"task": "", "reward": 0.5}),
        (replace(FOUND, tools=({"name": "f", "b": 1},)), {"tools": ['{"b":1,"name":"f"}']}),
        (changed(0, loss=True, content=None), {"steps": {"0": {"loss": True, "content": None}}}),
        (
            changed(1, calls=(ToolCall("f", {"a": 1}), ToolCall("g", {"b": 2}))),
            {"steps": {"1": {"calls": {"0": {"call_id": None}, "1": {"arguments": '{"b":2}'}}}}},
        ),
        (changed(1, calls=()), {"steps": {"1": {"calls": []}}}),
    ],
)
def test_a_patch_holds_only_what_differs_and_puts_it_back(wanted: Trajectory, patch: dict[str, Any]) -> None:
    assert remainder(wanted, FOUND) == patch
    assert restored(FOUND, patch or None) == replace(wanted, source="", item_id="")


def test_another_number_of_steps_is_all_of_them() -> None:
    wanted = replace(FOUND, steps=(*FOUND.steps, Step("tool", "x")))
    patch = remainder(wanted, FOUND)
    assert [step["role"] for step in patch["steps"]] == ["user", "assistant", "tool"]
    assert restored(FOUND, patch) == wanted


@pytest.mark.parametrize(
    "patch",
    [
        [],
        {"steps": {"2": {}}},
        {"steps": {"-1": {}}},
        {"steps": {"0": []}},
        {"steps": {"0": {"calls": {"0": {}}}}},
        {"steps": {"0": {"role": "nobody"}}},
        {"steps": "none"},
        {"task": 1},
        {"tools": [{}]},
    ],
)
def test_a_patch_that_leads_to_no_row_is_malformed(patch: Any) -> None:
    with pytest.raises(UnusableRecordError):
        restored(FOUND, patch)
