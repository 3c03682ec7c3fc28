"""ScienceWorld: test variations of its thirty task types. Trajectories are made of train variations only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.config import Settings
from forge.trajectories.scienceworld import SIMULATOR, tool_of
from training.evaluation.interactive.simulator import SimulatorProgram, simulated_task
from training.evaluation.interactive.text_games import BOUNDS, message_of
from training.evaluation.subject import Conversation
from training.evaluation.task import Task
from training.run import Run

VARIATIONS_PER_TASK = 10
"""The first so many test variations of a task type; some have fewer."""
TEST_VARIATIONS: Mapping[str, tuple[int, int]] = {
    "boil": (21, 9),
    "change-the-state-of-matter-of": (21, 9),
    "chemistry-mix": (24, 8),
    "chemistry-mix-paint-secondary-color": (27, 9),
    "chemistry-mix-paint-tertiary-color": (27, 9),
    "find-animal": (225, 75),
    "find-living-thing": (225, 75),
    "find-non-living-thing": (225, 75),
    "find-plant": (225, 75),
    "freeze": (21, 9),
    "grow-fruit": (93, 33),
    "grow-plant": (93, 33),
    "identify-life-stages-1": (9, 5),
    "identify-life-stages-2": (6, 4),
    "inclined-plane-determine-angle": (126, 42),
    "inclined-plane-friction-named-surfaces": (1038, 348),
    "inclined-plane-friction-unnamed-surfaces": (120, 42),
    "lifespan-longest-lived": (93, 32),
    "lifespan-longest-lived-then-shortest-lived": (93, 32),
    "lifespan-shortest-lived": (93, 32),
    "measure-melting-point-known-substance": (327, 109),
    "measure-melting-point-unknown-substance": (225, 75),
    "melt": (21, 9),
    "mendelian-genetics-known-plant": (90, 30),
    "mendelian-genetics-unknown-plant": (360, 120),
    "power-component": (15, 5),
    "power-component-renewable-vs-nonrenewable-energy": (15, 5),
    "test-conductivity": (675, 225),
    "test-conductivity-of-unknown-substances": (450, 150),
    "use-thermometer": (405, 135),
}
"""Task type -> its first test variation in ScienceWorld 1.2.3, and how many there are; the program asks it again."""


def task(settings: Settings, run: Run | None, max_items: int) -> Task:  # noqa: ARG001  what a task's factory takes
    """Episodes by task type. Raises :class:`training.evaluation.task.NotEvaluated`."""
    PROGRAM.check()
    starts = {
        f"{name}/{variation}": {"task": name, "variation": variation}
        for name, (first, count) in TEST_VARIATIONS.items()
        for variation in range(first, first + min(count, VARIATIONS_PER_TASK))
    }
    version = f"scienceworld {SIMULATOR.version}, at most {VARIATIONS_PER_TASK} test variations a task type"
    return simulated_task("scienceworld", PROGRAM, starts, "task", settings, max_items, version)


def _opening(told: Mapping[str, Any]) -> Conversation:
    text = f"{told['task']}\n\n{told['observation'].strip()}"
    return Conversation((tool_of(told["possible_actions"]),), ({"role": "user", "content": text},))


def _message(observation: Mapping[str, Any]) -> Mapping[str, Any]:
    return message_of(observation, observation.get("observation", "").strip())


PROGRAM = SimulatorProgram(
    "scienceworld_program", SIMULATOR, _opening, _message, BOUNDS, words_end=False, has_score=True, needs_java=True
)
