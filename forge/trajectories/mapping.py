"""Reading a JSON layout that no format knows: a data engineer names where each field is, and no code is written.

A value of the mapping is a JSONPath when it begins with ``$``, else it is taken as it stands. Paths of ``step`` are
looked up in one step, those of ``call`` in one call::

    mapping:
      task: $.instruction
      steps: $.dialog[*]
      step: {role: $.speaker, content: $.text, calls: $.actions[*], observation: $.result}
      call: {name: $.tool, arguments: $.args}
      roles: {customer: user, bot: assistant}
      outcome: $.status
      outcomes: {done: success, gave_up: failure}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.parser import parse as parse_path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from forge.schema import Outcome, Role, Step, ToolCall, canonical_json
from forge.trajectories.formats.fields import (
    OUTCOMES,
    Found,
    UnusableRecordError,
    arguments_of,
    content_of,
    first_request,
    identifier,
    malformed,
    number,
    outcome_of,
    role_of,
    tools_of,
    trajectory,
)


def _path(value: str) -> str:
    if value.startswith("$"):
        try:
            _compiled(value)
        except (JSONPathError, ValueError, TypeError) as error:
            raise ValueError(f"no JSONPath: {value!r}: {error}") from None
    return value


PathOrText = Annotated[str, AfterValidator(_path)]


class _Mapping(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CallMapping(_Mapping):
    """Where the parts of one call are. ``argument`` names the one argument of calls whose arguments are plain text."""

    name: PathOrText = "$.name"
    arguments: PathOrText = "$.arguments"
    id: PathOrText = "$.id"
    argument: str | None = None


class StepMapping(_Mapping):
    """Where the parts of one step are. An ``observation`` in a step is what the environment answered to its calls;
    without ``role`` every step is the assistant's."""

    role: PathOrText = "assistant"
    content: PathOrText | None = None
    thought: PathOrText | None = None
    calls: PathOrText | None = None
    observation: PathOrText | None = None
    answers: PathOrText | None = None
    error: PathOrText | None = None
    loss: PathOrText | None = None


class RecordMapping(_Mapping):
    """Where the parts of one record are. ``records`` leads to the records inside a row that holds several."""

    steps: PathOrText
    records: PathOrText | None = None
    step: StepMapping = StepMapping()
    call: CallMapping = CallMapping()
    task: PathOrText | None = None
    system: PathOrText | None = None
    tools: PathOrText | None = None
    outcome: PathOrText | None = None
    reward: PathOrText | None = None
    environment: PathOrText | None = None
    generator: PathOrText | None = None
    license: PathOrText | None = None
    episode: PathOrText | None = None
    roles: Mapping[str, Role] = Field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = Field(default_factory=dict)


@lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    return parse_path(path)


def mapped(record: Any, mapping: RecordMapping) -> Iterator[Found]:
    """The episodes of a record. Raises :class:`UnusableRecordError` where a field holds what it cannot hold."""
    for part in [record] if mapping.records is None else _all(record, mapping.records):
        yield _episode(part, mapping)


def _episode(record: Any, mapping: RecordMapping) -> Found:
    turns = _flat(_all(record, mapping.steps))
    if not turns:
        raise UnusableRecordError("no_steps", f"nothing at {mapping.steps}")
    steps = [step for place, turn in enumerate(turns) for step in _steps(turn, place, mapping)]
    system = content_of(_one(record, mapping.system))
    if system:
        steps.insert(0, Step("system", system))
    reward = number(_one(record, mapping.reward))
    return trajectory(
        content_of(_one(record, mapping.task)) or first_request(steps),
        steps,
        tools=tools_of(_flat(_all(record, mapping.tools)) if mapping.tools else None),
        outcome=_outcome(_one(record, mapping.outcome), mapping),
        reward=reward,
        environment=identifier(_one(record, mapping.environment)),
        license=identifier(_one(record, mapping.license)),
        generator=identifier(_one(record, mapping.generator)),
        episode=identifier(_one(record, mapping.episode)),
    )


def _steps(turn: Any, place: int, mapping: RecordMapping) -> Iterator[Step]:
    where = mapping.step
    said_by = _one(turn, where.role)
    role = mapping.roles.get(said_by) if isinstance(said_by, str) else None
    role = role or role_of(said_by, place)
    content = content_of(_one(turn, where.content))
    error = content_of(_one(turn, where.error))
    answers = identifier(_one(turn, where.answers)) or None
    loss = _one(turn, where.loss)
    calls = tuple(_call(call, place, mapping.call) for call in _flat(_all(turn, where.calls))) if where.calls else ()
    observation = content_of(_one(turn, where.observation))
    if role == "tool":
        yield Step("tool", content or "", answers=answers, error=error)
        return
    yield Step(
        role,
        content or None,
        thought=content_of(_one(turn, where.thought)) or None,
        calls=calls,
        loss=loss if isinstance(loss, bool) else None,
    )
    if observation is not None or error:
        yield Step("tool", observation or "", answers=answers, error=error)


def _call(call: Any, place: int, mapping: CallMapping) -> ToolCall:
    name = _one(call, mapping.name)
    if not isinstance(name, str) or not name:
        raise malformed(f"step {place}: no name of a call at {mapping.name}")
    given = call if isinstance(call, str) else _one(call, mapping.arguments)
    if mapping.argument is not None and isinstance(given, str):
        given = {mapping.argument: given}
    return ToolCall(name, arguments_of(given, f"step {place}, {name}"), identifier(_one(call, mapping.id)) or None)


def _outcome(value: Any, mapping: RecordMapping) -> Outcome:
    key = value if isinstance(value, str) else canonical_json(value)
    if key in mapping.outcomes:
        return mapping.outcomes[key]
    return next((known for known in OUTCOMES if known == value), outcome_of(value))


def _one(value: Any, path: str | None) -> Any:
    if path is None or not path.startswith("$"):
        return path
    return next(iter(_all(value, path)), None)


def _all(value: Any, path: str) -> list[Any]:
    try:
        return [match.value for match in _compiled(path).find(value)]
    except (JSONPathError, TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError):
        return []  # the path leads through something of another type: nothing is there


def _flat(found: list[Any]) -> list[Any]:
    """A path that leads to one list means its elements."""
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found
