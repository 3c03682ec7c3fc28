"""Entries of Gorilla's API Zoo and of its model hubs: a call in one line, what it does, its arguments in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from forge.apis.descriptions import description_text, plain_text
from forge.apis.tools.tool import (
    Tool,
    ToolError,
    example,
    examples,
    line,
    paragraphs,
    parameter_schema,
    prose,
    tool_name,
)
from forge.schema import ApiExample
from forge.text.markup import first_sentence

_REQUEST = re.compile(r"(GET|PUT|POST|DELETE|PATCH|HEAD|OPTIONS)\s+(?:https?://[^/\s]+)?(/\S*)")
_TYPED = re.compile(
    r"(?P<required>\[REQUIRED\]\s*)?(?P<type>string|integer|int|boolean|bool|number|float|double|array|object|list|dict)"
    r"(?P<more>\[\]|\[[\w ]{1,40}\]|\([\w-]{1,20}\)|<[\w ]{1,40}>)?"
    r"\s*(?:$|:\s*|(?=\()|,\s*(?=optional|required))(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(r"""['"]([^'"\n]{1,200})['"]""")
_NECESSITY = re.compile(r"\(?(?P<word>required|optional)\b[,.:)\s]*", re.IGNORECASE)
_NOT_STATED = frozenset({"", "n/a", "none", "null"})
_REQUIREMENTS = ("env_requirements", "python_environment_requirements")
_WORDS = frozenset({"description", "data_type", "type"})
_OF_A_SCHEMA = _WORDS | {"default", "enum", "required"}
_MAX_CALL = 2000
_MAX_REQUIREMENTS = 50
_MAX_ARGUMENTS = 200
_MAX_LEVELS = 3


def matches(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("api_name"), str) and "api_call" in value


def tools(value: Mapping[str, Any]) -> Iterator[Tool | ToolError]:
    try:
        yield _tool(value, tool_name(value.get("api_name")))
    except ToolError as error:
        yield error


def _tool(value: Mapping[str, Any], full_name: str) -> Tool:
    call = value["api_call"] if isinstance(value.get("api_call"), str) else ""
    product, is_named, own_name = full_name.partition(" - ")
    framework = _said(value.get("framework"))
    request = _REQUEST.match(call.strip()) or _REQUEST.match(own_name.strip())
    name = f"{request[1]} {_template(request[2])}" if request else line(own_name) or full_name
    if framework:  # a model of a hub: its name is what the call loads
        product, name = framework, _model(full_name, call)
    about: Any = next((value[key] for key in ("meta_data", "metadata") if isinstance(value.get(key), dict)), {})
    functionality, text = _said(value.get("functionality")), _said(value.get("description"))
    task = f"Task: {functionality}." if text and functionality else ""
    return Tool(
        name=name,
        summary=first_sentence(text or functionality),
        description=paragraphs(text or functionality, _said(about.get("description")), task, _needs(value)),
        parameters=parameter_schema(_arguments(value.get("api_arguments"))),
        examples=_examples(value),
        declaration=request[0].strip() if request else plain_text(call).strip()[:_MAX_CALL],
        provider=line(product).replace("/", "-") if is_named or framework else "",
        service="hub" if framework else "api" if is_named else "",
        version=line(str(value.get("api_version") or ""))[:100],
        entity_type="operation" if request else "function",
    )


def _model(name: str, call: str) -> str:
    """A model of a hub: its id, or where the entry only names a family also what the call loads:
    "ResNet(pytorch/vision:v0.10.0, resnet18)"."""
    loaded = [] if "/" in name else [line(text) for text in _QUOTED.findall(call[:_MAX_CALL])]
    return tool_name(f"{name}({', '.join(loaded)})") if loaded else name


def _template(path: str) -> str:
    """The path with its places in braces, without the query."""
    return re.sub(r"(?<=/):(\w+)", r"{\1}", path.partition("?")[0].replace("{{", "{").replace("}}", "}"))


def _said(stated: object) -> str:
    text = prose(description_text(stated))
    return "" if text.lower() in _NOT_STATED else text


def _needs(value: Mapping[str, Any]) -> str:
    """ "Requires: torch, torchaudio." """
    stated = next((value[key] for key in _REQUIREMENTS if value.get(key)), "")
    names = [line(name) for name in stated] if isinstance(stated, list) else [line(stated)]
    told = [name for name in names[:_MAX_REQUIREMENTS] if name.lower() not in _NOT_STATED]
    return f"Requires: {', '.join(told).rstrip('.')}." if told else ""


def _examples(value: Mapping[str, Any]) -> tuple[ApiExample, ...]:
    """The example code, under the first question that the call answers."""
    stated = value.get("example_code")
    lines = [text for text in stated if isinstance(text, str)] if isinstance(stated, list) else [stated]
    code = "\n".join(text for text in lines if isinstance(text, str)).strip("\n")
    if code.strip().lower() in _NOT_STATED:
        return ()
    asked: Any = next((value[key] for key in ("questions", "Questions") if isinstance(value.get(key), list)), [])
    return examples([example(code, line(asked[0]) if asked else "")])


# --- arguments ----------------------------------------------------------------------------------------------------


def _arguments(stated: object, levels: int = _MAX_LEVELS) -> list[dict[str, Any]]:
    """Schemas with their names in them, as :func:`parameter_schema` reads them. Arguments are a map of names to what
    is said of them or to values that are passed, a list of names, or one name."""
    if isinstance(stated, str):
        stated = [line(name) for name in stated.split(",")] if _said(stated) else []
    if isinstance(stated, list):
        return [{"name": name} for name in stated[:_MAX_ARGUMENTS] if isinstance(name, str) and name.isidentifier()]
    if not isinstance(stated, dict):
        return []
    return [{**_argument(said, levels), "name": line(name)} for name, said in islice(stated.items(), _MAX_ARGUMENTS)]


def _argument(said: object, levels: int) -> dict[str, Any]:
    if isinstance(said, str):
        return _told(said)
    if isinstance(said, dict):
        if (
            not said
            or said.keys().isdisjoint(_OF_A_SCHEMA)
            or not all(isinstance(said.get(key, ""), str) for key in _WORDS)
        ):
            inner = parameter_schema(_arguments(said, levels - 1)) if levels else {}
            return {**inner, "type": "object"}
        kind = next((said[key] for key in ("data_type", "type") if isinstance(said.get(key), str)), "")
        told = {
            "description": _said(said.get("description")),
            "type": line(kind).lower(),
            "default": said.get("default"),
        }
        found = {key: value for key, value in told.items() if value not in ("", None)}
        if isinstance(said.get("enum"), list):
            found["enum"] = said["enum"]
        return {**found, "required": said.get("required") is True}
    return {} if said is None else {"example": said}


def _told(said: str) -> dict[str, Any]:
    """What words say: "integer: How many.", "boolean (Optional, whether ...)", "[REQUIRED] string". One word alone is a
    value that is passed."""
    text = _said(said)
    if not text:
        return {}
    found: dict[str, Any] = {}
    typed = _TYPED.match(text)
    if typed:
        found["type"] = typed["type"].lower()
        found["required"] = typed["required"] is not None
        if typed["more"] == "[]" or (typed["more"] or "").startswith("["):
            found["type"] = "array"
        text = (typed["rest"] or "").strip()
        if text.startswith("(") and text.endswith(")"):
            text = text[1:-1]
    elif " " not in text:
        return {"example": text}
    necessity = _NECESSITY.match(text)
    if necessity:
        found["required"] = necessity["word"].lower() == "required"
        text = text[necessity.end() :]
    if text.strip():
        found["description"] = text.strip()
    return found
