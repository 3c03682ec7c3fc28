"""AgentDojo's held-out suites, whose own ground truth is played through our loop."""

from __future__ import annotations

import json
import os
import subprocess
import time

import psutil
import pytest

from forge.trajectories.agentdojo import SIMULATOR, TRAINING_SUITES
from forge.trajectories.simulators.simulator import SCRIPTS
from training.chat import render_calls
from training.evaluation.interactive.agentdojo import IDLE_SUCCESSES, PROGRAM, task
from training.evaluation.interactive.simulator import SimulatorEnvironment
from training.evaluation.python_calls import NotCalls, calls_of
from training.evaluation.task import NotEvaluated

needs_simulators = pytest.mark.skipif(
    SIMULATOR.version is None, reason="no .venv-simulators; ./bootstrap makes it (requirements-simulators.lock)"
)
EVERY = 10_000
SOLVED = ["banking/user_task_0", "slack/user_task_1"]
START = {"benchmark_version": "v1.2.2", "suite": "banking", "user_task_id": "user_task_0"}


@pytest.fixture(scope="module")
def ground_truth() -> dict[str, list[str]]:
    """Prompt of a user task -> the answers that solve it."""
    command = [SIMULATOR.python, SCRIPTS / SIMULATOR.script, "--suite", "banking", "--suite", "slack"]
    printed = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": "0"}).stdout
    answers = {}
    for line in map(json.loads, printed.splitlines()):
        assert line["utility"] is True
        answers[line["prompt"]] = [
            render_calls([(call["name"], call["arguments"]) for call in message["tool_calls"]])
            if message.get("tool_calls")
            else message["content"] or ""
            for message in line["messages"]
            if message["role"] == "assistant"
        ]
    return answers


@pytest.fixture(scope="module")
def solved(evaluation_settings, scripted, ground_truth):
    """Records of :data:`SOLVED`, by the ground truth."""
    subject = scripted(lambda conversation, said: ground_truth[conversation.messages[1]["content"]][said])
    found = list(task(evaluation_settings(), None, EVERY).measure(subject, SOLVED))
    assert subject.asked[0] == len(SOLVED)  # at once
    return sorted(found, key=lambda record: record.item_id)


def success(records) -> dict[str, float]:
    return {record.item_id: record.measures["success"][0] for record in records}


@needs_simulators
def test_items_are_those_of_held_out_suites_chosen_by_the_seed(evaluation_settings):
    whole = task(evaluation_settings(), None, EVERY)
    assert {item_id.partition("/")[0] for item_id in whole.item_ids} == {"banking", "slack"}
    assert not {item_id.partition("/")[0] for item_id in whole.item_ids} & set(TRAINING_SUITES)
    assert whole.notes["items in all"] == len(whole.item_ids) == 37
    some = task(evaluation_settings(), None, 6)
    assert some.item_ids == task(evaluation_settings(), None, 6).item_ids
    assert set(some.item_ids) <= set(whole.item_ids)
    assert some.item_ids != task(evaluation_settings(seed=4), None, 6).item_ids
    assert some.key != whole.key != task(evaluation_settings(max_turns=3), None, EVERY).key


@needs_simulators
def test_ground_truth_succeeds_and_silence_does_not(evaluation_settings, scripted, solved):
    assert [record.measures for record in solved] == [
        {"success": (1.0, 1.0), "steps": (2.0, 1.0)},
        {"success": (1.0, 1.0), "steps": (3.0, 1.0)},
    ]
    chosen = task(evaluation_settings(), None, EVERY)
    (silent,) = chosen.measure(scripted(lambda *_: ""), SOLVED[:1])
    assert silent.measures == {"success": (0.0, 1.0), "steps": (0.0, 1.0)}
    assert silent.detail["turns"] == 1
    (repeating,) = chosen.measure(scripted(lambda *_: "[get_balance()]"), SOLVED[:1])
    assert repeating.problem == "turn_limit"
    assert repeating.measures == {"success": (0.0, 1.0), "steps": (15.0, 1.0)}


@needs_simulators
def test_hostile_answers_execute_nothing_and_cost_at_most_a_second(hostile_answers):
    answers, was_planted = hostile_answers
    environment = SimulatorEnvironment(PROGRAM, START)
    try:
        environment.opening()
        run = 0
        for answer in answers:
            try:
                calls_of(answer)
            except NotCalls:
                continue  # would be taken as the last words
            started = time.monotonic()
            turn = environment.take(answer)
            assert time.monotonic() - started < 1.0, answer[:100]
            assert not turn.ended
            run += turn.actions
        assert run > 20
        assert not was_planted()
        assert environment.verdict().success is False
    finally:
        environment.close()


@needs_simulators
def test_an_episode_whose_simulator_is_killed_is_played_anew(evaluation_settings, scripted, ground_truth, solved):
    """The kernel kills it in the middle of the first attempt; the record is that of an episode without a kill."""
    killed = []

    def script(conversation, said):
        if said == 1 and not killed:
            (simulator,) = psutil.Process().children()
            simulator.kill()
            killed.append(simulator.pid)
        return ground_truth[conversation.messages[1]["content"]][said]

    (record,) = task(evaluation_settings(), None, EVERY).measure(scripted(script), SOLVED[:1])
    assert killed
    assert record == solved[0]
    assert psutil.Process().children() == []


def test_an_absent_simulator_is_not_evaluated(evaluation_settings, monkeypatch):
    monkeypatch.setenv("FORGE_SIMULATORS_PYTHON", "/nonexistent/python")
    with pytest.raises(NotEvaluated, match=r"-m venv \.venv-simulators"):
        task(evaluation_settings(), None, 5)


@pytest.mark.slow  # 37 episodes, two times
@needs_simulators
def test_every_ground_truth_succeeds_and_doing_nothing_passes_five(evaluation_settings, ground_truth, scripted):
    chosen = task(evaluation_settings(max_turns=40), None, EVERY)
    gold = scripted(lambda conversation, said: ground_truth[conversation.messages[1]["content"]][said])
    solved = success(chosen.measure(gold, chosen.item_ids))
    assert len(solved) == 37
    assert set(solved.values()) == {1.0}
    idle = success(chosen.measure(scripted(lambda *_: ""), chosen.item_ids))
    assert {item_id for item_id, passed in idle.items() if passed} == set(IDLE_SUCCESSES)
