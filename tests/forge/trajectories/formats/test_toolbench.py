"""ToolBench answer files: one episode for the answer, others only for branches that it does not repeat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.checks import check
from forge.trajectories.formats import registry, toolbench
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

ANSWERS = Path(__file__).resolve().parents[5] / "shared" / "samples" / "toolbench" / "data_example" / "answer"

RAIN = '{"error": "", "response": "{\'rain\': true}"}'
NO_CITY = '{"error": "no such city", "response": ""}'
ANSWER = '{"return_type": "give_answer", "final_answer": "It rains."}'
GIVE_UP = '{"return_type": "give_up_and_restart"}'
TOOL = {
    "name": "weather_for_sky",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "optional": []},
}
SYSTEM = {"role": "system", "content": "You can use functions."}
USER = {"role": "user", "content": "\nIs it raining in Bergen?\nBegin!\n"}
OTHER_TRY = {"role": "user", "content": "This is not the first time.", "valid": False}


def node(kind: str, said: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"node_type": kind, "description": said, "children": list(children), **more}


def action(name: str, arguments: str, observation: str | None, *children: dict[str, Any]) -> dict[str, Any]:
    seen = {} if observation is None else {"observation": observation}
    return node("Action", name, node("Action Input", arguments, *children, **seen))


def finish(arguments: str) -> dict[str, Any]:
    return action("Finish", arguments, '{"response":"noted"}')


def asks(name: str, arguments: str, content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "function_call": {"name": name, "arguments": arguments}}


def answer_file(win: bool, tree: dict[str, Any], **answer: Any) -> dict[str, Any]:
    return {
        "win": win,
        "tree": {"size": 9, "max_length": 9, "tree": tree},
        "forward_args": {},
        "compare_candidates": [],
        "answer_generation": {
            "query": "Is it raining in Bergen?",
            "function": [TOOL, {"name": "map_for_sky"}, {"name": "Finish"}],
            "chain": [],
            **answer,
        },
    }


PATH = [
    SYSTEM,
    USER,
    asks("weather_for_sky", '{"city": "Bergn"}', "I look at the sky."),
    {"role": "function", "name": "weather_for_sky", "content": NO_CITY},
    OTHER_TRY,
    asks("weather_for_sky", '{"city": "Bergen"}'),
    {"role": "function", "name": "weather_for_sky", "content": RAIN},
    asks("Finish", ANSWER),
]
TREE = node(
    "Action Input",
    "",
    node(
        "Thought",
        "I look at the sky.",
        action(
            "weather_for_sky",
            '{"city": "Bergn"}',
            NO_CITY,
            finish(GIVE_UP),
            action("weather_for_sky", '{"city": "Bergen"}', RAIN, finish(ANSWER)),
        ),
    ),
    action("map_for_sky", '{"of": "Bergen"}', '{"error": "401", "response": "', finish(GIVE_UP)),
)
WON = answer_file(
    True,
    TREE,
    train_messages=[PATH[:3], PATH[:6], PATH],
    finish_type="give_answer",
    final_answer=ANSWER,
    valid_data=True,
)


def calls(trajectory: Trajectory) -> list[tuple[str, Any]]:
    return [(call.name, dict(call.arguments)) for step in trajectory.steps for call in step.calls]


def test_the_answer_is_the_longest_conversation() -> None:
    answer, branch = episodes(toolbench.read, WON)
    assert answer.task == "Is it raining in Bergen?"
    assert answer.outcome == "success"
    assert answer.tools == (TOOL, {"name": "map_for_sky"}, {"name": "Finish"})
    assert list(answer.steps) == [
        Step("system", SYSTEM["content"]),
        Step("user", USER["content"]),
        Step("assistant", thought="I look at the sky.", calls=(ToolCall("weather_for_sky", {"city": "Bergn"}),)),
        Step("tool", NO_CITY, error="no such city"),
        Step("user", OTHER_TRY["content"]),
        Step("assistant", calls=(ToolCall("weather_for_sky", {"city": "Bergen"}),)),
        Step("tool", RAIN),
        Step("assistant", calls=(ToolCall("Finish", json.loads(ANSWER)),)),
    ]
    assert branch.outcome == "failure"
    assert list(branch.steps) == [
        Step("system", SYSTEM["content"]),
        Step("user", USER["content"]),
        Step("assistant", calls=(ToolCall("map_for_sky", {"of": "Bergen"}),)),
        Step("tool", '{"error": "401", "response": "', error="401"),
        Step("assistant", calls=(ToolCall("Finish", {"return_type": "give_up_and_restart"}),)),
        Step("tool", '{"response":"noted"}'),
    ]
    assert [check(found) for found in (answer, branch)] == [None, None]
    assert registry.format_of_record(WON) == "toolbench"


def test_a_branch_that_mostly_repeats_another_is_no_episode() -> None:
    """In TREE the first branch to give up has four of its six nodes in common with the answer."""
    given_up = [found for found in episodes(toolbench.read, WON) if found.outcome == "failure"]
    assert [calls(found)[0][0] for found in given_up] == ["map_for_sky"]


def test_without_messages_the_path_to_the_answer() -> None:
    answer, branch = episodes(toolbench.read, answer_file(True, TREE))
    assert answer.outcome == "success"
    assert answer.steps[0] == Step("user", "Is it raining in Bergen?")
    assert answer.steps[1].thought == "I look at the sky."
    assert calls(answer)[-1] == ("Finish", json.loads(ANSWER))
    assert answer.steps[-1] == Step("tool", '{"response":"noted"}')
    assert branch.outcome == "failure"


def test_given_up_is_a_failure_and_is_not_told_twice() -> None:
    messages = [
        SYSTEM,
        USER,
        asks("invalid_hallucination_function_name", '{"of": "Bergen"}'),
        {
            "role": "function",
            "name": "invalid_hallucination_function_name",
            "content": '{"error": "401", "response": "',
        },
        asks("Finish", GIVE_UP),
    ]
    tree = node("Action Input", "", TREE["children"][1])
    (only,) = episodes(toolbench.read, answer_file(False, tree, train_messages=[messages], finish_type="give_up"))
    assert only.outcome == "failure"


def test_a_search_that_never_finishes_gives_its_longest_branch() -> None:
    short = action("weather_for_sky", '{"city": "Oslo"}', RAIN)
    long = action("weather_for_sky", '{"city": "Bergn"}', NO_CITY, node("Thought", "I do not know."))
    (only,) = episodes(toolbench.read, answer_file(False, node("Action Input", "", short, long)))
    assert only.outcome == "failure"
    assert only.steps[-1] == Step("assistant", "I do not know.")


def test_a_thought_the_search_went_on_from_is_a_message() -> None:
    tree = node("Action Input", "", node("Thought", "I think.", finish(ANSWER), expand_num=2))
    (only,) = episodes(toolbench.read, answer_file(True, tree))
    assert list(only.steps[1:3]) == [
        Step("assistant", "I think."),
        Step("assistant", calls=(ToolCall("Finish", json.loads(ANSWER)),)),
    ]


def test_tries_of_the_method_cot() -> None:
    chain = [
        {"node_type": "Thought", "description": "I look."},
        {"node_type": "Action", "description": "weather_for_sky"},
        {"node_type": "Action Input", "description": '{"city": "Bergen"}', "observation": RAIN},
    ]
    record = {"win": False, "trys": [{"chain": chain, "win": False}], "answer_generation": {"query": "Rain?"}}
    (only,) = episodes(toolbench.read, record)
    assert only.outcome == "failure"
    assert list(only.steps) == [
        Step("user", "Rain?"),
        Step("assistant", thought="I look.", calls=(ToolCall("weather_for_sky", {"city": "Bergen"}),)),
        Step("tool", RAIN),
    ]


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (node("Action Input", ""), "no_steps"),
        (node("Action Input", "", action("weather_for_sky", "Bergen", RAIN)), "malformed_arguments"),
        (node("Action Input", "", node("Action", "weather_for_sky")), "malformed_record"),
        (node("Action Input", "", node("Dream", "of rain")), "malformed_record"),
        (node("Action Input", "", node("Action Input", "{}")), "malformed_record"),
        ({"children": 1}, "malformed_record"),
        ({"children": [None]}, "malformed_record"),
    ],
)
def test_what_is_no_search(tree: dict[str, Any], reason: str) -> None:
    assert reasons(toolbench.read, answer_file(False, tree)) == [reason]


def test_a_tree_without_an_end() -> None:
    tree: dict[str, Any] = node("Thought", "deep")
    for _ in range(10_000):
        tree = node("Thought", "deep", tree)
    assert reasons(toolbench.read, answer_file(False, tree)) == ["too_deeply_nested"]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_a_problem_and_no_exception(data: st.DataObject) -> None:
    record = data.draw(damaged(data.draw(st.sampled_from([WON, answer_file(False, TREE)]))))
    toolbench.matches(record)
    found_in(toolbench.read, record)


@pytest.mark.skipif(not ANSWERS.is_dir(), reason="the samples are not here")
def test_real_answer_files() -> None:
    """Counted in the files themselves: every file gives an episode, those that won one with their last call."""
    won = failed = 0
    for path in sorted(ANSWERS.glob("*/*.json")):
        record = orjson.loads(path.read_bytes())
        found = found_in(toolbench.read, record)
        assert all(isinstance(one, Trajectory) for one in found)
        first = found[0]
        assert isinstance(first, Trajectory)
        assert check(first) is None
        assert (first.outcome == "success") == record["win"]
        told = record["answer_generation"].get("train_messages")
        if told:
            asked = [turn["function_call"]["name"] for turn in told[-1] if "function_call" in turn]
            assert [name for name, _ in calls(first)] == asked
            assert len(first.steps) == len(told[-1])
        won += sum(one.outcome == "success" for one in found if isinstance(one, Trajectory))
        failed += sum(one.outcome == "failure" for one in found if isinstance(one, Trajectory))
    assert (won, failed) == (9, 17)
