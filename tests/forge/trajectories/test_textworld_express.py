from __future__ import annotations

import shutil

import orjson
import psutil
import pytest

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Item, Step, ToolCall, Trajectory
from forge.trajectories.textworld_express import GAMES, list_items, read_item, trajectory_of

LINE = {
    "game": "coin",
    "seed": 0,
    "task": "Find the coin.",
    "observation": "A kitchen.\n",
    "valid_actions": ["look around", "move east"],
    "steps": [{"action": "move east", "observation": "A coin.", "valid_actions": [], "score": 1.0}],
    "success": True,
    "score": 1.0,
}


def source(**options: object) -> SourceSettings:
    return SourceSettings(type="textworld_express", license="Apache-2.0", options=options)


def test_an_item_is_a_game_and_changes_with_the_seeds(settings: Settings) -> None:
    items = list(list_items("games", source(), settings))
    assert [item.item_id for item in items] == sorted(GAMES)
    (few,) = list_items("games", source(games=["coin"], seeds_per_game=2), settings)
    assert few.content_hash != next(item for item in items if item.item_id == "coin").content_hash


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds_per_game": 0}, r"options\.seeds_per_game: .* greater than or equal to 1"),
        ({"seeds_per_game": 1001}, r"options\.seeds_per_game: .* less than or equal to 1000 \(given: 1001\)"),
        ({"seeds_per_game": True}, r"options\.seeds_per_game: .* valid integer"),
        ({"games": ["chess"]}, r"options\.games: .*no game 'chess'; allowed: arithmetic, "),
        ({"games": []}, r"options\.games: .* at least 1 item"),
        ({"seeds": 3}, r"options\.seeds: unknown key; allowed here: games, seeds_per_game"),
    ],
)
def test_bad_options(options: dict[str, object], message: str, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"sources\.games\." + message):
        list(list_items("games", source(**options), settings))


def test_a_line_of_the_script_becomes_a_trajectory() -> None:
    found = trajectory_of(LINE, Item("games", "coin", "h"), "Apache-2.0")
    assert found.steps == (
        Step("user", "Find the coin.\n\nA kitchen.\n\nValid actions: look around, move east"),
        Step("assistant", calls=(ToolCall("act", {"action": "move east"}),)),
        Step("tool", "A coin."),
    )
    assert (found.outcome, found.reward, found.generator) == ("success", 1.0, "simulator_gold")
    assert (found.environment, found.episode) == ("textworld_express/coin", "0")


def test_equal_episodes_of_two_seeds_are_one(settings: Settings) -> None:
    (item,) = list_items("games", source(games=["coin"]), settings)
    lines = [LINE, {**LINE, "seed": 1, "valid_actions": ["look around"]}, {**LINE, "seed": 2, "observation": "A hall."}]
    kept = settings.home_path / "simulators" / f"textworld_express-{item.locator['run']}.jsonl"
    kept.parent.mkdir()
    kept.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert len([row for row in read_item(item, source(), settings) if isinstance(row, Trajectory)]) == 2


@pytest.mark.skipif(shutil.which("java") is None, reason="TextWorld-Express needs Java")
def test_real_games_are_won_and_equal_in_two_runs(settings: Settings) -> None:
    before = psutil.Process().children(recursive=True)
    options = source(games=["coin"], seeds_per_game=2)
    (item,) = list_items("games", options, settings)
    found = list(read_item(item, options, settings))
    assert [type(row) for row in found] == [Trajectory, Trajectory]
    assert all(row.outcome == "success" and row.reward == 1.0 for row in found if isinstance(row, Trajectory))
    assert all("Valid actions: " in (row.steps[0].content or "") for row in found if isinstance(row, Trajectory))
    (cached,) = (settings.home_path / "simulators").iterdir()
    first = cached.read_bytes()
    cached.unlink()
    list(read_item(item, options, settings))
    assert cached.read_bytes() == first, "the walking agent is seeded"
    started = set(psutil.Process().children(recursive=True)) - set(before)
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == [], "no Java process is left behind"


def test_no_java_is_a_decision(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    (item,) = list_items("games", source(games=["coin"], seeds_per_game=1), settings)
    (found,) = read_item(item, source(), settings)
    assert isinstance(found, Decision)
    assert found.reason == "simulator_failed"
