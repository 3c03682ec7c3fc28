"""The objects of a mock service, known by what calls and results said of them, whatever the result at hand calls it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge.schema import content_hash
from forge.trajectories.generator.operations import fold
from forge.trajectories.generator.responses import HEXADECIMAL, has_type, scalar
from forge.trajectories.generator.schemas import type_of

_SPOKEN = ("name", "title", "status", "state", "type", "description")
_PLAIN_PATTERN = re.compile(r"\^?(?:[\w.-]+|\[\^/\]\+)(?:/(?:[\w.-]+|\[\^/\]\+)){0,20}\$?")
"""``^projects/[^/]+/queues/[^/]+$``"""
_ANY_PART = re.compile(r"\[\^/\]\+")
_OF_IDENTIFIERS = ("type", "format", "minLength", "maxLength", "minimum", "maximum")


@dataclass(slots=True)
class Object:
    """``attributes`` are what is known of it, by folded name; its identifier is among them under each of its names."""

    identifier: str
    attributes: dict[str, Any]

    def known(self, name: str, schema: Mapping[str, Any]) -> Any:
        """What is known under this name, in the type that the schema asks for; None otherwise."""
        value = self.attributes.get(fold(name))
        if value is None or has_type(value, schema):
            return value
        if type_of(schema) == "string" and is_word(value):
            return str(value)
        if type_of(schema) == "integer" and isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value[:18])
        return None

    def belongs_to(self, owners: Sequence[str], arguments: Mapping[str, Any]) -> bool:
        """Whether nothing known contradicts the owners that the arguments name."""
        return all(
            str(self.attributes.get(fold(owner), arguments.get(owner))) == str(arguments.get(owner)) for owner in owners
        )

    def passes(self, arguments: Mapping[str, Any]) -> bool:
        """Whether it is listed: arguments that are called like an attribute filter by it."""
        return all(
            str(self.attributes[fold(name)]) == str(value)
            for name, value in arguments.items()
            if is_word(value) and is_word(self.attributes.get(fold(name)))
        )

    def spoken_of(self) -> dict[str, Any]:
        """The few attributes that a task can speak of."""
        return {name: self.attributes[name] for name in _SPOKEN if is_word(self.attributes.get(name))}


def is_word(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def new_identifier(schema: Mapping[str, Any], name: str, seed: str) -> Any:
    """An identifier as the schema has them: never its example, which would be the same for every object."""
    random_number = random.Random(content_hash(seed, "identifier", name))
    if "enum" in schema:
        return random_number.choice(schema["enum"])
    if type_of(schema) not in {"string", "integer"}:
        schema = {"type": "string"}
    pattern = str(schema.get("pattern", ""))
    if _PLAIN_PATTERN.fullmatch(pattern):
        return _ANY_PART.sub(lambda _: _word(random_number), pattern.removeprefix("^").removesuffix("$"))
    plain = {key: schema[key] for key in _OF_IDENTIFIERS if key in schema}
    made = scalar(plain, name, random_number)
    is_told = type_of(schema) == "integer" or "format" in schema or fold(name).endswith(HEXADECIMAL)
    if is_told or len(str(made)) > 24 or schema.get("maxLength", 24) < 24:
        return made
    return f"{made}-{random_number.randrange(16, 256):02x}"


def _word(random_number: random.Random) -> str:
    return str(scalar({"type": "string"}, "name", random_number))
