from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from forge.schema import Step, ToolCall
from forge.trajectories.formats import registry, sharegpt, xlam
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

RECORD: dict[str, Any] = {
    "id": 12,
    "query": "Sun and tide in Oslo for three days?",
    "tools": json.dumps(
        [
            {
                "name": "sun",
                "description": "Sunrise.",
                "parameters": {
                    "city": {"description": "Where.", "type": "str", "default": "Rome"},
                    "days": {"description": "How many.", "type": "int, optional", "default": 1},
                },
            },
            {"name": "tide", "description": "Tides.", "parameters": {"ports": {"type": "List[str]"}}},
        ]
    ),
    "answers": json.dumps(
        [{"name": "sun", "arguments": {"city": "Oslo", "days": 3}}, {"name": "tide", "arguments": {"ports": ["Oslo"]}}]
    ),
}


def test_a_query_and_its_calls() -> None:
    assert registry.format_of_record(RECORD) == "xlam"
    (found,) = episodes(xlam.read, RECORD)
    assert (found.task, found.episode, found.outcome) == (RECORD["query"], "12", "unknown")
    assert found.steps == (
        Step("user", RECORD["query"]),
        Step("assistant", calls=(ToolCall("sun", {"city": "Oslo", "days": 3}), ToolCall("tide", {"ports": ["Oslo"]}))),
    )
    assert found.tools[0]["parameters"] == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where.", "default": "Rome"},
            "days": {"type": "integer", "description": "How many.", "default": 1, "x-type": "int, optional"},
        },
    }
    assert found.tools[1]["parameters"]["properties"] == {"ports": {"type": "array", "items": {"type": "string"}}}


def test_values_that_are_no_texts_are_read_too() -> None:
    parsed = {**RECORD, "tools": json.loads(RECORD["tools"]), "answers": json.loads(RECORD["answers"])}
    assert episodes(xlam.read, parsed) == episodes(xlam.read, RECORD)


def test_apigen_of_several_turns_is_sharegpt() -> None:
    record = {
        "system": "# Retail agent policy",
        "tools": json.dumps([{"name": "order", "description": "An order.", "parameters": {"type": "object"}}]),
        "conversations": [
            {"from": "human", "value": "Where is order 7?"},
            {"from": "function_call", "value": '{"name": "order", "arguments": {"id": 7}}'},
            {"from": "observation", "value": '{"at": "sea"}'},
            {"from": "gpt", "value": "At sea."},
        ],
    }
    assert registry.format_of_record(record) == "sharegpt"
    (found,) = episodes(sharegpt.read, record)
    assert [step.role for step in found.steps] == ["system", "user", "assistant", "tool", "assistant"]
    assert found.steps[2].calls == (ToolCall("order", {"id": 7}),)
    assert [tool["name"] for tool in found.tools] == ["order"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"query": None}, "malformed_record"),
        ({"answers": "[{"}, "malformed_arguments"),
        ({"answers": "{}"}, "malformed_arguments"),
        ({"answers": '[{"arguments": {}}]'}, "malformed_record"),
        ({"answers": '[{"name": "sun", "arguments": [1]}]'}, "malformed_arguments"),
    ],
)
def test_why_a_record_is_unusable(change: dict[str, Any], reason: str) -> None:
    assert reasons(xlam.read, {**RECORD, **change}) == [reason]


@settings(max_examples=150, deadline=None)
@given(record=damaged(RECORD) | damaged({**RECORD, "tools": json.loads(RECORD["tools"])}))
def test_damage_is_a_problem_and_no_exception(record: Any) -> None:
    assert isinstance(xlam.matches(record), bool)
    assert found_in(xlam.read, record)
