"""Function calls in text, and the functions that a prompt describes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.formats.function_text import described_tools, parsed_calls, with_calls

TOOLS = [
    {
        "name": "edit",
        "parameters": {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "range": {"type": "array"},
                "line": {"type": "integer"},
                "odd": "no schema",
            },
        },
    }
]


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments)


@pytest.mark.parametrize(
    ("said", "around", "calls"),
    [
        (
            "I look.\n<function=bash>\n<parameter=command>ls</parameter>\n</function>",
            "I look.",
            [call("bash", command="ls")],
        ),
        (
            """<function=edit>
<parameter=old>
    x

</parameter>
<parameter=range>[1, 5]</parameter>
<parameter=line>7</parameter>
<parameter=path>5</parameter></function>
Done.""",
            "Done.",
            [call("edit", old="    x\n", range=[1, 5], line=7, path="5")],
        ),
        (
            "<function=edit>\n<parameter=line>soon</parameter>\n<parameter=odd>1</parameter>\n</function>",
            "",
            [call("edit", line="soon", odd="1")],
        ),
        ("a\n<function=f>\n</function>\nb\n<function=g>\n</function>\nc", "a\nb\nc", [call("f"), call("g")]),
        (
            "<function=bash>\n<parameter=command>echo '</parameter>' '</function>'</parameter>\n</function>",
            "",
            [call("bash", command="echo '</parameter>' '</function>'")],
        ),
        ("<function=bash>\n<parameter=command>ls</parameter>\n", "", [call("bash", command="ls")]),
        ("<function=bash>\n<parameter=command>ls</parameter>\n</function", "", [call("bash", command="ls")]),
    ],
)
def test_calls(said: str, around: str, calls: list[ToolCall]) -> None:
    assert parsed_calls(said, TOOLS) == (around, calls)


@pytest.mark.parametrize(
    "said",
    [
        "no call",
        "of <function=",
        "of <function=name without end",
        "<function=>\n</function>",
        "<function=f>\nsome words\n</function>",
        "<function=f>\n<parameter=a>cut in the mid",
        "<function=f>\n<parameter=a>1</parameter>\n<parameter=a>2</parameter>\n</function>",
        "<function=f>\n</function> and <function=g> is meant",
    ],
)
def test_what_is_not_well_formed_stays_text(said: str) -> None:
    assert parsed_calls(said, ()) == (said, [])


def test_observations_of_calls() -> None:
    said = "<function=f>\n</function>\n<function=g>\n</function>"
    assert with_calls(
        [
            Step("user", "<function=f>\n</function>"),
            Step("assistant", said),
            Step("user", "of f"),
            Step("user", "of g"),
            Step("user", "Go on."),
            Step("assistant", "Done.", calls=(call("h"),)),
            Step("user", "Bye."),
        ],
        (),
    ) == [
        Step("user", "<function=f>\n</function>"),
        Step("assistant", calls=(call("f"), call("g"))),
        Step("tool", "of f"),
        Step("tool", "of g"),
        Step("user", "Go on."),
        Step("assistant", "Done.", calls=(call("h"),)),
        Step("user", "Bye."),
    ]


def test_described_tools() -> None:
    prompt = """You have functions:

---- BEGIN FUNCTION #1: bash ----
Description: Runs a command.
* In a shell.
Parameters:
  (1) command (string, required): What to run.
Several lines.
  (2) limit (integer, optional): Seconds.
---- END FUNCTION #1 ----

---- BEGIN FUNCTION #2: submit ----
Description: Ends.
No parameters are required for this function.
---- END FUNCTION #2 ----
---- BEGIN FUNCTION #3: cut ----
Description: never ends
"""
    assert described_tools(prompt) == [
        {
            "name": "bash",
            "description": "Runs a command.\n* In a shell.",
            "parameters": {
                "type": "object",
                "properties": {
                    "command": {"type": "string", "description": "What to run.\nSeveral lines."},
                    "limit": {"type": "integer", "description": "Seconds."},
                },
                "required": ["command"],
            },
        },
        {
            "name": "submit",
            "description": "Ends.",
            "parameters": {"type": "object", "properties": {}, "required": []},
        },
    ]


PIECES = st.sampled_from(
    [
        "<function=f>",
        "</function>",
        "<parameter=a>",
        "<parameter=b>",
        "</parameter>",
        "\n",
        "text",
        "<",
        "=",
        ">",
        "\ud800",
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_any_text(said: str) -> None:
    around, calls = parsed_calls(said, TOOLS)
    assert (around == said) if not calls else said.count("<function=") >= len(calls)
    kept = around + "".join(str(value) for call_ in calls for value in call_.arguments.values())
    assert kept.count("text") == said.count("text")


@given(
    st.lists(PIECES, max_size=8).map("".join),
    st.dictionaries(st.sampled_from("abc"), PIECES | st.just("1\n2"), max_size=3),
)
def test_what_is_written_is_read(words: str, arguments: dict[str, str]) -> None:
    words = words.replace("<", "")
    if any("</" in value or "<parameter" in value or "<function" in value for value in arguments.values()):
        return
    parameters = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in arguments.items())
    assert parsed_calls(f"{words}\n<function=f>\n{parameters}</function>", ()) == (
        words.strip(),
        [ToolCall("f", arguments)],
    )


def test_linear() -> None:
    for text in (
        "<function=f>" * 100_000,
        "<function=f>" + "<parameter=a>" * 100_000,
        "<function=f><parameter=a>" + "</parameter> x" * 100_000,
        "<function=f>\n</function>\n" * 50_000,
        "<function=f>" + " " * 1_000_000,
        "<function=f><parameter=a>" + "</parameter>" + " " * 1_000_000 + "x",
    ):
        started = time.process_time()
        parsed_calls(text, ())
        assert time.process_time() - started < 2
    started = time.process_time()
    described_tools("---- BEGIN FUNCTION #1: a ----\n  (1) " + "a " * 500_000 + "\n---- END FUNCTION #1 ----")
    assert time.process_time() - started < 2
