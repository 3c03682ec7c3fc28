"""What text games have in common: one function, ``act``, whose argument is a command in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

MAX_ACTION_CHARACTERS = 300


class TextGame(ABC):
    """An episode. ``ended``: the game takes no more actions."""

    ended = False

    @abstractmethod
    def opening(self) -> dict[str, Any]: ...

    @abstractmethod
    def act(self, action: str) -> dict[str, Any]:
        """What is observed; sets :attr:`ended`."""

    @abstractmethod
    def verdict(self) -> dict[str, Any]: ...

    def calls(self, calls: list[dict[str, Any]]) -> dict[str, Any]:
        """Observations of the calls, up to the one that ends the game."""
        observations = []
        for call in calls:
            if self.ended:
                break
            problem = _problem(call)
            observations.append({"error": problem} if problem else self.act(call["arguments"]["action"]))
        return {"observations": observations, "ended": self.ended}


_playing: list[TextGame] = []


def answer(request: dict[str, Any], game: type[TextGame]) -> dict[str, Any]:
    if "start" in request:
        _playing.append(game(**request["start"]))
        return _playing[0].opening()
    if "calls" in request:
        return _playing[0].calls(request["calls"])
    return _playing[0].verdict()


def _problem(call: dict[str, Any]) -> str | None:
    if call["name"] != "act":
        return f"there is no function {call['name'][:80]!r}, only act"
    action = call["arguments"].get("action")
    if set(call["arguments"]) != {"action"} or not isinstance(action, str):
        return "act takes one argument: action, a string"
    if len(action) > MAX_ACTION_CHARACTERS or not action.isprintable():
        return f"an action is one line of at most {MAX_ACTION_CHARACTERS} characters"
    return None
