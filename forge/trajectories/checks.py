"""What every trajectory must satisfy before it becomes a row: the same checks for each format.

Tool schemas and arguments come from outside, so validation is bounded: no reference leaves the schema, the number of
references followed is limited, and keywords whose cost is not linear (regular expressions, uniqueness) are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import jsonschema
import referencing
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from forge.schema import Decision, Step, ToolCall, Trajectory, canonical_json, content_hash

MAX_STEPS = 2_000
MAX_CHARACTERS = 2_000_000
MAX_SCHEMA_CHARACTERS = 100_000
MAX_REFERENCES = 1_000
LOOP_REPEATS = 6
"""An action and its observation, or a cycle of at most `LOOP_PERIOD` of them, this often in a row is a loop."""
LOOP_PERIOD = 3
_STEP = "parse_trajectories"

_references_left: ContextVar[int] = ContextVar("references_left")


class _TooManyReferencesError(Exception):
    pass


def _reference(validator: Any, reference: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    left = _references_left.get() - 1
    if left < 0:
        raise _TooManyReferencesError
    _references_left.set(left)
    yield from validator._validate_reference(ref=reference, instance=instance)


_UNCHECKED = (
    *("pattern", "patternProperties", "format", "uniqueItems", "unevaluatedItems", "unevaluatedProperties"),
    *("$dynamicRef", "$recursiveRef"),
)
_Validator: Any = extend(
    jsonschema.Draft202012Validator, {"$ref": _reference, **dict.fromkeys(_UNCHECKED, lambda *_: None)}
)


def check(trajectory: Trajectory) -> Decision | None:
    """Why the trajectory cannot be used, or None. Reasons: no_steps, oversized, no_action, dangling_observation,
    call_schema_mismatch, looping."""
    for reason, problem in (
        ("no_steps", None if trajectory.steps else "no step at all"),
        ("oversized", _oversized(trajectory)),
        ("no_action", None if any(step.calls for step in trajectory.steps) else "no tool is called"),
        ("dangling_observation", _dangling_observation(trajectory.steps)),
        ("looping", _loop(trajectory.steps)),
        ("call_schema_mismatch", _schema_mismatch(trajectory)),
    ):
        if problem is not None:
            return Decision(trajectory.source, trajectory.item_id, _STEP, reason, problem)
    return None


def _oversized(trajectory: Trajectory) -> str | None:
    if len(trajectory.steps) > MAX_STEPS:
        return f"{len(trajectory.steps)} steps, at most {MAX_STEPS} are kept"
    characters = len(trajectory.task) + sum(
        len(step.content or "")
        + len(step.thought or "")
        + sum(len(canonical_json(call.arguments)) for call in step.calls)
        for step in trajectory.steps
    )
    return f"{characters} characters, at most {MAX_CHARACTERS} are kept" if characters > MAX_CHARACTERS else None


def _dangling_observation(steps: Sequence[Step]) -> str | None:
    """An observation must answer a call made before it: the named one, or, without a name, one not yet answered."""
    known: set[str] = set()
    unanswered = 0
    for number, step in enumerate(steps):
        unanswered += len(step.calls)
        known.update(call.call_id for call in step.calls if call.call_id is not None)
        if step.role != "tool":
            continue
        if step.answers is not None and known and step.answers not in known:
            return f"step {number} answers call {step.answers!r}, which nobody made"
        unanswered -= 1
        if unanswered < 0:
            return f"step {number} is an observation without a call"
    return None


def _loop(steps: Sequence[Step]) -> str | None:
    """The same actions with the same observations over and over: the agent was stuck."""
    turns: list[str] = []
    for step in steps:
        if step.calls:
            turns.append(content_hash(*(f"{call.name} {canonical_json(call.arguments)}" for call in step.calls)))
        elif step.role == "tool" and turns:
            turns[-1] = content_hash(turns[-1], step.content or "")
    for period in range(1, LOOP_PERIOD + 1):
        equal = 0
        for index in range(period, len(turns)):
            equal = equal + 1 if turns[index] == turns[index - period] else 0
            if equal >= period * (LOOP_REPEATS - 1):
                return f"a cycle of {period} actions with equal observations, {LOOP_REPEATS} times in a row"
    return None


def _schema_mismatch(trajectory: Trajectory) -> str | None:
    schemas = {tool.get("name"): tool.get("parameters") for tool in trajectory.tools}
    for number, step in enumerate(trajectory.steps):
        for call in step.calls:
            schema = schemas.get(call.name)
            if isinstance(schema, Mapping) and schema:
                problem = _mismatch(call, schema)
                if problem is not None:
                    return f"step {number}, {call.name}: {problem}"
    return None


def _mismatch(call: ToolCall, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments; None also where the schema itself cannot be used."""
    if len(canonical_json(schema)) > MAX_SCHEMA_CHARACTERS:
        return None
    token = _references_left.set(MAX_REFERENCES)
    try:
        validator = _Validator(schema, registry=referencing.Registry())
        error = next(validator.iter_errors(call.arguments), None)
    except Exception:  # noqa: BLE001  jsonschema raises whatever a broken schema leads it to; a schema is not an episode
        return None
    finally:
        _references_left.reset(token)
    return None if error is None else f"{error.json_path}: {error.message}"[:300]
