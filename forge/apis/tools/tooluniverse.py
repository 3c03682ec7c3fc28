"""Tools of ToolUniverse: name, description, ``parameter``, ``return_schema``, and calls that its tests make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge.apis.tools.tool import Tool, ToolError, example, examples, line, parameter_schema, prose, schema, tool_name
from forge.schema import ApiExample


def matches(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("name"), str) and "parameter" in value


def tools(value: Mapping[str, Any]) -> Iterator[Tool | ToolError]:
    """One tool. A loader that brings in tools of a server at run time has no parameters of its own: it is none."""
    if "parameter" not in value:
        return
    try:
        name = tool_name(value.get("name"))
    except ToolError as error:
        yield error
        return
    parameters = parameter_schema(value["parameter"])
    returns: Any = next((value[key] for key in ("return_schema", "return") if isinstance(value.get(key), dict)), {})
    yield Tool(
        name=name,
        description=prose(value.get("description")),
        parameters=parameters,
        returns=schema(returns),
        examples=_examples(value, parameters["properties"]),
        auth=_auth(value),
        version=line(value.get("version")),
        provider="tooluniverse",
        service="tools",
    )


def _examples(value: Mapping[str, Any], properties: Mapping[str, Any]) -> tuple[ApiExample, ...]:
    """``test_examples`` are bare arguments; ``examples`` say what they show, and hold them in ``arguments``."""
    described, bare = value.get("examples"), value.get("test_examples")
    found = [
        example(shown["arguments"], prose(shown.get("description")), shown.get("output") or "")
        for shown in (described if isinstance(described, list) else ())
        if isinstance(shown, dict) and isinstance(shown.get("arguments"), dict)
    ]
    for arguments in bare if isinstance(bare, list) else ():
        if isinstance(arguments, dict):
            said = "" if "description" in properties else prose(arguments.get("description"))
            found.append(example({key: arguments[key] for key in arguments if not said or key != "description"}, said))
    return examples(found)


def _auth(value: Mapping[str, Any]) -> str:
    """ "OMIM_API_KEY (environment variable)"."""
    stated = value.get("required_api_keys")
    keys = [line(key) for key in stated if line(key)] if isinstance(stated, list) else []
    return f"{' and '.join(keys)} (environment variable)" if keys else ""
