"""TextWorld-Express: gold paths of games of the train fold, played by the simulator (an item is one game).

The simulator is a Java program: it runs in a child process of the same interpreter that dies with its parent, and its
output is kept (simulators/episodes.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from forge.config import Settings, SourceSettings, source_options
from forge.schema import Decision, Item, Step, ToolCall, Trajectory, canonical_json
from forge.trajectories.checks import check
from forge.trajectories.simulators.simulator import STEP, Simulator

GAMES = ("arithmetic", "coin", "cookingworld", "mapreader", "peckingorder", "simonsays", "sorting", "twc")
TRAIN_SEEDS = 1000
TIMEOUT_SECONDS = 300.0
SIMULATOR = Simulator("textworld_express", "textworld-express", "textworld_express_gold.py", has_own_environment=False)
TOOL: Mapping[str, Any] = {
    "name": "act",
    "description": "Takes one action in the text game and returns what is observed and which actions are valid then.",
    "parameters": {
        "type": "object",
        "properties": {"action": {"type": "string", "description": "One of the valid actions."}},
        "required": ["action"],
    },
}


class TextworldExpressOptions(BaseModel):
    """Options of a source of type ``textworld_express``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    games: tuple[str, ...] = Field(GAMES, min_length=1, description="games that are played")
    seeds_per_game: int = Field(
        40, ge=1, le=TRAIN_SEEDS, strict=True, description="first seeds of the train fold; the others are held out"
    )

    @field_validator("games")
    @classmethod
    def _exist(cls, games: tuple[str, ...]) -> tuple[str, ...]:
        for game in games:
            if game not in GAMES:
                raise ValueError(f"no game {game!r}; allowed: {', '.join(GAMES)}")
        return games


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:  # noqa: ARG001  the reader contract
    """One item per game. Raises ConfigurationError for unknown games and for more seeds than the train fold has."""
    options = source_options(TextworldExpressOptions, name, source)
    for game in sorted(set(options.games)):
        yield SIMULATOR.item(name, game, script_arguments(game, options.seeds_per_game), TIMEOUT_SECONDS)


def script_arguments(game: str, seeds: int) -> list[str]:
    """What the script is called with for a game."""
    return ["--game", game, "--seeds", str(seeds)]


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """The game's episodes in seed order. Seeds with equal observations and actions, which differ at most in the actions
    that were not taken, are one episode."""
    lines = SIMULATOR.lines(item, settings)
    if isinstance(lines, Decision):
        yield lines
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
            yield Decision(item.source, f"{item.item_id}#{line['seed']}", STEP, problem.reason, problem.detail)


def trajectory_of(line: Mapping[str, Any], item: Item, spdx: str) -> Trajectory:
    """One line of the simulator script as a trajectory: the first observation belongs to the user's turn."""
    opening = observed(line["observation"], line["valid_actions"])
    steps = [Step("user", f"{line['task']}\n\n{opening}")]
    for step in line["steps"]:
        steps.extend(
            (
                Step("assistant", calls=(ToolCall("act", {"action": step["action"]}),)),
                Step("tool", observed(step["observation"], step["valid_actions"])),
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
        episode=str(line["seed"]),
    )


def observed(text: str, valid_actions: Sequence[str]) -> str:
    """What a model reads after an action: the observation, then the actions that are valid now, if any are named."""
    return f"{text.strip()}\n\nValid actions: {', '.join(valid_actions)}" if valid_actions else text.strip()
