from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.formats import registry, toolace
from forge.trajectories.formats.fields import UnusableRecordError
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

TOOLS = [
    {
        "name": "Tide Table (v2)",
        "description": "Tides [by port].",
        "parameters": {
            "type": "dict",
            "properties": {
                "port": {"type": "string"},
                "days": {"type": "int"},
                "at": {"type": "dict", "properties": {}},
            },
            "required": ["port"],
        },
        "required": None,
    },
    {"name": "news.top", "description": "News.", "parameters": {"type": "dict", "properties": {}}},
]
RECORD: dict[str, Any] = {
    "system": "You compose functions. Put it in the format of [func1(params_name=params_value), func2(params)]\n"
    f"Here is a list of functions in JSON format that you can invoke:\n{json.dumps(TOOLS)}. \n"
    "Should you decide to return the function call(s), no other text.",
    "conversations": [
        {"from": "user", "value": "Tides in Oslo, and the news."},
        {"from": "assistant", "value": '[Tide Table (v2)(port="Oslo, [N]", days=2, at={"h": [1, (2)]}), news.top()]'},
        {"from": "tool", "value": '[{"name": "Tide Table (v2)", "results": {}}]'},
        {"from": "assistant", "value": "High at noon."},
    ],
}


def test_a_record_with_its_tools_in_the_system_prompt() -> None:
    assert registry.format_of_record(RECORD) == "toolace"
    (found,) = episodes(toolace.read, RECORD)
    assert found.steps == (
        Step(
            "system",
            "You compose functions. Put it in the format of [func1(params_name=params_value), func2(params)]\n"
            "Here is a list of functions in JSON format that you can invoke:\n"
            ". \nShould you decide to return the function call(s), no other text.",
        ),
        Step("user", "Tides in Oslo, and the news."),
        Step(
            "assistant",
            calls=(
                ToolCall("Tide Table (v2)", {"port": "Oslo, [N]", "days": 2, "at": {"h": [1, 2]}}),
                ToolCall("news.top", {}),
            ),
        ),
        Step("tool", '[{"name": "Tide Table (v2)", "results": {}}]'),
        Step("assistant", "High at noon."),
    )
    assert found.task == "Tides in Oslo, and the news."
    assert found.tools[0]["parameters"] == {
        "type": "object",
        "properties": {
            "port": {"type": "string"},
            "days": {"type": "integer"},
            "at": {"type": "object", "properties": {}},
        },
        "required": ["port"],
    }


def calls(said: str, *names: str) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in toolace.calls_of(said, names, 0)[0]]


def test_values_are_literals_of_python_or_of_json() -> None:
    assert calls("[f(a=true, b=None, c=-1.5, d='it\\'s', e=\"x=1, y\", g=[1, 'true', null], h=(1, 2))]") == [
        (
            "f",
            {"a": True, "b": None, "c": -1.5, "d": "it's", "e": "x=1, y", "g": [1, "true", None], "h": [1, 2]},
        )
    ]
    assert calls('[ Get Weather ( city = "Oslo" , page-size=2 ) , b.c/d() ]') == [
        ("Get Weather", {"city": "Oslo", "page-size": 2}),
        ("b.c/d", {}),
    ]
    assert calls("[f(a={1: 'x', 'b': {true: 2}})]") == [("f", {"a": {"1": "x", "b": {"true": 2}}})]


def test_text_behind_the_calls_is_what_was_said() -> None:
    assert toolace.calls_of("[f()] Then I sum up.", (), 0) == ((ToolCall("f", {}),), "Then I sum up.")


@pytest.mark.parametrize(
    "said",
    [
        "[f(a=1]",
        "[f(a=1)",
        "[f(a=)]",
        "[f(1)]",
        "[f(a=name)]",
        "[f(a=2024-01-02)]",
        "[f(a=__import__('os'))]",
        "[f(a=b'x')]",
        "[f(a={1, 2})]",
        "[f(a=1e999)]",
        "[f(a='\\ud800')]",
        "[f(a=" + "[" * 100 + "]" * 100 + ")]",
        "[f(a=" + "-" * 50_000 + "1)]",
        "[f(a=" + "1+" * 50_000 + "1)]",
        "[f(a=" + "9" * 50_000 + ")]",
        "[f(",
        "[(a=1)]",
        "[f(a=1), ",
        "[f(a='" + "x" * 1_000_001,
    ],
)
def test_what_is_no_call_is_malformed(said: str) -> None:
    with pytest.raises(UnusableRecordError) as raised:
        toolace.calls_of(said, (), 0)
    assert raised.value.reason == "malformed_arguments"


def test_time_is_linear_in_the_text() -> None:
    started = time.process_time()
    for said in (
        "[f(a='" + "\\'" * 60_000,
        "[" + "f(a=1)," * 20_000 + "]",
        '[f(a="' + '","' * 20_000,
        "[f(" + "a=(" * 60_000,
    ):
        found_in(toolace.read, {**RECORD, "conversations": [{"from": "assistant", "value": said}]})
    assert time.process_time() - started < 2


@settings(max_examples=150, deadline=None)
@given(
    arguments=st.dictionaries(
        st.from_regex(r"[a-z_-]{1,8}", fullmatch=True),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63 - 1)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(codec="utf-8"), max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\"'\\,)]", max_size=3), inner, max_size=3)
            ),
            max_leaves=5,
        ),
        max_size=4,
    ),
    written=st.sampled_from([repr, json.dumps]),
)
def test_calls_written_by_python_or_json_are_read_back(arguments: dict[str, Any], written: Any) -> None:
    inside = ", ".join(f"{name}={written(value)}" for name, value in arguments.items())
    assert calls(f"[First()  , The call.v2({inside})]") == [("First", {}), ("The call.v2", arguments)]


def test_other_records_are_not_toolace() -> None:
    turns = [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "[a link](here)"}]
    assert not toolace.matches({"system": "You help.", "conversations": turns})
    assert not toolace.matches({**RECORD, "conversations": [{"from": "human", "value": "x"}]})
    assert toolace.matches({"system": "", "conversations": [turns[0], {"from": "assistant", "value": "[f(a=1)]"}]})


def test_a_call_that_nobody_can_read_spoils_the_record() -> None:
    turns = [RECORD["conversations"][0], {"from": "assistant", "value": "[news.top(positional)]"}]
    assert reasons(toolace.read, {**RECORD, "conversations": turns}) == ["malformed_arguments"]


@settings(max_examples=150, deadline=None)
@given(record=damaged(RECORD))
def test_damage_is_a_problem_and_no_exception(record: Any) -> None:
    assert isinstance(toolace.matches(record), bool)
    assert found_in(toolace.read, record)
