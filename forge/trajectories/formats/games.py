"""Logs of text games: ``{env, task, instruction, initial_observation, steps: [{action, observation}]}`` and whether the
game was won (``success``, ``final_score``). Rewards of single steps have no place in an episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge.schema import Outcome, Step, ToolCall
from forge.trajectories.formats.fields import (
    Found,
    Record,
    call_of,
    content_of,
    identifier,
    malformed,
    number,
    objects,
    outcome_of,
    text,
    tools_of,
    trajectory,
)

_GAME_KEYS = frozenset(
    ("initial_observation", "final_score", "instruction", "goal", "env", "game", "won", "success", "seed", "variation")
)
_FULL_SCORES: Mapping[str, float] = {"scienceworld": 100.0}
"""Scores of games that state no success and are won at a certain score."""


def matches(record: Record) -> bool:
    steps = record.get("steps")
    if not isinstance(steps, list) or not steps or not isinstance(steps[0], dict):
        return False
    return {"action", "observation"} <= steps[0].keys() and not _GAME_KEYS.isdisjoint(record.keys())


def read(record: Record) -> Iterator[Found]:
    environment, task = _first(record, "env", "environment", "game"), _first(record, "task", "task_name")
    instruction = _first(record, "instruction", "goal", "task_description") or task
    opening = _seen(_first(record, "initial_observation", "observation"), record)
    steps = [Step("user", "\n\n".join(part for part in (instruction, opening) if part))]
    for place, turn in enumerate(objects(record.get("steps"), "steps")):
        steps += _turn(turn, place)
    score = number(record.get("final_score", record.get("score")))
    yield trajectory(
        instruction or opening,
        steps,
        tools=tools_of(record.get("tools")),
        outcome=_outcome(record, environment, score),
        reward=score if score is not None else number(record.get("reward")),
        environment="/".join(part for part in (environment, "" if task == instruction else task) if part),
        generator=_first(record, "generator", "model", "agent"),
        license=_first(record, "license"),
        episode=_episode(record, "" if task == instruction else task),
    )


def _turn(turn: Mapping[str, Any], place: int) -> Iterator[Step]:
    action = turn.get("action")
    if isinstance(action, dict):
        call = call_of(action, place)
    elif isinstance(action, str) and action:
        call = ToolCall("act", {"action": action})
    else:
        raise malformed(f"step {place}: no action")
    yield Step("assistant", thought=_first(turn, "thought", "reasoning", "think") or None, calls=(call,))
    error = text(turn.get("error")) or None
    yield Step("tool", _seen(content_of(turn.get("observation")) or "", turn), error=error)


def _seen(observation: str, source: Mapping[str, Any]) -> str:
    """An observation, and the actions that the game offers with it."""
    valid = source.get("valid_actions")
    if not isinstance(valid, list) or not valid or not all(isinstance(action, str) for action in valid):
        return observation
    offered = f"Valid actions: {', '.join(valid)}"
    return f"{observation}\n\n{offered}" if observation else offered


def _outcome(record: Record, environment: str, score: float | None) -> Outcome:
    for name in ("success", "won"):
        if isinstance(record.get(name), bool):
            return outcome_of(record[name])
    full = next((full for name, full in _FULL_SCORES.items() if environment.startswith(name)), None)
    return "unknown" if full is None or score is None else outcome_of(score >= full)


def _episode(record: Record, task: str) -> str:
    """The record's own id, else the task and the variation or seed of its game."""
    for name in ("id", "episode", "episode_id"):
        if found := identifier(record.get(name)):
            return found
    return "/".join(part for part in (task, *(identifier(record.get(name)) for name in ("variation", "seed"))) if part)


def _first(record: Mapping[str, Any], *names: str) -> str:
    return next((found for name in names if (found := text(record.get(name)))), "")
