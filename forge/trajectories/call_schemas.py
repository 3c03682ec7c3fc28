"""A call's arguments against its tool's JSON Schema.

Each distinct schema is made safe and compiled once per process. The library has no reference to follow, its regular
expressions are linear, and what one check may take (cost of the schema times characters of the arguments) is limited:
beyond it the arguments are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from forge.schema import canonical_json
from forge.trajectories.tool_schemas import PATTERN_OPTIONS, UnusableSchemaError, safe_schema

MAX_SCHEMA_CHARACTERS = 100_000
MAX_WORK = 100_000_000
"""Cost of the schema times characters of the arguments: about a second at worst."""
MAX_DETAIL_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class CompiledSchema:
    validator: jsonschema_rs.Draft202012Validator
    cost: int


def mismatch(parameters: object, arguments: Mapping[str, Any], characters: int) -> str | None:
    """What is wrong with the arguments (``characters`` is the length of their JSON); None also where the schema cannot
    be used."""
    if not isinstance(parameters, (dict, list)) or not parameters:
        return None
    text = canonical_json(parameters)
    compiled = _compiled(text) if len(text) <= MAX_SCHEMA_CHARACTERS else None
    if compiled is None or compiled.cost * characters > MAX_WORK or compiled.validator.is_valid(arguments):
        return None
    try:
        compiled.validator.validate(arguments)
    except jsonschema_rs.ValidationError as error:
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.instance_path)
        return f"${place}: {error.message}"[:MAX_DETAIL_CHARACTERS]
    return None


@lru_cache(512)
def _compiled(parameters: str) -> CompiledSchema | None:
    """By canonical JSON; None where the schema cannot be used."""
    try:
        safe = safe_schema(orjson.loads(parameters))
        if safe is None:
            return None
        validator = jsonschema_rs.Draft202012Validator(safe.schema, pattern_options=PATTERN_OPTIONS)
    except (UnusableSchemaError, ValueError):  # the library's errors are ValueErrors
        return None
    return CompiledSchema(validator, safe.cost)
