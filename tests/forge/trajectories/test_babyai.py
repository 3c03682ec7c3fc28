from __future__ import annotations

from typing import Any

import orjson
import pytest

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Item, Step, ToolCall, Trajectory
from forge.trajectories.babyai import ENVIRONMENTS, HELD_OUT_FROM_SEED, SIMULATOR, list_items, read_item, trajectory_of
from forge.trajectories.simulators.babyai_text import TOOL


def seen(x: int, y: int, cell: list[int]) -> dict[str, Any]:
    """A view with one thing in it, facing east."""
    image = [[[1, 0, 0] for _ in range(7)] for _ in range(7)]
    image[x][y] = cell
    return {"image": image, "direction": 0}


LINE: dict[str, Any] = {
    "environment": "BabyAI-GoToObj-v0",
    "seed": 3,
    "mission": "go to the red ball",
    "observation": seen(3, 4, [6, 0, 0]),
    "steps": [{"action": "forward", "observation": seen(3, 5, [6, 0, 0])}],
    "ending": "terminated",
    "reward": 0.9,
    "error": None,
}


def source(**options: object) -> SourceSettings:
    return SourceSettings(type="babyai", license="Apache-2.0", options=options)


def test_an_item_is_an_environment_and_changes_with_the_seeds(settings: Settings) -> None:
    items = {item.item_id: item for item in list_items("worlds", source(), settings)}
    assert tuple(items) == ENVIRONMENTS
    assert len(items) == 96
    few = list(list_items("worlds", source(environments=["BabyAI-GoToObjMaze*"], first_seed=5), settings))
    assert len(few) == 7
    assert all(item.content_hash != items[item.item_id].content_hash for item in few)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"first_seed": 1_000_000},
            "seed 1000000 is held out for evaluation and never trained on; allowed: 0 to 999999",
        ),
        ({"first_seed": 999_999, "seeds_per_environment": 2}, "seed 1000000 is held out"),
        ({"first_seed": 2_000_000}, "seed 2000000 is held out"),
        ({"first_seed": -1}, r"options\.first_seed: .* greater than or equal to 0"),
        ({"seeds_per_environment": 0}, r"options\.seeds_per_environment: .* greater than or equal to 1"),
        ({"environments": ["MiniGrid-*"]}, r"no environment 'MiniGrid-\*'; there are: BabyAI-ActionObjDoor-v0, "),
        ({"environments": []}, r"options\.environments: .* at least 1 item"),
        ({"seeds": 3}, r"options\.seeds: unknown key; allowed here: environments, "),
    ],
)
def test_bad_options(options: dict[str, object], message: str, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"sources\.worlds\..*" + message):
        list(list_items("worlds", source(**options), settings))


def test_the_last_seed_that_may_train(settings: Settings) -> None:
    assert HELD_OUT_FROM_SEED == 1_000_000
    assert list(list_items("worlds", source(first_seed=999_980, seeds_per_environment=20), settings))


def test_a_line_of_the_script_becomes_a_trajectory() -> None:
    found = trajectory_of(LINE, Item("worlds", "BabyAI-GoToObj-v0", "h"), "Apache-2.0")
    assert found.steps == (
        Step(
            "user",
            "Your mission: go to the red ball.\n\n"
            "You face east and carry nothing.\nYou see:\n- a red ball, 2 steps ahead",
        ),
        Step("assistant", calls=(ToolCall("act", {"action": "go forward"}),)),
        Step(
            "tool",
            "You face east and carry nothing.\nYou see:\n- a red ball, 1 step ahead\nThe mission is accomplished.",
        ),
    )
    assert found.tools == (TOOL,)
    assert (found.task, found.outcome, found.reward) == ("go to the red ball", "success", 0.9)
    assert (found.environment, found.episode) == ("babyai/BabyAI-GoToObj-v0", "3")
    assert (found.generator, found.license) == ("simulator_bot", "Apache-2.0")


@pytest.mark.parametrize(
    ("ending", "sentence"), [("terminated", "has failed."), ("truncated", "has failed: too many actions.")]
)
def test_without_a_reward_it_is_a_failure(ending: str, sentence: str) -> None:
    found = trajectory_of({**LINE, "ending": ending, "reward": 0.0}, Item("worlds", "w", "h"), "")
    assert (found.outcome, found.reward) == ("failure", 0.0)
    assert (found.steps[-1].content or "").endswith(sentence)


def test_equal_episodes_are_one_and_what_the_bot_gave_up_is_a_decision(settings: Settings) -> None:
    (item,) = list_items("worlds", source(environments=["BabyAI-GoToObj-v0"]), settings)
    if SIMULATOR.version is None:
        pytest.skip("minigrid is not installed: see requirements-simulators.lock")
    lines = [LINE, {**LINE, "seed": 4}, {**LINE, "seed": 5, "ending": None, "error": "AssertionError: why"}]
    kept = settings.home_path / "simulators" / f"babyai-{item.locator['run']}.jsonl"
    kept.parent.mkdir()
    kept.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    episode, given_up = read_item(item, source(), settings)
    assert isinstance(episode, Trajectory)
    assert isinstance(given_up, Decision)
    assert (given_up.item_id, given_up.reason) == ("BabyAI-GoToObj-v0#5", "expert_failed")
    assert given_up.detail == "AssertionError: why"


def test_an_absent_simulator_is_one_decision(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_SIMULATORS_PYTHON", "/nonexistent/python")
    (item,) = list_items("worlds", source(environments=["BabyAI-GoToObj-v0"]), settings)
    (found,) = read_item(item, source(), settings)
    assert isinstance(found, Decision)
    assert (found.reason, found.step) == ("simulator_not_installed", "parse_trajectories")
    assert "requirements-simulators.lock" in found.detail


@pytest.mark.skipif(SIMULATOR.version is None, reason="minigrid is not installed: see requirements-simulators.lock")
def test_the_real_bot_does_the_same_in_two_runs(settings: Settings) -> None:
    options = source(environments=["BabyAI-UnlockPickup-v0"], seeds_per_environment=3)
    (item,) = list_items("worlds", options, settings)
    found = list(read_item(item, options, settings))
    assert [(row.outcome, row.episode) for row in found if isinstance(row, Trajectory)] == [
        ("success", "0"), ("success", "1"), ("success", "2"),
    ]  # fmt: skip
    for row in found:
        assert isinstance(row, Trajectory)
        actions = [call.arguments["action"] for step in row.steps for call in step.calls]
        assert actions.index("pick up") < actions.index("toggle") < len(actions) - 1, "the key, the door, the box"
        assert actions[-1] == "pick up"
        assert (row.steps[-1].content or "").endswith("The mission is accomplished.")
        assert sum("a locked " in (step.content or "") for step in row.steps) >= 1
    (cached,) = (settings.home_path / "simulators").iterdir()
    first = cached.read_bytes()
    cached.unlink()
    list(read_item(item, options, settings))
    assert cached.read_bytes() == first
