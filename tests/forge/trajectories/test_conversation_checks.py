from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.conversation_checks import (
    LEAK_WORDS,
    cut_json,
    empty_episode,
    is_cut_json,
    leaked_system_prompt,
    refusal,
)

TOOLS = ({"name": "f", "description": "", "parameters": {}},)


def episode(*steps: Step) -> Trajectory:
    return Trajectory("t", TOOLS, steps, "unknown", None, "e", "MIT", "human", "s", "i")


def said(*texts: str) -> Trajectory:
    return episode(*(step for text in texts for step in (Step("user", "go on"), Step("assistant", text))))


def test_an_assistant_that_says_and_does_nothing() -> None:
    assert empty_episode(episode(Step("user", "hi"), Step("assistant", " \n"), Step("assistant"))) is not None
    assert empty_episode(episode(Step("user", "hi"))) is not None
    for step in (Step("assistant", "a"), Step("assistant", thought="a"), Step("assistant", calls=(ToolCall("f", {}),))):
        assert empty_episode(episode(Step("user", "hi"), step)) is None


# --- JSON cut in the middle


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "search", "arguments": {"query": "fligh',
        '{"name": "search", "arguments": {"query": "flights"}',
        '[{"name": "search"}, {"na',
        '\n{ "a": [1, 2',
        '{"a": "ends with a backslash \\',
        '<tool_call>\n{"name": "search", "arguments": {"query"',
        'I will search.\n<tool_call>\n{"name": "search", "argu',
        '<tool_call>{"name": "a"}</tool_call>\n<tool_call>{"name": "b", ',
        '<functioncall> {"name": "a", "arguments": \'{"b"',
        'Here it is:\n```json\n{"a": 1,\n',
        '{"code": "print(\'}\')',
    ],
)
def test_cut_json(text: str) -> None:
    assert is_cut_json(text)
    assert cut_json(said(text)) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[",
        "{}",
        '{"a": 1}',
        '{"a": "}{"} and then some words {',
        '{"a": 1}}}',
        '[{"a": 1}]',
        "[1] The Times, 2019. [2",
        "{x | x > 0",
        "{name} is the placeholder (",
        'I would use {"a": 1',
        '<tool_call>\n{"name": "search", "arguments": {}}\n</tool_call>',
        'Sure:\n```json\n{"a": [1, 2]}\n```\nAnything else?',
        "```python\nx = {\n```",
        '["a", "b"',
    ],
)
def test_whole_json_and_other_texts(text: str) -> None:
    assert not is_cut_json(text)
    assert cut_json(said(text)) is None


def test_arguments_cut_in_the_middle() -> None:
    cut = Step("assistant", calls=(ToolCall("Search", {"input": '{"query": "fligh'}),))
    assert cut_json(episode(cut)) is not None
    assert cut_json(episode(cut, Step("tool", "Error: invalid JSON"))) is not None
    assert cut_json(episode(cut, Step("tool", "3 flights"))) is None, "the environment took it"
    part = Step("assistant", calls=(ToolCall("edit", {"path": "a.json", "text": '{"query": "fligh'}),))
    assert cut_json(episode(part)) is None, "files are written in parts"
    assert cut_json(episode(Step("user", '{"query": "fligh'))) is None, "only what the assistant wrote"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab\"\\{}[] '", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(json_values, st.data(), st.sampled_from([None, 2]))
def test_every_beginning_of_an_object_is_cut_and_the_whole_is_not(
    value: object, data: st.DataObject, indent: int
) -> None:
    text = json.dumps({"name": value}, indent=indent)
    assert not is_cut_json(text)
    assert not is_cut_json(text + " That was it: {")
    end = data.draw(st.integers(text.index('"') + 1, len(text) - 1))
    assert is_cut_json(text[:end])


# --- the system prompt

PROMPT = " ".join(f"rule{number} says word{number * 7 % 31}" for number in range(60))
WORDS = PROMPT.split()


def with_prompt(text: str, prompt: str = PROMPT) -> Trajectory:
    return episode(Step("system", prompt), Step("user", "go"), Step("assistant", text))


@pytest.mark.parametrize("start", [0, 1, 13, len(WORDS) - LEAK_WORDS])
@pytest.mark.parametrize("before", [0, 1, 7, 24, 25, 26, 80])
def test_a_long_run_of_the_prompt_is_a_leak(start: int, before: int) -> None:
    def repeating(words: int) -> str:
        return " ".join([*["well"] * before, *WORDS[start : start + words], "and", "so", "on"])

    assert leaked_system_prompt(with_prompt(repeating(LEAK_WORDS))) is not None
    assert leaked_system_prompt(with_prompt(repeating(LEAK_WORDS).replace(" ", "\n  "))) is not None
    assert leaked_system_prompt(with_prompt(repeating(LEAK_WORDS - 1))) is None


def test_only_what_the_assistant_says_of_the_prompt_counts() -> None:
    assert leaked_system_prompt(episode(Step("system", PROMPT), Step("user", PROMPT), Step("assistant", "ok"))) is None
    assert leaked_system_prompt(episode(Step("user", PROMPT), Step("assistant", PROMPT))) is None
    assert leaked_system_prompt(episode(Step("system", PROMPT), Step("assistant", thought=PROMPT))) is None


@pytest.mark.parametrize(
    "text",
    [
        "My system prompt says that I must not book flights.",
        "I can't share my hidden instructions.",
        "I was told not to reveal this.",
        "The system prompt tells me to be brief.",
    ],
)
def test_speaking_of_hidden_instructions(text: str) -> None:
    assert leaked_system_prompt(with_prompt(text)) is not None


@pytest.mark.parametrize(
    "text",
    [
        "Our policy says that basic economy flights cannot be changed.",
        "I found hidden instructions in this e-mail and will not follow them.",
        "My instructions for the recipe: boil the water.",
        "A system prompt is the first message of a conversation.",
        "He was told not to reveal his name.",
    ],
)
def test_speaking_of_other_instructions(text: str) -> None:
    assert leaked_system_prompt(with_prompt(text)) is None


def test_long_texts_take_linear_time() -> None:
    texts = (
        ("a " * 500_000, "a " * 500_000),
        (" ".join(["a"] * 24 + ["b"]) * 10_000, "a " * 500_000),
        ('{"a": ' * 200_000, "x"),
        ('{"a": "' + '\\"' * 500_000, "x"),
        ("<tool_call>" * 50_000, "x"),
        ('```json{"' * 50_000, "x"),
        ("I'm sorry. " * 50_000, "x"),
        (" " * 1_000_000, "x"),
        ("my system " * 100_000, "x"),
    )
    for text, prompt in texts:
        started = time.process_time()
        found = with_prompt(text, prompt)
        leaked_system_prompt(found)
        cut_json(found)
        refusal(found)
        assert time.process_time() - started < 1.5, text[:40]


# --- refusals


@pytest.mark.parametrize(
    "texts",
    [
        ["I'm sorry, but I can't assist with that."],
        ["I’m sorry, but I can’t help with that request."],
        ["I cannot comply with this request"],
        ["I apologize, but I am unable to fulfill this request. Is there anything else I can help you with?"],
        ["As an AI language model, I cannot answer that question."],
        ["Sorry, I can't do that.", "I'm sorry, but I'm unable to assist with that. Thank you for your understanding."],
    ],
)
def test_stock_refusals(texts: list[str]) -> None:
    assert refusal(said(*texts)) is not None


@pytest.mark.parametrize(
    "texts",
    [
        # Each in the words of a kind of reply that the Glaive sets have beside tools that do not cover the request.
        ["I'm sorry, but I don't have the capability to book flights."],
        ["I'm sorry, but I can't assist with that. My current capabilities are limited to converting units."],
        ["I'm unable to assist with booking flights, since no function for it was provided to me."],
        ["I'm sorry, but none of the available tools can list football scores."],
        ["I'm sorry, but I can't do that. Could you please provide the file's id?"],
        ["I can't help with that. Please let me know the number of the order."],
        ["I'm sorry, but I can't assist with that. However, I can help you calculate an age."],
        ["I'm sorry, but I can't assist with that.", "The answer is 7."],
        ["I'm sorry."],
        [""],
    ],
)
def test_other_answers_without_calls(texts: list[str]) -> None:
    assert refusal(said(*texts)) is None


def test_a_refusal_beside_a_call_is_none() -> None:
    call = Step("assistant", calls=(ToolCall("f", {}),))
    assert (
        refusal(episode(Step("user", "x"), call, Step("assistant", "I'm sorry, but I can't assist with that."))) is None
    )


def test_many_prompts_and_answers_cost_linear_time() -> None:
    steps = [
        step
        for number in range(300)
        for step in (
            Step("system", " ".join(f"rule{number}x{word}" for word in range(500))),
            Step("assistant", " ".join(f"word{number}x{word}" for word in range(500))),
        )
    ]
    started = time.process_time()
    assert leaked_system_prompt(episode(*steps)) is None
    assert time.process_time() - started < 3
