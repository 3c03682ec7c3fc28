"""TextWorld-Express: gold paths of games of the train fold, played by the simulator (an item is one game).

Options: ``seeds_per_game`` (default 40), ``games`` (default all eight). The simulator is a Java program: it runs in a
child process of the same interpreter that dies with its parent, and its output is kept (simulators/episodes.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Item, Step, ToolCall, Trajectory, canonical_json, content_hash
from forge.trajectories.checks import check
from forge.trajectories.simulators.episodes import SCRIPTS, SimulatorError, episodes

GAMES = ("arithmetic", "coin", "cookingworld", "mapreader", "peckingorder", "simonsays", "sorting", "twc")
TRAIN_SEEDS = 1000
TIMEOUT_SECONDS = 300.0
TOOL: Mapping[str, Any] = {
    "name": "act",
    "description": "Takes one action in the text game and returns what is observed and which actions are valid then.",
    "parameters": {
        "type": "object",
        "properties": {"action": {"type": "string", "description": "One of the valid actions."}},
        "required": ["action"],
    },
}
_SCRIPT = "textworld_express_gold.py"
_STEP = "parse_trajectories"


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:  # noqa: ARG001
    """One item per game. Raises :class:`ConfigurationError` for unknown games and impossible seed counts."""
    seeds = source.options.get("seeds_per_game", 40)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or not 1 <= seeds <= TRAIN_SEEDS:
        raise ConfigurationError(
            f"sources.{name}.options.seeds_per_game: expected 1 to {TRAIN_SEEDS} (the train seeds), given {seeds!r}"
        )
    games = source.options.get("games", list(GAMES))
    if not isinstance(games, list) or not games or not set(games) <= set(GAMES):
        raise ConfigurationError(f"sources.{name}.options.games: given {games!r}; allowed: {', '.join(GAMES)}")
    script = (SCRIPTS / _SCRIPT).read_bytes()
    for game in sorted(set(games)):
        run = content_hash(_installed_version() or "not installed", script, game, str(seeds))
        yield Item(name, game, run, {"game": game, "seeds": str(seeds), "run": run})


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """The game's episodes in seed order. Seeds with equal observations and actions, which differ at most in the actions
    that were not taken, are one episode."""
    if _installed_version() is None:
        yield Decision(item.source, item.item_id, _STEP, "simulator_not_installed", "textworld-express")
        return
    arguments = ["--game", item.locator["game"], "--seeds", item.locator["seeds"]]
    try:
        lines = list(
            episodes(
                settings, "textworld_express", item.locator["run"], sys.executable, _SCRIPT, arguments, TIMEOUT_SECONDS
            )
        )
    except SimulatorError as error:
        yield Decision(item.source, item.item_id, _STEP, "simulator_failed", str(error))
        return
    seen: set[str] = set()
    for line in lines:
        key = canonical_json(
            [line["task"], line["observation"], [[step["action"], step["observation"]] for step in line["steps"]]]
        )
        if key in seen:
            continue
        seen.add(key)
        trajectory = trajectory_of(line, item, source.license or "")
        problem = check(trajectory)
        if problem is None:
            yield trajectory
        else:
            yield Decision(item.source, f"{item.item_id}#{line['seed']}", _STEP, problem.reason, problem.detail)


def trajectory_of(line: Mapping[str, Any], item: Item, spdx: str) -> Trajectory:
    """One line of the simulator script as a trajectory: the first observation belongs to the user's turn."""
    opening = _observation(line["observation"], line["valid_actions"])
    steps = [Step("user", f"{line['task']}\n\n{opening}")]
    for step in line["steps"]:
        steps.extend(
            (
                Step("assistant", calls=(ToolCall("act", {"action": step["action"]}),)),
                Step("tool", _observation(step["observation"], step["valid_actions"])),
            )
        )
    return Trajectory(
        task=line["task"],
        tools=(TOOL,),
        steps=tuple(steps),
        outcome="success" if line["success"] else "failure",
        reward=float(line["score"]),
        environment=f"textworld_express/{line['game']}",
        license=spdx,
        generator="simulator_gold",
        source=item.source,
        item_id=item.item_id,
    )


def _observation(text: str, valid_actions: Sequence[str]) -> str:
    return f"{text.strip()}\n\nValid actions: {', '.join(valid_actions)}" if valid_actions else text.strip()


def _installed_version() -> str | None:
    try:
        return version("textworld-express")
    except PackageNotFoundError:
        return None
