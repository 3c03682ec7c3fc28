from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from forge.schema import Step, ToolCall
from forge.trajectories.formats import registry, sharegpt
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"
ROUTE = {"name": "route", "description": "A way.", "parameters": {"type": "object", "properties": {}}}
FUNCTIONS = json.dumps(ROUTE, indent=4) + "\n" + json.dumps({**ROUTE, "name": "ferry"}, indent=4)
GLAIVE: dict[str, Any] = {
    "system": f"SYSTEM: You are a helper with access to the following functions. Use them if required -\n{FUNCTIONS}\n",
    "chat": "USER: How do I get to USER: the pier?\n\n\nASSISTANT: I look it up.\n"
    '<functioncall> {"name": "route", "arguments": \'{"to": "the king\\\'s pier", "via": ["A", "B"]}\'} <|endoftext|>'
    '\n\n\nFUNCTION RESPONSE: {"minutes": 12}\n\n\nASSISTANT: Twelve minutes. <|endoftext|>\n\n\n'
    'USER: And by sea?\n\n\nASSISTANT: <functioncall> {"name": "ferry", "arguments": {}} <|endoftext|>',
}
HERMES: dict[str, Any] = {
    "id": "h1",
    "conversations": [
        {"from": "system", "value": "You call functions."},
        {"from": "human", "value": "Two things."},
        {
            "from": "gpt",
            "value": "<think>\nBoth at once.\n</think>\n\nFirst:\n"
            '<tool_call>\n{"name": "route", "arguments": {"to": "A"}}\n</tool_call>\n'
            '<tool_call>\n{"name": "ferry", "arguments": {}}\n</tool_call>',
        },
        {
            "from": "tool",
            "value": '<tool_response>\n{"a": 1}\n</tool_response>\n<tool_response>\nnone\n</tool_response>\n',
        },
        {"from": "gpt", "value": "A <response> to both."},
    ],
}


def test_glaive_of_one_text() -> None:
    assert registry.format_of_record(GLAIVE) == "sharegpt"
    (found,) = episodes(sharegpt.read, GLAIVE)
    assert found.steps == (
        Step("system", "You are a helper with access to the following functions. Use them if required -"),
        Step("user", "How do I get to USER: the pier?"),
        Step("assistant", "I look it up.", calls=(ToolCall("route", {"to": "the king's pier", "via": ["A", "B"]}),)),
        Step("tool", '{"minutes": 12}'),
        Step("assistant", "Twelve minutes."),
        Step("user", "And by sea?"),
        Step("assistant", calls=(ToolCall("ferry", {}),)),
    )
    assert [tool["name"] for tool in found.tools] == ["route", "ferry"]


def test_calls_between_tags() -> None:
    (found,) = episodes(sharegpt.read, HERMES)
    assert found.episode == "h1"
    assert found.steps[2:] == (
        Step("assistant", "First:", "Both at once.", (ToolCall("route", {"to": "A"}), ToolCall("ferry", {}))),
        Step("tool", '{"a": 1}'),
        Step("tool", "none"),
        Step("assistant", "A <response> to both."),
    )


def test_an_observation_with_more_than_its_tags_stays_whole() -> None:
    value = "<tool_response>a</tool_response> and <tool_response>b"
    record = {"conversations": [{"from": "human", "value": "x"}, {"from": "tool", "value": value}]}
    (found,) = episodes(sharegpt.read, record)
    assert found.steps[1] == Step("tool", value)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"conversations": []}, "no_steps"),
        ({"conversations": [{"from": "function_call", "value": "{"}]}, "malformed_arguments"),
        ({"conversations": [{"from": "gpt", "value": "<tool_call>{</tool_call>"}]}, "malformed_arguments"),
        ({"conversations": [{"from": "nobody", "value": ""}]}, "malformed_record"),
        ({"system": "SYSTEM: x", "chat": "nobody says this"}, "malformed_record"),
        ({"system": "SYSTEM: x", "chat": "before\nUSER: hi"}, "malformed_record"),
        ({"system": "", "chat": 'ASSISTANT: <functioncall> {"name": "f", "arguments": \'{\'}'}, "malformed_arguments"),
        ({"system": "", "chat": "ASSISTANT: <functioncall> call f"}, "malformed_arguments"),
    ],
)
def test_why_a_record_is_unusable(record: dict[str, Any], reason: str) -> None:
    assert reasons(sharegpt.read, record) == [reason]


@settings(max_examples=200, deadline=None)
@given(record=damaged(GLAIVE) | damaged(HERMES))
def test_damage_is_a_problem_and_no_exception(record: Any) -> None:
    assert isinstance(sharegpt.matches(record), bool)
    assert found_in(sharegpt.read, record)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this checkout")
def test_every_turn_of_the_real_sample_is_a_step() -> None:
    raw = json.loads((SAMPLES / "glaive" / "data" / "glaive_toolcall_en_demo.json").read_text())
    found = [episode for record in raw for episode in episodes(sharegpt.read, record)]
    assert len(found) == len(raw) == 300
    turns = [turn for record in raw for turn in record["conversations"]]
    steps = [step for episode in found for step in episode.steps]
    assert len(steps) == len(turns) == 1_914
    assert sum(bool(step.calls) for step in steps) == sum(turn["from"] == "function_call" for turn in turns) == 211
    spoken = [turn["value"] for turn in turns if turn["from"] != "function_call"]
    assert [step.content for step in steps if not step.calls] == spoken
    called = [json.loads(turn["value"]) for turn in turns if turn["from"] == "function_call"]
    names = [call["name"] for calls in called for call in (calls if isinstance(calls, list) else [calls])]
    assert [call.name for step in steps for call in step.calls] == names
