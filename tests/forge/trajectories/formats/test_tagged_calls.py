from __future__ import annotations

import pytest

from forge.schema import Step, ToolCall
from forge.trajectories.formats.fields import UnusableRecordError
from forge.trajectories.formats.tagged_calls import has_calls_or_thoughts, tagged_step


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("Just words.", Step("assistant", "Just words.")),
        ("<think> Hm. </think>", Step("assistant", thought="Hm.")),
        ("<think></think>Yes", Step("assistant", "Yes", thought="")),
        ("<think>cut off", Step("assistant", thought="cut off")),
        ('A<tool_call>{"name": "f"}</tool_call>B', Step("assistant", "A\nB", calls=(ToolCall("f", {}),))),
        (
            '<tool_call>[{"name": "f", "arguments": "{\\"a\\": 1}"}, {"name": "g", "parameters": {}}]</tool_call>',
            Step("assistant", calls=(ToolCall("f", {"a": 1}), ToolCall("g", {}))),
        ),
        ('<tool_call>\n{"name": "f"}', Step("assistant", calls=(ToolCall("f", {}),))),
        ("<tool_call></tool_call><response> x </response>", Step("assistant", "x")),
    ],
)
def test_tags_are_parts_of_the_step(said: str, step: Step) -> None:
    assert tagged_step(said, 0) == step


@pytest.mark.parametrize("inside", ["f()", '{"name": "f"} and', "{", '{"name": "f", "arguments": [1]}'])
def test_a_call_that_is_no_json_is_malformed(inside: str) -> None:
    with pytest.raises(UnusableRecordError) as raised:
        tagged_step(f"<tool_call>{inside}</tool_call>", 3)
    assert raised.value.reason == "malformed_arguments"


def test_words_about_answers_are_no_tags() -> None:
    assert not has_calls_or_thoughts("The XML is <response>ok</response>, I <think> so.")
    assert has_calls_or_thoughts(" <think>a</think>")
    assert has_calls_or_thoughts("x <tool_call>")
