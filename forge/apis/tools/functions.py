"""Function descriptions as language models take them: OpenAI's ``tools`` and ``functions``, Anthropic's ``tools``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge.apis.tools.tool import Tool, ToolError, example, examples, parameter_schema, prose, schema, tool_name


def matches(value: Mapping[str, Any]) -> bool:
    """``{"type": "function", "function": {...}}``, ``{"name", "parameters"}`` or ``{"name", "input_schema"}``."""
    if value.get("type") == "function" and (isinstance(value.get("function"), dict) or "name" in value):
        return True
    return isinstance(value.get("name"), str) and not value.keys().isdisjoint({"parameters", "input_schema"})


def tools(value: Mapping[str, Any]) -> Iterator[Tool | ToolError]:
    stated = value.get("function")
    function = stated if isinstance(stated, dict) else value
    try:
        name = tool_name(function.get("name"))
    except ToolError as error:
        yield error
        return
    shown = function.get("input_examples")
    yield Tool(
        name=name,
        description=prose(function.get("description")),
        parameters=parameter_schema(
            next((function[key] for key in ("parameters", "input_schema") if key in function), {})
        ),
        returns=schema(
            next((function[key] for key in ("returns", "response", "output_schema") if key in function), {})
        ),
        examples=examples([example(call) for call in shown] if isinstance(shown, list) else []),
    )
