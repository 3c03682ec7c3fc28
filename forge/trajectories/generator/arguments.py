"""What is wrong with the arguments of a call, in the words of an API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema

from forge.schema import canonical_json, is_deeper_than

MAX_CHARACTERS = 20_000
MAX_NESTING = 32
_MAX_PROBLEMS = 5
_MAX_CHARACTERS = 2_000  # of all problems
_MAX_SHOWN_CHARACTERS = 200
_TYPE_WORDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class ArgumentsChecker:
    """Checks arguments against a tool's parameters, which are a plain schema
    (:mod:`forge.trajectories.generator.schemas`)."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._validator: Any = jsonschema.Draft202012Validator(parameters)

    def problem(self, arguments: Mapping[str, Any]) -> str:
        """Everything that is wrong, the first few; "" for arguments that are right."""
        if is_deeper_than(dict(arguments), MAX_NESTING):
            return f"the arguments nest deeper than {MAX_NESTING} levels"
        if len(canonical_json(arguments)) > MAX_CHARACTERS:
            return f"the arguments are longer than {MAX_CHARACTERS} characters"
        properties = self._parameters.get("properties", {})
        found = []
        if properties and "additionalProperties" not in self._parameters:
            found = [f"unknown parameter {shown(name)}" for name in sorted(set(arguments) - set(properties))]
        errors = sorted(self._validator.iter_errors(arguments), key=lambda error: str(error.json_path))
        found += [_in_words(error) for error in errors]
        return "; ".join(list(dict.fromkeys(found))[:_MAX_PROBLEMS])[:_MAX_CHARACTERS]


def shown(value: Any) -> str:
    """A value in a message, in quotes, cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text[:_MAX_SHOWN_CHARACTERS]}'"


def _in_words(error: Any) -> str:
    place = str(error.json_path).removeprefix("$").removeprefix(".")
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return "missing required parameter " + ", ".join(shown(f"{place}.{name}".removeprefix(".")) for name in missing)
    if error.validator == "type":
        wanted = error.validator_value
        words = " or ".join(wanted) if isinstance(wanted, list) else str(wanted)
        return f"{shown(place)} must be of type {words}, not {_TYPE_WORDS.get(type(error.instance), 'null')}"
    if error.validator == "enum":
        allowed = ", ".join(map(str, error.validator_value))
        return f"{shown(place)} must be one of: {allowed[:_MAX_SHOWN_CHARACTERS]} (given: {shown(error.instance)})"
    if error.validator == "anyOf":
        reasons = list(dict.fromkeys(_in_words(each) for each in error.context[:_MAX_PROBLEMS]))
        return f"{shown(place) if place else 'the arguments'} fit no alternative: {' / '.join(reasons)}"
    return f"{shown(place)}: {str(error.message)[:_MAX_SHOWN_CHARACTERS]}"
