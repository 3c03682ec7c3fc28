"""Games of TextWorld-Express's test fold, played by the simulator's gold agents through our loop."""

from __future__ import annotations

import itertools
import shutil
import time

import psutil
import pytest

from forge.trajectories.textworld_express import GAMES, SIMULATOR, TRAIN_SEEDS
from training.evaluation.interactive.simulator import SimulatorEnvironment
from training.evaluation.interactive.textworld import PROGRAM, task
from training.evaluation.task import NotEvaluated

needs_java = pytest.mark.skipif(
    shutil.which("java") is None or SIMULATOR.version is None, reason="needs java and textworld-express"
)
EVERY = 10_000
LONG = 200
ITEM = "sorting/20000"


def opening_of(item_id: str):
    game, _, seed = item_id.partition("/")
    environment = SimulatorEnvironment(PROGRAM, {"game": game, "seed": int(seed), "fold": "test"})
    try:
        return environment.opening()
    finally:
        environment.close()


def test_items_are_seeds_that_no_trajectory_is_made_of(evaluation_settings):
    whole = task(evaluation_settings(), None, EVERY)
    assert len(whole.item_ids) == whole.notes["items in all"] == 100 * len(GAMES)
    assert all(int(item_id.partition("/")[2]) >= TRAIN_SEEDS for item_id in whole.item_ids)
    some = task(evaluation_settings(), None, len(GAMES)).item_ids
    assert {item_id.partition("/")[0] for item_id in some} == set(GAMES)
    assert whole.item_ids[: len(GAMES)] == some == task(evaluation_settings(), None, len(GAMES)).item_ids


def test_without_java_it_is_not_evaluated(evaluation_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotEvaluated, match="no java on the PATH"):
        task(evaluation_settings(), None, 5)


@pytest.fixture(scope="module")
def gold(gold_subject):
    return gold_subject(PROGRAM.simulator.python, "textworld", {ITEM: opening_of(ITEM)})


@needs_java
def test_a_gold_path_succeeds(evaluation_settings, gold):
    (solved,) = task(evaluation_settings(), None, EVERY).measure(gold, [ITEM])
    turns = solved.detail["turns"]
    assert solved.measures == {"success": (1.0, 1.0), "score": (100.0, 1.0), "steps": (turns, 1.0)}
    assert solved.problem == ""


@pytest.mark.slow  # three Java machines
@needs_java
def test_a_game_whose_java_machine_is_killed_is_played_anew(evaluation_settings, gold, scripted):
    chosen = task(evaluation_settings(), None, EVERY)
    (solved,) = chosen.measure(gold, [ITEM])
    killed = []

    def script(conversation, said):
        if said == 2 and not killed:
            below = psutil.Process().children(recursive=True)
            killed.extend(process for process in below if process.name() == "java")
            killed[0].kill()
        return gold.script(conversation, said)

    (again,) = chosen.measure(scripted(script), [ITEM])
    assert killed
    assert again == solved
    assert psutil.Process().children(recursive=True) == []


@needs_java
def test_garbage_fails_by_the_limit_and_hostile_answers_execute_nothing(evaluation_settings, scripted, hostile_answers):
    answers, was_planted = hostile_answers
    chosen = task(evaluation_settings(max_turns=len(answers)), None, EVERY)
    times: list[float] = []

    def script(_, said):
        times.append(time.monotonic())
        return answers[said]

    (record,) = chosen.measure(scripted(script), ["coin/20000"])
    times.append(time.monotonic())
    assert (record.problem, record.detail["turns"]) == ("turn_limit", len(answers))
    assert record.measures["success"] == (0.0, 1.0)
    assert max(after - before for before, after in itertools.pairwise(times)) < 1.0
    assert not was_planted()


@pytest.mark.slow  # 24 episodes, 8 of them again
@needs_java
def test_gold_paths_of_every_game_succeed_the_same_way_each_time(evaluation_settings, gold_subject):
    chosen = task(evaluation_settings(max_turns=LONG), None, 3 * len(GAMES))
    openings = {item_id: opening_of(item_id) for item_id in chosen.item_ids}
    gold = gold_subject(PROGRAM.simulator.python, "textworld", openings)
    records = {record.item_id: record for record in chosen.measure(gold, chosen.item_ids)}
    assert [record for record in records.values() if record.problem] == []
    again = task(evaluation_settings(max_turns=LONG, batch_items=1), None, len(GAMES))
    assert {record.item_id: record for record in again.measure(gold, again.item_ids)} == {
        item_id: records[item_id] for item_id in again.item_ids
    }
