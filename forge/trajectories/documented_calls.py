"""A call that API documentation shows, with the response that it shows for it, as an episode.

The user asks in the documentation's words and states the values; the tool is the operation itself, called by the name
that it has as an API (``environment`` and the call's name are its entity key); the observation is the shown response.
Nobody executed the call: the outcome is unknown, the generator "documentation".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from forge.apis.calls import api_of, snake_case
from forge.apis.forms import schema_for_calls
from forge.apis.property_order import in_order
from forge.apis.questions import imperative, is_imperative, task_of
from forge.apis.reference import told_parameters
from forge.fixed_words import parse_words
from forge.schema import (
    ApiEntity,
    ApiExample,
    Decision,
    Step,
    ToolCall,
    Trajectory,
    canonical_json,
    content_hash,
    is_deeper_than,
)
from forge.text.markup import cut, first_sentence
from forge.trajectories.checks import check

GENERATOR = "documentation"
MAX_TOOL_CHARACTERS = 24_000
_STEP = "parse_trajectories"
_FILE = Path(__file__).with_suffix(".yaml")
_SCHEMA_DEPTHS = (6, 3, 2, 1)
_MAX_NESTING = 60
_MAX_DESCRIPTION_CHARACTERS = 1000

_EXAMPLE_NAME = re.compile(r"(?:The|This)(?: following)? (?!following )[\w-]+ example (?=\w+s )")
_INFINITIVE = re.compile(r"To (?=[a-z])")
_UNFILLED = re.compile(r"string|\.\.\.|[{<\[][\w .:-]+[]>}]|your[_ -].*|x{3,}|todo", re.IGNORECASE | re.DOTALL)
"""Stands where a value should be: "string", ``{invoiceName}``, ``<id>``, YOUR_TENANT_ID."""


class Wording(BaseModel):
    """What ``documented_calls.yaml`` holds; the file says what each part is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(gt=0)
    orders: tuple[str, ...] = Field(min_length=1)
    topics: tuple[str, ...] = Field(min_length=1)
    values: tuple[str, ...] = Field(min_length=1)
    value: str


@lru_cache(maxsize=1)
def wording() -> Wording:
    return parse_words(Wording, _FILE.read_bytes(), _FILE.name)


def episode_of(entity: ApiEntity, example: ApiExample, observation: str, number: int = 1) -> Trajectory | Decision:
    """The episode of one example, the ``number``-th of its operation, or why it is none: ``malformed_example`` (what is
    given is no JSON object), ``too_deeply_nested``, ``unfilled_example`` (a value is a place for one), ``no_task``,
    ``oversized_tool``, and the reasons of :func:`forge.trajectories.checks.check`."""
    episode = entity.name if number == 1 else f"{entity.name}#{number}"

    def refused(reason: str, detail: str = "") -> Decision:
        return Decision(entity.source, f"{entity.item_id}#{episode}", _STEP, reason, detail)

    try:
        arguments = orjson.loads(example.input)
    except orjson.JSONDecodeError as error:
        return refused("malformed_example", str(error))
    if not isinstance(arguments, dict):
        return refused("malformed_example", f"what is given is a {type(arguments).__name__}")
    if is_deeper_than(arguments, _MAX_NESTING):
        return refused("too_deeply_nested", f"arguments of more than {_MAX_NESTING} levels")
    unfilled = _unfilled(arguments) or _unfilled(_parsed(observation))
    if unfilled:
        return refused("unfilled_example", f"a value is {unfilled[:100]!r}")
    task = _task(entity, example.description)
    if not task:
        return refused("no_task", f"summary: {entity.summary[:200]!r}")
    tool = _tool(entity)
    if tool is None:
        return refused("oversized_tool", f"its schema has more than {MAX_TOOL_CHARACTERS:,} characters")
    request = _request(entity, task, arguments)
    trajectory = Trajectory(
        task=request,
        tools=(tool,),
        steps=(
            Step("user", request),
            Step("assistant", calls=(ToolCall(entity.name, arguments),)),
            Step("tool", observation),
        ),
        outcome="unknown",
        reward=None,
        environment=f"{entity.provider}/{entity.service}",
        license=entity.license,
        generator=GENERATOR,
        source=entity.source,
        item_id=entity.item_id,
        episode=episode,
    )
    problem = check(trajectory)
    return trajectory if problem is None else refused(problem.reason, problem.detail)


def _unfilled(value: Any) -> str:
    """A text that stands for a value, at any depth; "" when there is none."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and _UNFILLED.fullmatch(value):
            return value
        if isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return ""


def _parsed(observation: str) -> Any:
    """A response of another kind than JSON is looked at as one text."""
    try:
        return orjson.loads(observation)
    except orjson.JSONDecodeError:
        return observation


def _tool(entity: ApiEntity) -> Mapping[str, Any] | None:
    """The operation as a function description, nested objects as deep as the size allows; None when it is too long."""
    stated = told_parameters(entity.parameters)
    for depth in _SCHEMA_DEPTHS:
        tool = {
            "name": entity.name,
            "description": cut(entity.summary or entity.description, _MAX_DESCRIPTION_CHARACTERS),
            "parameters": schema_for_calls(stated, depth),
        }
        if len(canonical_json(tool)) <= MAX_TOOL_CHARACTERS:
            return tool
    return None


# --- what the user asks -------------------------------------------------------------------------------------------


def _task(entity: ApiEntity, described: str) -> str:
    """What the example shows or the operation does, as an order where one of them is one; "" when neither says it."""
    shown = _INFINITIVE.sub("", _EXAMPLE_NAME.sub("", " ".join(described.split()), count=1), count=1)
    found = [task for task in (task_of(entity, shown), task_of(entity, ""), _short_task(entity.summary)) if task]
    return next((task for task in found if is_imperative(task)), found[0] if found else "")


def _short_task(summary: str) -> str:
    """An order of two words or of one in camel case: ``Create product``, ``createSiteVirtualChassis``."""
    words = first_sentence(summary, _MAX_DESCRIPTION_CHARACTERS).rstrip(".:")
    if " " not in words:
        words = snake_case(words).replace("_", " ")
    task = imperative(words)
    return f"{task}." if " " in task and is_imperative(task) else ""


def _request(entity: ApiEntity, task: str, arguments: Mapping[str, Any]) -> str:
    """The task and every value that the call needs: one line each, in the order of the interface."""
    words = wording()
    seed = content_hash(entity.entity_key, canonical_json(arguments))
    # "All users ..." is no continuation of "Please".
    is_order = is_imperative(task) and not task[1:2].isupper()
    request = _chosen(words.orders if is_order else words.topics, seed, "request").format(
        task=task, request=task[:1].lower() + task[1:].rstrip(".:"), api=api_of(entity)
    )
    lines = [words.value.format(name=name, value=_written(arguments[name])) for name in _ordered(entity, arguments)]
    if not lines:
        return request
    return _chosen(words.values, seed, "values").format(request=request, values="\n".join(lines))


def _chosen(lines: Sequence[str], seed: str, what: str) -> str:
    return lines[int(content_hash(seed, what)[:8], 16) % len(lines)]


def _ordered(entity: ApiEntity, arguments: Mapping[str, Any]) -> list[str]:
    stated = [name for name in in_order(entity.parameters) if name in arguments]
    return [*stated, *(name for name in arguments if name not in set(stated))]


def _written(value: Any) -> str:
    """A text of one line as it is, anything else as JSON."""
    is_plain = isinstance(value, str) and value and value == " ".join(value.split())
    return str(value) if is_plain else orjson.dumps(value).decode()
