"""TextWorld-Express: games of the simulator's test fold. Trajectories are made of its train fold only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.config import Settings
from forge.trajectories.textworld_express import GAMES, SIMULATOR, TOOL, observed
from training.evaluation.interactive.simulator import SimulatorProgram, simulated_task
from training.evaluation.interactive.text_games import BOUNDS, message_of
from training.evaluation.subject import Conversation
from training.evaluation.task import Task
from training.run import Run

FOLD = "test"
FIRST_TEST_SEED = 20_000
SEEDS_PER_GAME = 100
"""Of the 1,000 seeds of the test fold, 20,000 to 20,999 (the train fold: 0 to 999, the dev fold: 10,000 to 10,999)."""


def task(settings: Settings, run: Run | None, max_items: int) -> Task:  # noqa: ARG001  what a task's factory takes
    """Games by name. Raises :class:`training.evaluation.task.NotEvaluated`."""
    PROGRAM.check()
    starts = {
        f"{game}/{seed}": {"game": game, "seed": seed, "fold": FOLD}
        for game in GAMES
        for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + SEEDS_PER_GAME)
    }
    version = f"textworld-express {SIMULATOR.version}, {SEEDS_PER_GAME} seeds a game of its test fold"
    return simulated_task("textworld", PROGRAM, starts, "game", settings, max_items, version)


def _opening(told: Mapping[str, Any]) -> Conversation:
    text = f"{told['task']}\n\n{observed(told['observation'], told['valid_actions'])}"
    return Conversation((TOOL,), ({"role": "user", "content": text},))


def _message(observation: Mapping[str, Any]) -> Mapping[str, Any]:
    seen = observed(observation.get("observation", ""), observation.get("valid_actions", ()))
    return message_of(observation, seen)


PROGRAM = SimulatorProgram(
    "textworld_program", SIMULATOR, _opening, _message, BOUNDS, words_end=False, has_score=True, needs_java=True
)
