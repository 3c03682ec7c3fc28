"""tau-bench's runs, tau2-bench's results, published rows of both, and displayed dialogues."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.tau_bench import displayed_steps, matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples" / "tau-bench"

SYSTEM = {"role": "system", "content": "Policy."}
ASK = {"role": "user", "content": "Cancel my flight."}
FIND = {"id": "c1", "type": "function", "function": {"name": "find_user", "arguments": '{"id": "u"}'}}
CALL = {"role": "assistant", "content": None, "tool_calls": [FIND]}
RESULT = {"role": "tool", "tool_call_id": "c1", "name": "find_user", "content": "{}"}
BYE = {"role": "assistant", "content": "Done."}
RUN: dict[str, Any] = {
    "task_id": 4,
    "reward": 1.0,
    "info": {"task": {"instruction": "You are u. Cancel your flight."}},
    "traj": [SYSTEM, ASK, CALL, RESULT, BYE],
    "trial": 2,
}
SIMULATION: dict[str, Any] = {
    "id": "s1",
    "task_id": "7",
    "trial": 0,
    "termination_reason": "user_stop",
    "reward_info": {"reward": 0.0},
    "messages": [
        {"role": "assistant", "content": "Hi!", "tool_calls": None},
        {"role": "user", "content": "No data.", "tool_calls": None},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a1", "name": "look_up", "arguments": {"phone": "0"}, "requestor": "assistant"}],
        },
        {"role": "tool", "id": "a1", "content": "Not found", "error": True, "requestor": "assistant"},
        {"role": "user", "tool_calls": [{"id": "", "name": "toggle", "arguments": {}, "requestor": "user"}]},
        {"role": "tool", "id": "", "content": "on", "error": False, "requestor": "user"},
    ],
}
RESULTS: dict[str, Any] = {
    "timestamp": "2099",
    "info": {
        "agent_info": {"implementation": "llm_agent", "llm": "some-model"},
        "environment_info": {
            "domain_name": "telecom",
            "policy": "Be kind.",
            "tool_defs": {
                "look_up": {"name": "look_up", "doc": "Looks up.", "params": {"type": "object"}, "returns": {}}
            },
        },
    },
    "tasks": [{"id": "7"}],
    "simulations": [SIMULATION, {**SIMULATION, "id": None, "messages": None}, {**SIMULATION, "id": "s3"}],
}
ROW: dict[str, Any] = {
    "model_path": "some/model",
    "benchmark_name": "taubench",
    "task_name": "airline",
    "messages": [SYSTEM, ASK, CALL, RESULT, BYE],
    "eval_result": {"score": 1.0, "db_match": False},
    "meta": {"id": "airline_0"},
}
DISPLAY: dict[str, Any] = {
    "messages_display": "user: Hi,\nuser id is u.\nassistant: None\ntool: {}\nassistant: Done.\nNone\nuser: Bye"
}


def test_run() -> None:
    (episode,) = episodes(read, RUN)
    assert list(episode.steps) == [
        Step("system", "Policy."),
        Step("user", "Cancel my flight."),
        Step("assistant", calls=(ToolCall("find_user", {"id": "u"}, "c1"),)),
        Step("tool", "{}", answers="c1"),
        Step("assistant", "Done."),
    ]
    assert (episode.task, episode.outcome, episode.reward, episode.episode) == (
        "Cancel my flight.",
        "success",
        1.0,
        "4#2",
    )
    assert check(episode) is None


def test_results_hold_an_episode_for_each_simulation() -> None:
    first, problem, third = found_in(read, RESULTS)
    assert isinstance(first, Trajectory)
    assert list(first.steps) == [
        Step("system", "Be kind."),
        Step("assistant", "Hi!"),
        Step("user", "No data."),
        Step("assistant", calls=(ToolCall("look_up", {"phone": "0"}, "a1"),)),
        Step("tool", "Not found", answers="a1", error="Not found"),
        Step("user", calls=(ToolCall("toggle", {}),)),
        Step("tool", "on"),
    ]
    assert first.tools == ({"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}},)
    assert (first.outcome, first.reward, first.environment) == ("failure", 0.0, "tau2-bench/telecom")
    assert (first.generator, first.episode) == ("some-model", "s1")
    assert (problem.part, problem.reason) == ("1", "malformed_record")  # type: ignore[union-attr]
    assert third.episode == "s3"  # type: ignore[union-attr]
    assert check(first) is None


def test_one_simulation_of_a_folder() -> None:
    (episode,) = episodes(read, {**SIMULATION, "id": None, "policy": "Be brief."})
    assert episode.steps[0] == Step("system", "Be brief.")
    assert (episode.episode, episode.environment, episode.outcome) == ("7#0", "", "failure")


@pytest.mark.parametrize(
    ("benchmark", "evaluation", "outcome", "reward"),
    [
        ("taubench", {"score": 1.0, "db_match": False}, "failure", 1.0),
        ("taubench", {"score": 1.0}, "success", 1.0),
        ("tau2-bench", {"score": 1.0, "db_match": False}, "success", 1.0),
        ("tau2-bench", {"score": 0.5}, "unknown", 0.5),
        ("tau2-bench", None, "unknown", None),
    ],
)
def test_verdict_of_a_row(benchmark: str, evaluation: Any, outcome: str, reward: float | None) -> None:
    (episode,) = episodes(read, {**ROW, "benchmark_name": benchmark, "eval_result": evaluation})
    assert (episode.outcome, episode.reward) == (outcome, reward)
    assert (episode.environment, episode.generator, episode.episode) == (
        f"{benchmark}/airline",
        "some/model",
        "airline_0",
    )


def test_results_in_the_users_turn() -> None:
    """Runs without a single turn of a tool: the turn after a call is its result."""
    result = {"role": "user", "content": "{}"}
    (episode,) = episodes(read, {**ROW, "messages": [ASK, CALL, result, BYE, ASK]})
    assert [step.role for step in episode.steps] == ["user", "assistant", "tool", "assistant", "user"]
    (episode,) = episodes(read, {**ROW, "messages": [ASK, CALL, RESULT, ASK, CALL, ASK]})
    assert [step.role for step in episode.steps][-2:] == ["assistant", "user"]


def test_display_shows_results_and_no_calls() -> None:
    (episode,) = episodes(read, DISPLAY)
    assert list(episode.steps) == [
        Step("user", "Hi,\nuser id is u."),
        Step("assistant"),
        Step("tool", "{}"),
        Step("assistant", "Done.\nNone"),
        Step("user", "Bye"),
    ]
    problem = check(episode)
    assert problem is not None
    assert problem.reason == "no_action"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user", "assistant", "tool"]),
            st.text(
                st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e:"), max_size=9
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_displayed_turns_are_read_back(turns: list[tuple[str, str]]) -> None:
    turns = [(role, said.strip() or "x") for role, said in turns]
    steps = displayed_steps("\n".join(f"{role}: {said}" for role, said in turns))
    calls = ("assistant", "None")
    assert [(step.role, step.content) for step in steps] == [(r, None if (r, s) == calls else s) for r, s in turns]


@pytest.mark.parametrize("record", [RUN, RESULTS, ROW, DISPLAY, SIMULATION])
def test_format(record: dict[str, Any]) -> None:
    assert registry.format_of_record(record) == "tau_bench"


def test_unusable() -> None:
    assert reasons(read, {**RUN, "traj": []}) == ["no_steps"]
    assert reasons(read, {**ROW, "messages": [{"role": "assistant", "tool_calls": [{"name": ""}]}]}) == [
        "malformed_record"
    ]
    assert reasons(read, {"messages_display": "Hi"}) == ["malformed_record"]
    assert reasons(read, {**RESULTS, "simulations": []}) == ["no_steps"]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"messages": [ASK], "eval_result": {}},
        {"traj": [ASK]},
        {"traj": "text", "reward": 1, "task_id": 1},
        {"simulations": []},
        {"messages": [ASK], "benchmark_name": []},
    ],
)
def test_other_records(other: dict[str, Any]) -> None:
    assert not matches(other)


@given(st.sampled_from([RUN, RESULTS, ROW, DISPLAY, SIMULATION]).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    if matches(record):
        found_in(read, record)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
def test_every_run_of_the_samples() -> None:
    """200 runs; 18 of them end without a single call."""
    raw = (SAMPLES / "historical_trajectories" / "gpt-4o-airline.json").read_bytes()
    roles: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for record in orjson.loads(raw):
        (episode,) = episodes(read, record)
        roles.update(step.role for step in episode.steps)
        problem = check(episode)
        found.update([episode.outcome, problem.reason if problem else "good"])
        arguments = [call["function"]["arguments"] for turn in record["traj"] for call in turn.get("tool_calls") or ()]
        assert [json.loads(text) for text in arguments] == [dict(c.arguments) for s in episode.steps for c in s.calls]
        assert [step.content for step in episode.steps] == [turn["content"] for turn in record["traj"]]
    assert roles == {name: raw.count(f'"role": "{name}"'.encode()) for name in ("system", "user", "assistant", "tool")}
    assert sum(roles.values()) == 5_308
    assert found == {"success": 84, "failure": 116, "good": 182, "no_action": 18}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
@pytest.mark.parametrize(("domain", "dialogues"), [("Airline", 19), ("Retail", 69)])
def test_every_displayed_dialogue_of_the_samples(domain: str, dialogues: int) -> None:
    lines = (SAMPLES / "few_shot_data" / f"Mock{domain}DomainEnv-few_shot.jsonl").read_bytes().splitlines()
    assert len(lines) == dialogues
    for line in lines:
        display = orjson.loads(line)["messages_display"]
        (episode,) = episodes(read, orjson.loads(line))
        assert "\n".join(f"{step.role}: {step.content}" for step in episode.steps) == display.removesuffix("\n")
