"""ToolEval answers: whole, in each way that a call is written, and as the converter cut them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry, tooleval
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

RESULTS = (
    Path(__file__).resolve().parents[5] / "shared" / "samples" / "toolbench" / "toolbench" / "tooleval" / "results"
)

QUERY = "Is it raining in Bergen, and would you take an umbrella there, or rather a hat, and why would you take it?"
RAIN = '{"error": "", "response": "it\'s raining"}'
ANSWER = (
    '{\n  "return_type": "give_answer",\n  "final_answer": "It rains in Bergen: take both, a hat and an umbrella."\n}'
)
WEATHER = {"name": "weather", "arguments": '{"city": "Bergen"}', "response": RAIN}
FINISH = {"name": "Finish", "arguments": ANSWER, "response": ""}


def record(*turns: tuple[str, object], final_answer: object = ANSWER) -> dict[str, Any]:
    root: list[Any] = []
    for role, message in reversed(turns):
        root = [{"role": role, "message": message, "next": root}]
    return {
        "query": QUERY,
        "available_tools": [{"name": "weather", "description": "", "parameters": {"type": "object", "properties": {}}}],
        "answer": {"method": "chatgpt_CoT", "total_steps": 5, "final_answer": final_answer, "answer_details": root},
    }


def answer(*messages: object, **more: Any) -> dict[str, Any]:
    return record(("system", ""), ("user", QUERY[:100]), *(("tool", message) for message in messages), **more)


CALLED = Step("assistant", calls=(ToolCall("weather", {"city": "Bergen"}),))
FINISHED = Step("assistant", calls=(ToolCall("Finish", json.loads(ANSWER)),))


@pytest.mark.parametrize("write", [lambda value: value, str, json.dumps], ids=["object", "python", "json"])
def test_a_call_in_each_way_it_is_written(write: Any) -> None:
    whole = record(
        ("system", ""),
        ("user", QUERY[:100]),
        ("assistant", "I look."),
        ("tool", write(WEATHER)),
        ("tool", write(FINISH)),
    )
    (only,) = episodes(tooleval.read, whole)
    assert only.task == QUERY
    assert list(only.steps) == [Step("user", QUERY), Step("assistant", "I look."), CALLED, Step("tool", RAIN), FINISHED]
    assert only.generator == "chatgpt_CoT"
    assert only.outcome == "unknown"
    assert [tool["name"] for tool in only.tools] == ["weather"]
    assert check(only) is None
    assert registry.format_of_record(whole) == "tooleval"


def test_arguments_and_response_as_values() -> None:
    weather = {"name": "weather", "arguments": {"city": "Bergen"}, "response": [{"text": "rain", "mm": 3}]}
    (only,) = episodes(tooleval.read, answer(str(weather), FINISH))
    assert list(only.steps[1:3]) == [CALLED, Step("tool", '[{"mm":3,"text":"rain"}]')]


def test_messages_cut_after_100_characters() -> None:
    failed = {**WEATHER, "response": '{"error": "no such city", "response": ""}'}
    messages = [str(message)[:100] for message in (WEATHER, failed, FINISH)]
    assert all(len(message) == 100 for message in messages)
    (only,) = episodes(tooleval.read, answer(*messages))
    assert [step.calls for step in only.steps if step.calls] == [CALLED.calls, CALLED.calls, FINISHED.calls]
    first, second = (step for step in only.steps if step.role == "tool")
    assert RAIN.startswith(first.content or "-")
    assert first.content
    assert second == Step("tool", '{"error": "no such city", "respo', error="no such city")


def test_a_call_cut_in_its_input_ends_the_episode() -> None:
    long = str({"name": "weather", "arguments": json.dumps({"city": "B" * 99}), "response": RAIN})[:100]
    (only,) = episodes(tooleval.read, answer(WEATHER, long, FINISH))
    assert list(only.steps) == [Step("user", QUERY), CALLED, Step("tool", RAIN)]
    assert only.outcome == "unknown"
    assert reasons(tooleval.read, answer(WEATHER, long, FINISH)) == ["truncated_message"]
    assert not episodes(tooleval.read, answer(long, FINISH))


@pytest.mark.parametrize("end", range(101, 200))
def test_every_place_of_the_cut(end: int) -> None:
    """The cut may fall into a name, an escape sequence, or between two fields."""
    message = str({"name": "weather" * 9, "arguments": '{"of": "\x07é\'\\""}', "response": "\U0001f600\n'\""})
    whole = answer(message[: end - 60])
    for found in episodes(tooleval.read, whole):
        assert [call.arguments for step in found.steps for call in step.calls] == [{"of": "\x07é'\""}]
    assert len(episodes(tooleval.read, whole)) + len(reasons(tooleval.read, whole)) == 1


@pytest.mark.parametrize(
    ("final_answer", "outcome"),
    [(ANSWER, "unknown"), ("", "failure"), ('{"return_type": "give_up_and_restart"}', "failure"), (None, "unknown")],
)
def test_outcome(final_answer: object, outcome: str) -> None:
    (only,) = episodes(tooleval.read, answer(WEATHER, final_answer=final_answer))
    assert only.outcome == outcome


def test_each_branch_of_a_tree_is_an_episode() -> None:
    whole = answer(WEATHER)
    (user,) = whole["answer"]["answer_details"][0]["next"]
    user["next"].append({"role": "tool", "message": FINISH, "next": []})
    first, second = episodes(tooleval.read, whole)
    assert list(first.steps) == [Step("user", QUERY), CALLED, Step("tool", RAIN)]
    assert list(second.steps) == [Step("user", QUERY), FINISHED]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "malformed_record"),
        (3, "malformed_record"),
        ("rain", "malformed_record"),
        ("__import__('os').getpid()", "malformed_record"),
        ("{'arguments': '{}'}", "malformed_record"),
        ("{'name': 3, 'arguments': '{}'}", "malformed_record"),
        ("{'name': 'weather', 'arguments': 'Bergen', 'response': ''}", "malformed_arguments"),
        ("{'name': 'weather', 'arguments': {1, 2}, 'response': ''}", "truncated_message"),
        ("{'name': 'weather', 'arguments': " + "[" * 5_000, "truncated_message"),
        ("{'name': 'weath", "truncated_message"),
        ("{'name': 'weather', 'arguments': '\\ud800', 'response': ''}", "truncated_message"),
        ("{'name': '" + "a" * 1_000_001 + "'}", "truncated_message"),
    ],
)
def test_what_is_no_call(message: object, reason: str) -> None:
    assert reasons(tooleval.read, answer(message)) == [reason]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_a_problem_and_no_exception(data: st.DataObject) -> None:
    whole = data.draw(damaged(answer(WEATHER, str(WEATHER), str(WEATHER)[:100], FINISH)))
    tooleval.matches(whole)
    found_in(tooleval.read, whole)


@settings(max_examples=300, deadline=None)
@given(message=st.text(max_size=80) | st.text("{}[]'\"\\, :nrxuU0123456789", max_size=80).map("{{'name': {}".format))
def test_any_text_of_a_call(message: str) -> None:
    found = found_in(tooleval.read, answer(message))
    assert len(found) == 1


@pytest.mark.skipif(not RESULTS.is_dir(), reason="the samples are not here")
def test_real_results() -> None:
    """A record gives one episode, unless its first call is cut; every second one has a cut call, where it ends."""
    records = whole = ended_early = unusable = 0
    for path in sorted(RESULTS.glob("*/*/*.json")):
        for one in orjson.loads(path.read_bytes()).values():
            records += 1
            node, tools = one["answer"]["answer_details"][0], 0
            while node["next"]:
                (node,) = node["next"]
                tools += node["role"] == "tool"
            found = episodes(tooleval.read, one)
            problems = reasons(tooleval.read, one)
            made = sum(len(step.calls) for episode in found for step in episode.steps)
            assert made < tools if problems else made == tools
            whole += bool(found) and not problems
            ended_early += bool(found) and problems == ["truncated_message"]
            unusable += not found
    assert (records, whole, ended_early, unusable) == (600, 274, 145, 181)
