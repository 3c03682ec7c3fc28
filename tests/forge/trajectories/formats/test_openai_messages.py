from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.formats import openai_messages, registry, remainder
from forge.trajectories.formats.fields import UnusableRecordError
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"
WEATHER = {"name": "weather", "description": "The weather of a city.", "parameters": {"type": "object"}}
BLOCKS: dict[str, Any] = {
    "tools": json.dumps([{"type": "function", "function": WEATHER}]),
    "messages": [
        {"role": "system", "content": [{"type": "text", "value": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "value": "Weather in Oslo and Bonn?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "reasoning", "value": "Two cities."},
                {"type": "tool_call", "value": '{"name": "weather", "arguments": {"city": "Oslo"}}'},
                {"type": "tool_call", "value": '{"name": "weather", "arguments": {"city": "Bonn"}}'},
            ],
        },
        {"role": "tool", "content": [{"type": "text", "value": "[rain, sun]"}]},
        {"role": "assistant", "content": [{"type": "reasoning", "value": ""}, {"type": "text", "value": "Rain; sun."}]},
    ],
}


def test_blocks_of_llama_factory() -> None:
    (found,) = episodes(openai_messages.read, BLOCKS)
    assert registry.format_of_record(BLOCKS) == "openai_messages"
    assert found.steps == (
        Step("system", "Be brief."),
        Step("user", "Weather in Oslo and Bonn?"),
        Step(
            "assistant",
            thought="Two cities.",
            calls=(ToolCall("weather", {"city": "Oslo"}), ToolCall("weather", {"city": "Bonn"})),
        ),
        Step("tool", "[rain, sun]"),
        Step("assistant", "Rain; sun.", thought=""),
    )
    assert found.tools == (WEATHER,)


def test_a_block_that_nobody_knows_is_kept_as_text() -> None:
    turn = {
        "role": "user",
        "content": [{"type": "image", "value": {"path": "a.png"}}, {"type": "text", "value": "This?"}],
    }
    (found,) = episodes(openai_messages.read, {"messages": [turn]})
    assert found.steps[0].content == '{"type":"image","value":{"path":"a.png"}}\nThis?'


def test_our_records_are_openai_messages_with_more_beside() -> None:
    steps = (
        Step("user", "Weather?"),
        Step("assistant", None, "I look.", (ToolCall("weather", {"city": "Köln"}, "c1"),), loss=False),
        Step("tool", "", answers="c1", error="no such city"),
        Step("assistant", "No idea."),
    )
    trajectory = Trajectory("Weather?", (WEATHER,), steps, "unknown", 0.0, "sky", "MIT", "human", "", "", "7")
    written = openai_messages.write(trajectory)
    assert written == {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "I look.",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}}
                ],
                "loss": False,
            },
            {"role": "tool", "content": "", "tool_call_id": "c1", "error": "no such city"},
            {"role": "assistant", "content": "No idea."},
        ],
        "outcome": "unknown",
        "reward": 0.0,
        "environment": "sky",
        "license": "MIT",
        "tools": [{"type": "function", "function": WEATHER}],
        "generator": "human",
        "id": "7",
    }
    assert list(openai_messages.read(written)) == [trajectory]


def test_tools_with_other_keys_come_back_whole() -> None:
    tool = {**WEATHER, "returns": {"type": "string"}}
    trajectory = Trajectory("Hi", (tool,), (Step("user", "Hi"),), "unknown", None, "", "", "", "", "")
    written = openai_messages.write(trajectory)
    assert written["tools"][0]["function"] == tool
    assert set(written[remainder.KEY]) == {"tools"}
    assert list(openai_messages.read(written)) == [trajectory]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "malformed_record"),
        ({"messages": []}, "no_steps"),
        ({"messages": "[" * 100 + "]" * 100}, "malformed_record"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "malformed_record"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_call", "value": "{"}]}]}, "malformed_record"),
        ({"messages": [{"role": "user", "content": 2**70}]}, "malformed_record"),
    ],
)
def test_why_a_record_is_unusable(record: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRecordError) as raised:
        list(openai_messages.read(record))
    assert raised.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(record=damaged(BLOCKS))
def test_damage_is_a_problem_and_no_exception(record: Any) -> None:
    assert isinstance(openai_messages.matches(record), bool)
    assert found_in(openai_messages.read, record)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this checkout")
def test_every_block_of_the_real_sample_has_its_place() -> None:
    lines = (SAMPLES / "glaive" / "data" / "reason_tool_use_demo_50.jsonl").read_text().splitlines()
    raw = [json.loads(line) for line in lines]
    found = [episode for record in raw for episode in episodes(openai_messages.read, record)]
    assert len(found) == len(raw) == 50
    blocks = [block for record in raw for turn in record["messages"] for block in turn["content"]]
    steps = [step for episode in found for step in episode.steps]
    assert sum(len(step.calls) for step in steps) == _count(blocks, "tool_call") == 68
    assert sum(step.thought is not None for step in steps) == _count(blocks, "reasoning") == 112
    assert sum(step.content is not None for step in steps) == _count(blocks, "text")
    assert _texts(found) == sorted(block["value"] for block in blocks if block["type"] == "text")


def _count(blocks: list[dict[str, Any]], kind: str) -> int:
    return sum(block["type"] == kind for block in blocks)


def _texts(found: list[Trajectory]) -> list[str]:
    def texts() -> Iterator[str]:
        for episode in found:
            yield from (step.content for step in episode.steps if step.content is not None)

    return sorted(texts())
