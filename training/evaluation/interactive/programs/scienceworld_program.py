"""One variation of a task of ScienceWorld.

``start``: ``{"task", "variation"}``; one that the simulator does not count among its test variations is refused. The
simulator is a Java program that is spoken to over loopback. A script for the simulators' environment.
"""

from __future__ import annotations

import importlib
import os
from functools import partial
from typing import Any

from forge.trajectories.simulators.scienceworld_gold import JAVA_OPTIONS
from training.evaluation.interactive.programs import text_game


class ScienceWorldTask(text_game.TextGame):
    def __init__(self, task: str, variation: int) -> None:
        os.environ["JAVA_TOOL_OPTIONS"] = JAVA_OPTIONS
        self._simulator: Any = importlib.import_module("scienceworld").ScienceWorldEnv()
        self._simulator.load(task, variation)
        if variation not in self._simulator.get_variations_test():
            raise ValueError(f"{variation} is no test variation of {task}")

    def opening(self) -> dict[str, Any]:
        return {
            "task": self._simulator.get_task_description(),
            "observation": self._simulator.look(),
            "possible_actions": sorted(self._simulator.get_possible_actions()),
        }

    def act(self, action: str) -> dict[str, Any]:
        # not .step of the wrapper, which lists some thousands of valid actions each time
        observation = self._simulator.server.step(action)
        self.ended = bool(self._simulator.server.getCompleted()) or self._simulator.server.getScore() < 0
        return {"observation": observation}

    def verdict(self) -> dict[str, Any]:
        """The score from 0 to 100. The simulator's -100, for an act that can no longer be made good, counts as 0."""
        score = self._simulator.server.getScore()
        success = bool(self._simulator.server.getCompleted()) and score == 1.0
        return {"success": success, "score": round(100.0 * max(0.0, score), 4)}


answer = partial(text_game.answer, game=ScienceWorldTask)
