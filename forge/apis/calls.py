"""A call of an API with values that its source states."""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any, Literal

import orjson

from forge.apis.property_order import in_order
from forge.schema import ApiEntity, is_deeper_than

_MAX_RESPONSE_CHARACTERS = 4000
_MAX_ARGUMENTS_CHARACTERS = 4000
_MAX_DEPTH = 3
_MAX_NESTING = 60

Ecosystem = Literal["aws", "google", "http", "graphql", "grpc", "tool", "python", "shell", "other"]

_HTTP = re.compile(r"[A-Z]+ /")
_RPC = re.compile(r"[\w.]+/\w+$")
_METHOD_ID = re.compile(r"\w+(?:\.[\w-]+)+$")
_GRAPHQL = re.compile(r"(?:query|mutation|subscription) \w+$")


def ecosystem(entity: ApiEntity) -> Ecosystem:
    """Which way of calling an entity belongs to; "other": of a language whose calls only sources show."""
    if entity.entity_type == "tool":
        return "tool"
    if entity.entity_type == "operation":
        if entity.provider == "aws":
            return "aws"
        if _HTTP.match(entity.name):
            return "http"
        if _GRAPHQL.match(entity.name):
            return "graphql"
        if _RPC.match(entity.name):
            return "grpc"
        if entity.provider == "google" and _METHOD_ID.match(entity.name):
            return "google"
        return "tool"
    if entity.provider == "python":
        return "python"
    return "shell" if entity.provider == "shell" or entity.entity_type == "command" else "other"


_GENERIC_SERVICES = frozenset({"api", "tools"})


def api_of(entity: ApiEntity) -> str:
    """Whose operation it is: "aws ec2", "azure.com storage", "combell.com"."""
    named = entity.service.lower() not in _GENERIC_SERVICES and entity.service != entity.provider
    return f"{entity.provider} {entity.service}" if named else entity.provider


def base_url(entity: ApiEntity) -> str:
    """Where an HTTP operation's path begins, as its declaration says it (``GET https://api.example.com/v1/pets``); ""
    where it does not."""
    method, _, path = entity.name.partition(" ")
    declared, _, address = entity.declaration.partition(" ")
    path = path.partition("#")[0]
    if declared != method or "://" not in address or not address.partition("#")[0].endswith(path):
        return ""
    return address.partition("#")[0].removesuffix(path)


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments of one call. ``response`` is laid-out JSON, "" when none is recorded; ``description`` says what the
    source's example shows, "" for a call of our own. ``recorded``: the source itself shows this call."""

    arguments: Mapping[str, Any]
    response: str = ""
    description: str = ""
    recorded: bool = False

    @property
    def is_stated(self) -> bool:
        """Whether every value comes from the source: nothing stands for what a caller would have to know."""
        return not any(_holds_variable(value) for value in self.arguments.values())

    @property
    def states_a_value(self) -> bool:
        return any(not isinstance(value, Variable) for value in self.arguments.values())


@dataclass(frozen=True, slots=True)
class Variable:
    """Stands for a value that the source does not state: in code a variable of this name."""

    name: str

    def __repr__(self) -> str:
        return variable_name(self.name)


def variable_name(name: str) -> str:
    """A Python identifier that hides nothing: ``maxResults`` -> ``max_results``, ``class`` -> ``class_``."""
    word = snake_case(name)
    if word[0].isdigit():
        word = f"value_{word}"
    return f"{word}_" if iskeyword(word) or hasattr(builtins, word) else word


def _holds_variable(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_variable(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_holds_variable(inner) for inner in value)
    return isinstance(value, Variable)


def call_of(entity: ApiEntity) -> Call | None:
    """The first recorded request of the source; else its required parameters (of an operation that requires none: the
    first two) with :func:`value_of`. None when there is nothing to pass."""
    recorded = recorded_call(entity)
    if recorded is not None:
        return recorded
    properties = {
        name: schema
        for name, schema in in_order(entity.parameters).items()
        if not name.startswith("*") and name != "..." and not schema.get("deprecated")
    }
    required = [name for name in properties if name in set(entity.parameters.get("required", ()))]
    chosen = required or (list(properties)[:2] if entity.entity_type in {"operation", "tool"} else [])
    if not chosen:
        return None
    return Call({name: value_of(properties[name], name) for name in chosen})


def recorded_call(entity: ApiEntity) -> Call | None:
    """The first example whose input is a JSON object: what the source passes, in the order of the interface."""
    for example in entity.examples:
        if not example.input.startswith("{") or len(example.input) > _MAX_ARGUMENTS_CHARACTERS:
            continue
        try:
            arguments = orjson.loads(example.input)
        except ValueError:
            continue
        if isinstance(arguments, dict) and not is_deeper_than(arguments, _MAX_NESTING):
            ordered = [name for name in in_order(entity.parameters) if name in arguments]
            ordered += [name for name in arguments if name not in set(ordered)]
            found = {name: arguments[name] for name in ordered}
            return Call(found, _laid_out(example.output), example.description, recorded=True)
    return None


def _laid_out(text: str) -> str:
    if not text or len(text) > _MAX_RESPONSE_CHARACTERS:
        return ""
    try:
        value = orjson.loads(text)
    except ValueError:
        return text
    return "" if is_deeper_than(value, _MAX_NESTING) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def value_of(schema: Mapping[str, Any], name: str, depth: int = 0) -> Any:
    """A value that the schema states: its example, constant, default or first enumerated value; of objects and arrays
    those of their parts. What it does not state is a :class:`Variable`."""
    for stated in ("example", "const", "default"):
        if schema.get(stated) is not None:
            return schema[stated]
    for listed in ("enum", "examples"):
        values = schema.get(listed)
        if isinstance(values, list) and values:
            return values[0]
    for choice in ("anyOf", "oneOf"):
        parts = schema.get(choice)
        if isinstance(parts, list) and parts and isinstance(parts[0], Mapping):
            return value_of(parts[0], name, depth + 1) if depth <= _MAX_DEPTH else Variable(name)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((part for part in kind if part != "null"), "null")
    if kind == "null":
        return None
    if kind == "array":
        items = schema.get("items")
        if not isinstance(items, Mapping) or not items or depth >= _MAX_DEPTH:
            return Variable(name)
        inner = value_of(items, _singular(name), depth + 1)
        return Variable(name) if isinstance(inner, Variable) else [inner]
    if kind == "object":
        return _object_value(schema, name, depth)
    return Variable(name)


def _object_value(schema: Mapping[str, Any], name: str, depth: int) -> Any:
    properties = in_order(schema)
    if depth >= _MAX_DEPTH or not properties:
        return Variable(name)
    required = [member for member in properties if member in set(schema.get("required", ()))]
    chosen = required or list(properties)[:1]
    return {member: value_of(properties[member], member, depth + 1) for member in chosen}


def _singular(name: str) -> str:
    if name.endswith("ies") and len(name) > 4:
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith(("ss", "us", "is")) and len(name) > 3 else name


_PLURAL_ACRONYM = re.compile(r"[A-Z]{2,}s$")
_WORD = re.compile(r"([^_])([A-Z][a-z]+)")
_CAPITAL = re.compile(r"([a-z0-9])([A-Z])")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")


def snake_case(name: str) -> str:
    """``DescribeDBInstances`` -> ``describe_db_instances``; "_" for what holds no letter or digit."""
    words = _SEPARATORS.sub("_", name)
    if match := _PLURAL_ACRONYM.search(words):
        words = f"{words[: match.start()]}_{match.group().lower()}"
    words = _CAPITAL.sub(r"\1_\2", _WORD.sub(r"\1_\2", words))
    return words.strip("_").lower() or "_"


def method_name(entity: ApiEntity, separator: str = "_") -> str:
    """What the operation is called in Python or, with "-", on the command line. For AWS by botocore's own rule, which
    knows exceptions (``CreateOAuth2Token`` -> ``create_oauth2_token``)."""
    if entity.provider == "aws":
        from botocore import xform_name

        return str(xform_name(entity.name, separator))
    return snake_case(entity.name).replace("_", separator)


def cli_words(name: str) -> str:
    """``DescribeDBInstances`` -> ``describe-db-instances``."""
    return snake_case(name).replace("_", "-")
