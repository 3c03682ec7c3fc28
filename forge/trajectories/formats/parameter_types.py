"""Parameters of tools as datasets write them, as JSON Schema: Python's names of types ("str, optional", "List[int]",
"dict"), objects of parameters without the ``properties`` around them (xLAM, Hammer, ToolRL), and parameters that a
prompt describes in its text (OpenHands, SWE-agent)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from forge.apis.annotations import schema_of

_JSON_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_OPTIONAL = ", optional"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as a text describes it; ``type`` is a word of JSON Schema's or another."""

    name: str
    type: str
    is_required: bool
    description: str


def described_tool(name: str, description: str, parameters: Iterable[Parameter]) -> dict[str, Any]:
    """A tool that a text describes."""
    found = {parameter.name: parameter for parameter in parameters}
    schema = {
        "type": "object",
        "properties": {
            parameter.name: _typed({"type": parameter.type, "description": parameter.description})
            for parameter in found.values()
        },
        "required": [parameter.name for parameter in found.values() if parameter.is_required],
    }
    return {"name": name, "description": description, "parameters": schema}


def typed_tools(tools: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tools with parameters as JSON Schema; what a type said beyond that is kept as ``x-type``."""
    return [
        {**tool, "parameters": parameters_schema(tool["parameters"])} if "parameters" in tool else tool
        for tool in tools
    ]


def parameters_schema(parameters: object) -> dict[str, Any]:
    """The schema of a tool's arguments, out of a schema or out of ``{name: {type, description, default}}``."""
    if not isinstance(parameters, dict):
        return {"type": "object", "properties": {}}
    if isinstance(parameters.get("properties"), dict) and isinstance(parameters.get("type", "object"), str):
        return {**_typed(parameters), "type": "object"}
    if not all(isinstance(parameter, dict) for parameter in parameters.values()):
        return _typed(parameters)
    return {"type": "object", "properties": {name: _typed(schema) for name, schema in parameters.items()}}


def _typed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with JSON's names of types, also inside ``properties`` and ``items``."""
    found = dict(schema)
    if isinstance(schema.get("type"), str) and schema["type"] not in _JSON_TYPES:
        stated = found.pop("type")
        plain = schema_of(stated.removesuffix(_OPTIONAL))
        if "x-annotation" in plain or stated.endswith(_OPTIONAL):
            found["x-type"] = stated
        plain.pop("x-annotation", None)
        found = {**plain, **found}
    if isinstance(schema.get("items"), dict):
        found["items"] = _typed(schema["items"])
    if isinstance(schema.get("properties"), dict):
        inner = schema["properties"].items()
        found["properties"] = {name: _typed(one) if isinstance(one, dict) else one for name, one in inner}
    return found
