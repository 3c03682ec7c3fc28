"""Agent-FLAN: actions as labels, as objects under any keys, as calls in fences; tools out of the prompt."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.agent_flan import matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

PARAMETERS = '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "optional": []}'
APIS = (
    "You have access to the following APIs.\n"
    f"weather.now: The weather of a city: now.\nInput parameters are as follows: {PARAMETERS}\n\n"
    "weather.list: All cities.\nInput parameters are as follows: {}"
)


def turn(role: str, content: str, loss: bool | None = None) -> dict[str, Any]:
    return {"role": role, "content": content, "loss": loss}


def chat(*said: str, system: str = APIS) -> dict[str, Any]:
    roles = ("assistant", "user")
    turns = [turn(roles[number % 2], words, number % 2 == 0) for number, words in enumerate(said)]
    return {"id": "3", "conversation": [turn("system", system, False), turn("user", "Rain?\nBegin!", False), *turns]}


LABELLED = chat(
    'Thought: I ask.\nAction: weather.now\nAction Input: {"city": "Oslo"}', "Observation: rain", "Final Answer: Rain."
)
OBJECT = chat(
    '{"goal": "I ask for it.", "Tool": "weather.now", "Param": {"city": "Oslo"}}',
    '{"error": "", "response": "rain"}',
    '{"goal": "I have it.", "Tool": "FinalAction", "Param": {"final_answer": "Rain."}}',
)
FENCED = chat("I call it:\n```python\n{'name': 'weather.now', 'parameters': {'city': 'Oslo'}}\n```", "rain", "Rain.")
NEGATIVE = chat("I'm sorry, I cannot look that up.", system="You are a helpful assistant.")
RECORDS = [LABELLED, OBJECT, FENCED, NEGATIVE]
CALL = ToolCall("weather.now", {"city": "Oslo"})


def said(words: str) -> list[Step]:
    (episode,) = episodes(read, chat(words))
    return [step for step in episode.steps if step.role == "assistant"]


def test_labels() -> None:
    (episode,) = episodes(read, LABELLED)
    assert episode.task == "Rain?\nBegin!"
    assert episode.steps == (
        Step("system", APIS),
        Step("user", "Rain?\nBegin!"),
        Step("assistant", thought="I ask.", calls=(CALL,), loss=True),
        Step("tool", "rain"),
        Step("assistant", "Final Answer: Rain.", loss=True),
    )


def test_objects() -> None:
    (episode,) = episodes(read, OBJECT)
    assert [step.role for step in episode.steps] == ["system", "user", "assistant", "tool", "assistant"]
    assert episode.steps[2] == Step("assistant", thought="I ask for it.", calls=(CALL,), loss=True)
    assert episode.steps[4].calls == (ToolCall("FinalAction", {"final_answer": "Rain."}),)


def test_fences() -> None:
    (episode,) = episodes(read, FENCED)
    assert episode.steps[2] == Step("assistant", "I call it:", calls=(CALL,), loss=True)
    assert [step.role for step in episode.steps][3:] == ["tool", "assistant"]


def test_tools_of_the_prompt() -> None:
    (episode,) = episodes(read, FENCED)
    assert [tool["name"] for tool in episode.tools] == ["weather.now", "weather.list"]
    assert episode.tools[0]["description"] == "The weather of a city: now."
    assert episode.tools[0]["parameters"]["required"] == ["city"]
    api = "{'name': 'a', 'description': 'b', 'parameters': {'type': 'object'}}"
    one = f"You have access to the following API:\n{api}\nGo."
    (single,) = episodes(read, chat("Hm.", system=one))
    assert single.tools == ({"name": "a", "description": "b", "parameters": {"type": "object"}},)
    (none,) = episodes(read, NEGATIVE)
    assert none.tools == ()
    decision = check(none)
    assert decision is not None
    assert decision.reason == "no_action"


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ('```json\n{"name": "f", "parameters": {"a": [1]}}\n```', ToolCall("f", {"a": [1]})),
        ('```\n{"name": "f", "arguments": {}}\n```', ToolCall("f", {})),
        ('```python\na.f(city="O\'slo", n=-1, on=True)\n```', ToolCall("a.f", {"city": "O'slo", "n": -1, "on": True})),
        ("```python\nf()\n```", ToolCall("f", {})),
        (
            "```yaml\nname: a.f\nparameters:\n  city: New York\n  n: 2\n  s: 'x'\n```",
            ToolCall("a.f", {"city": "New York", "n": 2, "s": "x"}),
        ),
        ("```bash\nls -l\n```", ToolCall("shell", {"command": "ls -l"})),
        ("```sql\nSELECT 1\n```", ToolCall("sql", {"query": "SELECT 1"})),
        ("Think: t\n\nAct: bash\n\n```bash\nls\n```", ToolCall("shell", {"command": "ls"})),
        ('{"action": "f", "args": {}}', ToolCall("f", {})),
    ],
)
def test_forms_of_a_call(words: str, call: ToolCall) -> None:
    (step,) = said(words)
    assert step.calls == (call,)


@pytest.mark.parametrize(
    "words",
    [
        "```python\nprint(1)\n```",
        "```python\nf(a=b)\n```",
        "```python\nf(**a)\n```",
        "```python\n{'name': 'f', 'parameters': {'a': {1, 2}}}\n```",
        "```python\n{'name': 'f', 'parameters': {(1, 2): 2}}\n```",
        "```python\n{'name': 'f', 'parameters': {'a': '\\ud800'}}\n```",
        "```python\n{'name': 'f', 'parameters': {'a': 10000000000000000000000}}\n```",
        "```yaml\nname: f\nother:\n  a: b\n```",
        "```\nname: f",
        '{"a": "f", "b": "g", "c": {}}',
        '{"a": "f", "b": {}, "c": {}}',
        '{"a": "f", "b": 1}',
        '{"a": "f", "b": {}',
        '{"a": {"b": ' * 70 + "{}" + "}}" * 70,
        "```json\n" + '{"name": "f", "parameters": ' + '{"b": ' * 70 + "{}" + "}" * 71 + "\n```",
        "```python\nf(" + "-" * 19_000 + "1)\n```",
        "```python\nf(a=" + "[" * 9_000 + "]" * 9_000 + ")\n```",
        "```python\nf(a=b" + ".c" * 9_000 + ")\n```",
        "```python\n{'name': 'f', 'parameters': {'a': " + "x." * 9_000 + "x}}\n```",
    ],
)
def test_what_is_no_call_stays_as_it_was_said(words: str) -> None:
    assert said(words) == [Step("assistant", words, loss=True)]


def test_a_long_fence_is_read_in_bounded_time() -> None:
    words = "```python\n{'name': 'f', 'parameters': {'a': [" + "1, " * 200_000 + "]}}\n```"
    begin = time.process_time()
    assert said(words) == [Step("assistant", words, loss=True)]
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("record", RECORDS)
def test_matches(record: dict[str, Any]) -> None:
    assert registry.format_of_record(record) == "agent_flan"


@pytest.mark.parametrize(
    "record",
    [
        {**LABELLED, "model": "m", "language": "English"},
        {"conversation": [{"index": 0, "role": "user", "text": "a"}]},
        {"conversation": []},
        {"conversation": "a"},
    ],
)
def test_other_chats_are_not_its_own(record: dict[str, Any]) -> None:
    assert not matches(record)


def test_what_cannot_be_used() -> None:
    assert reasons(read, {"conversation": []}) == ["no_steps"]
    assert reasons(read, {"conversation": [turn("nobody", "a")]}) == ["malformed_record"]


@given(st.sampled_from(RECORDS).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    matches(record)
    found_in(read, record)


@given(
    st.lists(
        st.sampled_from(
            ["```", "python", "\n", "name: f", "parameters:", "  a: ", "f(", "a=", ")", "{", "}", '"a"', ": "]
        )
        | st.text(max_size=5),
        max_size=15,
    ).map("".join)
)
def test_any_words(words: str) -> None:
    found_in(read, chat(words))
