"""ATIF documents from elsewhere, built by hand from the specification, and what our own look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from forge.schema import Step, ToolCall, Trajectory
from forge.stored_files import Problem
from forge.trajectories.formats import atif, registry, remainder
from forge.trajectories.formats.fields import UnusableRecordError
from tests.forge.trajectories.formats.damage import damaged, found_in

DOCUMENT: dict[str, Any] = {
    "schema_version": "ATIF-v1.7",
    "session_id": "run-1",
    "trajectory_id": "trip-1",
    "agent": {
        "name": "planner",
        "version": "2",
        "model_name": "small-model",
        "tool_definitions": [
            {"type": "function", "function": {"name": "flights", "description": "Lists flights.", "parameters": {}}}
        ],
        "extra": {"temperature": 0},
    },
    "notes": "One step was merged.",
    "steps": [
        {"step_id": 1, "source": "system", "message": "You book trips.", "timestamp": "2026-01-01T00:00:00Z"},
        {
            "step_id": 2,
            "source": "user",
            "message": [
                {"type": "text", "text": "Where is this?"},
                {"type": "image", "source": {"media_type": "image/png", "path": "images/pier.png"}},
            ],
        },
        {
            "step_id": 3,
            "source": "agent",
            "message": "I look up both.",
            "reasoning_content": "Two cities.",
            "tool_calls": [
                {"tool_call_id": "c1", "function_name": "flights", "arguments": {"to": "Oslo"}},
                {"tool_call_id": "c2", "function_name": "flights", "arguments": {"to": "Bergen"}},
            ],
            "observation": {
                "results": [
                    {
                        "source_call_id": "c2",
                        "content": [{"type": "text", "text": "none"}],
                        "extra": {"error": "closed"},
                    },
                    {"source_call_id": "c1", "content": "SK 1"},
                ]
            },
            "metrics": {"prompt_tokens": 10},
            "extra": {"note": "parallel"},
        },
        {
            "step_id": 4,
            "source": "agent",
            "message": "",
            "tool_calls": [{"tool_call_id": "c3", "function_name": "delegate", "arguments": {}}],
            "observation": {
                "results": [{"source_call_id": "c3", "subagent_trajectory_ref": [{"trajectory_id": "trip-1-a"}]}]
            },
            "is_copied_context": True,
        },
        {"step_id": 5, "source": "system", "message": "", "observation": {"results": [{"content": "Disk is full."}]}},
        {"step_id": 6, "source": "agent", "message": "Fly with SK 1."},
    ],
    "final_metrics": {"total_steps": 6},
    "extra": {"reward": 1.0, "license": "MIT", "environment": "travel"},
    "subagent_trajectories": [
        {
            "schema_version": "ATIF-v1.7",
            "trajectory_id": "trip-1-a",
            "agent": {"name": "helper", "version": "1"},
            "steps": [
                {
                    "step_id": 1,
                    "source": "agent",
                    "message": "Done.",
                    "llm_call_count": 0,
                    "tool_calls": [{"tool_call_id": "d1", "function_name": "weather", "arguments": {"city": "Oslo"}}],
                    "observation": {"results": [{"source_call_id": "d1", "content": "rain"}]},
                }
            ],
        },
        {"schema_version": "ATIF-v1.7", "trajectory_id": "trip-1-b", "agent": {}, "steps": []},
    ],
}


def test_a_document_from_elsewhere() -> None:
    assert registry.format_of_record(DOCUMENT) == "atif"
    parent, child, empty = atif.read(DOCUMENT)
    assert isinstance(parent, Trajectory)
    assert isinstance(child, Trajectory)
    assert parent.steps == (
        Step("system", "You book trips."),
        Step("user", "Where is this?\n[Image: images/pier.png]"),
        Step(
            "assistant",
            "I look up both.",
            "Two cities.",
            (ToolCall("flights", {"to": "Oslo"}, "c1"), ToolCall("flights", {"to": "Bergen"}, "c2")),
        ),
        Step("tool", "none", answers="c2", error="closed"),
        Step("tool", "SK 1", answers="c1"),
        Step("assistant", calls=(ToolCall("delegate", {}, "c3"),), loss=False),
        Step("tool", None, answers="c3"),
        Step("tool", "Disk is full."),
        Step("assistant", "Fly with SK 1."),
    )
    assert parent.tools == ({"name": "flights", "description": "Lists flights.", "parameters": {}},)
    assert (parent.episode, parent.generator, parent.environment) == ("trip-1", "small-model", "travel")
    assert (parent.outcome, parent.reward, parent.license) == ("success", 1.0, "MIT")
    assert (child.episode, child.generator, child.task) == ("trip-1-a", "helper", "")
    assert child.steps[1] == Step("tool", "rain", answers="d1")
    assert empty == Problem("trip-1-b", "no_steps", "steps is empty")


def test_our_documents_look_like_atif() -> None:
    trajectory = Trajectory(
        "Weather?",
        ({"name": "weather", "parameters": {"type": "object"}},),
        (
            Step("user", "Weather?"),
            Step("assistant", "I look.", calls=(ToolCall("weather", {"city": "Oslo"}),), loss=True),
            Step("tool", "", error="no such city"),
            Step("user", "And Bonn?"),
            Step("tool", "late", answers="x"),
        ),
        "failure",
        None,
        "",
        "MIT",
        "small-model",
        "",
        "",
        "7",
    )
    written = atif.write(trajectory)
    assert written == {
        "schema_version": "ATIF-v1.8",
        "agent": {
            "name": "small-model",
            "version": "unknown",
            "tool_definitions": [
                {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
            ],
        },
        "steps": [
            {"step_id": 1, "source": "user", "message": "Weather?"},
            {
                "step_id": 2,
                "source": "agent",
                "message": "I look.",
                "tool_calls": [
                    {
                        "tool_call_id": "call_1",
                        "function_name": "weather",
                        "arguments": {"city": "Oslo"},
                        "extra": {"id_generated": True},
                    }
                ],
                "observation": {
                    "results": [{"source_call_id": "call_1", "content": "", "extra": {"error": "no such city"}}]
                },
                "extra": {"loss": True},
            },
            {"step_id": 3, "source": "user", "message": "And Bonn?"},
            {
                "step_id": 4,
                "source": "system",
                "message": "",
                "observation": {"results": [{"source_call_id": "x", "content": "late"}]},
            },
        ],
        "trajectory_id": "7",
        "extra": {"outcome": "failure", "license": "MIT"},
    }
    assert list(atif.read(written)) == [trajectory]


def test_only_what_atif_cannot_say_is_in_the_remainder() -> None:
    steps = (Step("user", "Hi", thought="odd"), Step("assistant", "", calls=(ToolCall("a", {"b": 1}, "c"),)))
    trajectory = Trajectory("Hi", (), steps, "unknown", None, "", "", "", "", "")
    written = atif.write(trajectory, "ATIF-v1.7")
    assert written["schema_version"] == "ATIF-v1.7"
    assert written["extra"] == {remainder.KEY: {"steps": {"0": {"thought": "odd"}, "1": {"content": ""}}}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": []}, "no_steps"),
        ({"steps": [{"source": "narrator", "message": "x"}]}, "malformed_record"),
        ({"steps": [{"source": "agent", "message": "", "tool_calls": "x"}]}, "malformed_record"),
        (
            {"steps": [{"source": "agent", "tool_calls": [{"function_name": "f", "arguments": "no"}]}]},
            "malformed_arguments",
        ),
        ({"steps": [{"source": "agent", "message": "", "tool_calls": [{"arguments": {}}]}]}, "malformed_record"),
        ({"extra": {remainder.KEY: {"steps": {"99": {"loss": True}}}}}, "malformed_record"),
        ({"extra": {remainder.KEY: {"reward": "much"}}}, "malformed_record"),
        ({"extra": {remainder.KEY: []}}, "malformed_record"),
    ],
)
def test_why_a_document_is_unusable(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRecordError) as raised:
        list(atif.read({**DOCUMENT, **change}))
    assert raised.value.reason == reason


def test_other_documents_are_not_atif() -> None:
    assert not atif.matches({"schema_version": "ATIF-v2.0", "steps": []})
    assert not atif.matches({"schema_version": 1.7, "steps": []})
    assert not atif.matches({"schema_version": "ATIF-v1.8", "steps": {}})


def test_the_hand_made_document_is_valid_for_atifs_own_models() -> None:
    models = pytest.importorskip("atif")
    whole = {**DOCUMENT, "subagent_trajectories": DOCUMENT["subagent_trajectories"][:1]}
    assert models.Trajectory.model_validate(whole).schema_version == "ATIF-v1.7"


@settings(max_examples=200, deadline=None)
@given(record=damaged(DOCUMENT))
def test_damage_is_a_problem_and_no_exception(record: Any) -> None:
    assert isinstance(atif.matches(record), bool)
    assert found_in(atif.read, record)
