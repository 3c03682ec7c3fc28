"""Test variations of ScienceWorld, played by the simulator's gold paths through our loop."""

from __future__ import annotations

import shutil

import pytest

from forge.trajectories.scienceworld import SIMULATOR, TRAIN_VARIATIONS
from training.evaluation.interactive.scienceworld import PROGRAM, TEST_VARIATIONS, task
from training.evaluation.interactive.simulator import SimulatorEnvironment
from training.evaluation.task import NotEvaluated

needs_simulator = pytest.mark.skipif(
    shutil.which("java") is None or SIMULATOR.version is None,
    reason="needs java and .venv-simulators; ./bootstrap makes it (requirements-simulators.lock)",
)
EVERY = 10_000
QUICK = ["find-living-thing/225", "identify-life-stages-2/6"]


def opening_of(item_id: str):
    name, _, variation = item_id.partition("/")
    environment = SimulatorEnvironment(PROGRAM, {"task": name, "variation": int(variation)})
    try:
        return environment.opening()
    finally:
        environment.close()


@needs_simulator
def test_items_are_variations_that_no_trajectory_is_made_of(evaluation_settings):
    whole = task(evaluation_settings(), None, EVERY)
    assert set(TEST_VARIATIONS) == set(TRAIN_VARIATIONS)
    for item_id in whole.item_ids:
        name, _, variation = item_id.partition("/")
        first, count = TEST_VARIATIONS[name]
        assert TRAIN_VARIATIONS[name] <= first <= int(variation) < first + count
    assert len(task(evaluation_settings(), None, 30).item_ids) == len(TEST_VARIATIONS) == 30


def test_an_absent_simulator_is_not_evaluated(evaluation_settings, monkeypatch):
    monkeypatch.setenv("FORGE_SIMULATORS_PYTHON", "/nonexistent/python")
    with pytest.raises(NotEvaluated, match=r"-m venv \.venv-simulators"):
        task(evaluation_settings(), None, 5)


@pytest.mark.slow  # a Java machine for each of five episodes, some seconds each
@needs_simulator
def test_gold_paths_succeed_and_silence_ends_by_the_limit(evaluation_settings, gold_subject, scripted):
    chosen = task(evaluation_settings(max_turns=200), None, EVERY)
    openings = {item_id: opening_of(item_id) for item_id in QUICK}
    gold = gold_subject(PROGRAM.simulator.python, "scienceworld", openings)
    records = list(chosen.measure(gold, QUICK))
    for record in records:
        assert record.measures["success"] == (1.0, 1.0)
        assert record.measures["score"] == (100.0, 1.0)
        assert record.problem == ""
    assert list(chosen.measure(gold, QUICK[1:])) == [record for record in records if record.item_id == QUICK[1]]
    (silent,) = task(evaluation_settings(), None, EVERY).measure(scripted(lambda *_: ""), QUICK[:1])
    assert (silent.problem, silent.detail["turns"]) == ("turn_limit", 15)
    assert silent.measures == {"success": (0.0, 1.0), "steps": (0.0, 1.0), "score": (0.0, 1.0)}


@pytest.mark.slow  # some seconds for a Java machine
@needs_simulator
def test_a_wrong_final_act_ends_the_episode_at_zero(evaluation_settings, scripted):
    """To focus on the wrong thing cannot be made good: the simulator's score is -100 then."""
    chosen = task(evaluation_settings(), None, EVERY)
    (record,) = chosen.measure(scripted(lambda *_: "[act(action='focus on air')]"), QUICK[1:])
    assert record.measures == {"success": (0.0, 1.0), "steps": (1.0, 1.0), "score": (0.0, 1.0)}
    assert (record.problem, record.detail["turns"]) == ("not_solved", 1)


@pytest.mark.slow  # a Java machine
@needs_simulator
def test_a_train_variation_is_refused():
    with pytest.raises(Exception, match="0 is no test variation of boil"):
        opening_of("boil/0")


@pytest.mark.timeout(3600)
@pytest.mark.slow  # 30 gold paths, each found, then played: some minutes
@needs_simulator
def test_gold_paths_of_every_task_type_succeed(evaluation_settings, gold_subject):
    chosen = task(evaluation_settings(max_turns=400), None, len(TEST_VARIATIONS))
    openings = {item_id: opening_of(item_id) for item_id in chosen.item_ids}
    gold = gold_subject(PROGRAM.simulator.python, "scienceworld", openings)
    failed = [record for record in chosen.measure(gold, chosen.item_ids) if record.problem]
    assert failed == []
