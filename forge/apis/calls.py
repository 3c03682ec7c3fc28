"""A call of an API with values that its source states."""

from __future__ import annotations

import json
import pprint
import re
from collections.abc import Mapping
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

import orjson

from forge.apis.property_order import in_order
from forge.schema import ApiEntity

_MAX_RESPONSE_CHARACTERS = 4000
_MAX_ARGUMENTS_CHARACTERS = 4000
_MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments of one call. ``response`` is laid-out JSON, "" when none is recorded; ``description`` says what the
    source's example shows, "" for a call of our own."""

    arguments: Mapping[str, Any]
    response: str
    description: str


def call_of(entity: ApiEntity) -> Call | None:
    """The first recorded request of the source; else its required parameters (all, when none is required) with
    :func:`value_of`. None when there is nothing to pass."""
    for example in entity.examples:
        if not example.input.startswith("{") or len(example.input) > _MAX_ARGUMENTS_CHARACTERS:
            continue
        try:
            arguments = orjson.loads(example.input)
        except ValueError:
            continue
        if isinstance(arguments, dict):
            return Call(arguments, _laid_out(example.output), example.description)
    properties = {
        name: schema
        for name, schema in in_order(entity.parameters).items()
        if not name.startswith("*") and not schema.get("deprecated")
    }
    required = [name for name in entity.parameters.get("required", ()) if name in properties]
    chosen = required or list(properties)[:2]
    if not chosen:
        return None
    return Call({name: value_of(properties[name], name) for name in chosen}, "", "")


@dataclass(frozen=True, slots=True)
class Variable:
    """Stands in Python source for an object that no literal can give."""

    name: str

    def __repr__(self) -> str:
        return self.name


def _laid_out(text: str) -> str:
    if not text or len(text) > _MAX_RESPONSE_CHARACTERS:
        return ""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    except ValueError:
        return text


def value_of(schema: Mapping[str, Any], name: str, depth: int = 0) -> Any:
    """A value that the schema allows: its example, default or first enumerated value; else a placeholder by type that
    names the parameter, so that nobody takes it for real data."""
    for stated in ("example", "default", "const"):
        if schema.get(stated) is not None:
            return schema[stated]
    for listed in ("enum", "examples"):
        values = schema.get(listed)
        if isinstance(values, list) and values:
            return values[0]
    for choice in ("anyOf", "oneOf"):
        parts = schema.get(choice)
        if isinstance(parts, list) and parts and isinstance(parts[0], Mapping):
            return value_of(parts[0], name, depth + 1) if depth <= _MAX_DEPTH else None
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((part for part in kind if part != "null"), "null")
    if kind in {"integer", "number"}:
        low = schema.get("minimum")
        return low if isinstance(low, int | float) and not isinstance(low, bool) and abs(low) < 2**53 else 1
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    if kind == "array":
        items = schema.get("items")
        if not isinstance(items, Mapping) or depth >= _MAX_DEPTH:
            return []
        return [value_of(items, _singular(name), depth + 1)]
    if kind == "object":
        return _object_value(schema, name, depth)
    if schema.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    return f"<{name}>"


def _object_value(schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
    if depth >= _MAX_DEPTH:
        return {}
    properties = in_order(schema)
    if properties:
        required = [member for member in properties if member in set(schema.get("required", ()))]
        chosen = required or list(properties)[:1]
        return {member: value_of(properties[member], member, depth + 1) for member in chosen}
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping):
        allowed = schema.get("propertyNames")
        keys = allowed.get("enum") if isinstance(allowed, Mapping) else None
        return {str(keys[0]) if keys else "key": value_of(values, name, depth + 1)}
    return {}


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


def python_call(entity: ApiEntity, call: Call) -> str:
    """The call as Python source: through a boto3 client for AWS, else by the dotted name."""
    properties = entity.parameters.get("properties", {}) if entity.provider == "python" else {}
    arguments = [
        f"{name}={Variable(name) if _needs_variable(properties.get(name)) else _literal(value)}"
        for name, value in call.arguments.items()
        if name.isidentifier() and not iskeyword(name)
    ]
    if entity.entity_type == "operation" and (request := _http_request(entity, call)) is not None:
        return request
    if entity.provider == "aws":
        head, target = (
            f'import boto3\n\nclient = boto3.client("{entity.service}")\nresponse = ',
            f"client.{method_name(entity)}",
        )
    elif entity.provider == "python":
        head, target = _python_target(entity)
    else:
        head, target = "response = ", f"client.{method_name(entity)}"
    inline = f"{target}({', '.join(arguments)})"
    if len(inline) <= 88 and "\n" not in inline:
        return head + inline
    return head + f"{target}(\n" + "".join(f"    {_indented(argument)},\n" for argument in arguments) + ")"


def _http_request(entity: ApiEntity, call: Call) -> str | None:
    """The call by ``requests`` for an operation that is named by method and path; None for another."""
    method, _, path = entity.name.partition(" ")
    if not path.startswith("/") or not method.isalpha():
        return None
    groups: dict[str, dict[str, Any]] = {"params": {}, "headers": {}, "cookies": {}, "json": {}}
    places = {"query": "params", "header": "headers", "cookie": "cookies"}
    body: Any = None
    for name, value in call.arguments.items():
        place = entity.parameters.get("properties", {}).get(name, {}).get("x-in", "")
        if "{" + name + "}" in path:
            path = path.replace("{" + name + "}", str(value))
        elif name == "body" and not place:
            body = value
        else:
            groups[places.get(place, "json")][name] = value
    url = json.dumps(path, ensure_ascii=False)
    arguments = [f"base_url + {url}"] + [f"{group}={_literal(values)}" for group, values in groups.items() if values]
    if body is not None and not groups["json"]:
        arguments.append(f"json={_literal(body)}")
    head = f"import requests\n\nresponse = requests.{method.lower()}("
    inline = f"{head.rsplit(chr(10), 1)[-1]}{', '.join(arguments)})"
    if len(inline) <= 88 and "\n" not in inline:
        return head + ", ".join(arguments) + ")"
    return head + "\n" + "".join(f"    {_indented(argument)},\n" for argument in arguments) + ")"


def _needs_variable(schema: Mapping[str, Any] | None) -> bool:
    """Whether a Python parameter takes what JSON cannot write (a tensor, a session, a callable)."""
    return schema is not None and not {"type", "enum", "anyOf", "default"} & set(schema)


def _python_target(entity: ApiEntity) -> tuple[str, str]:
    """The import line and the expression to call. A method is called on an object named after its class."""
    owner, _, name = entity.name.rpartition(".")
    if entity.entity_type == "method":
        kind = owner.rpartition(".")[2]
        instance = snake_case(kind)
        return f"# {instance} is an instance of {owner}\nresult = ", f"{instance}.{name}"
    verb = "instance = " if entity.entity_type == "class" else "result = "
    return (f"from {owner} import {name}\n\n{verb}" if owner else verb), name


def _literal(value: object) -> str:
    return pprint.pformat(value, width=80, sort_dicts=False) if isinstance(value, dict | list) else repr(value)


def _indented(text: str) -> str:
    first, *rest = text.split("\n")
    margin = " " * (4 + len(first) - len(first.lstrip()))
    return "\n".join([first, *(margin + line for line in rest)])
