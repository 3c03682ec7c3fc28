"""One game of TextWorld-Express.

``start``: ``{"game", "seed", "fold"}``. The game is a Java program that is spoken to over loopback.
"""

from __future__ import annotations

import importlib
import os
from functools import partial
from typing import Any

from training.evaluation.interactive.programs import text_game

JAVA_OPTIONS = "-Xmx512m -XX:+UseSerialGC -XX:-UsePerfData"
_NO_LIMIT = 1 << 30


class TextWorldGame(text_game.TextGame):
    def __init__(self, game: str, seed: int, fold: str) -> None:
        os.environ["JAVA_TOOL_OPTIONS"] = JAVA_OPTIONS
        self._simulator: Any = importlib.import_module("textworld_express").TextWorldExpressEnv(envStepLimit=_NO_LIMIT)
        _, self._seen = self._simulator.reset(
            seed=seed, gameFold=fold, gameName=game, gameParams="", generateGoldPath=False
        )

    def opening(self) -> dict[str, Any]:
        return {"task": self._seen["taskDescription"], **self._observed()}

    def act(self, action: str) -> dict[str, Any]:
        text, _, self.ended, self._seen = self._simulator.step(action)
        return {**self._observed(), "observation": text}

    def verdict(self) -> dict[str, Any]:
        """The score from 0 to 100; a game that was lost has what it had."""
        score = 100.0 * max(0.0, min(1.0, float(self._seen["score"])))
        return {"success": bool(self._seen["tasksuccess"]), "score": round(score, 4)}

    def _observed(self) -> dict[str, Any]:
        return {"observation": self._seen["observation"], "valid_actions": sorted(self._seen["validActions"])}


answer = partial(text_game.answer, game=TextWorldGame)
