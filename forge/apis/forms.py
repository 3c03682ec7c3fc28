"""Further forms of one API: function schema, command line, call in code. What teaches the same interface otherwise."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from forge.apis.calls import Call, call_of, cli_words, method_name, python_call, snake_case
from forge.apis.docstring_sections import split_session
from forge.apis.property_order import in_order
from forge.apis.reference import COMFORTABLE_CHARACTERS, type_words
from forge.apis.templates import HEADINGS, OPENINGS
from forge.schema import ApiEntity, ApiExample, canonical_json, content_hash
from forge.text.markup import cut, first_sentence

_MAX_OPTIONS = 80
_MAX_EXAMPLES = 4


def choice(entity: ApiEntity, what: str, count: int) -> int:
    return int(content_hash(what, entity.entity_key)[:8], 16) % count


def _title(entity: ApiEntity) -> str:
    if entity.provider == "aws":
        return f"{entity.service} {entity.name}"
    return entity.name


def function_schema(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """The interface as a JSON function description, a call of it as JSON, and the recorded response if there is one."""
    for depth in (3, 2, 1):
        description = {
            "name": _function_name(entity),
            "description": cut(entity.summary or entity.description, 1000),
            "parameters": schema_for_calls(entity.parameters, depth),
        }
        call = call_of(entity)
        blocks = [
            OPENINGS["function_schema"][choice(entity, "opening", len(OPENINGS["function_schema"]))].format(
                title=_title(entity)
            ),
            _json(description, indented=choice(entity, "layout", 2) == 0),
        ]
        if call is not None:
            blocks += _call_blocks(call, _json({"name": description["name"], "arguments": call.arguments}, False))
        text = "\n\n".join(block for block in blocks if block)
        if len(text) <= min(max_characters, COMFORTABLE_CHARACTERS):
            return text
    return ""  # a schema that is cut would not be JSON


def _json(value: object, indented: bool) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2 if indented else None)


def _function_name(entity: ApiEntity) -> str:
    """The name a model calls: "s3.PutObject", "requests.get", "get_pets_pet_id" for ``GET /pets/{petId}``."""
    if entity.provider == "aws":
        return f"{entity.service}.{entity.name}"
    return snake_case(entity.name) if " " in entity.name else entity.name


def _call_blocks(call: Call, written: str) -> list[str]:
    blocks = [f"{call.description}\n{written}" if call.description else f"{HEADINGS['call']}\n{written}"]
    if call.response:
        blocks.append(f"{HEADINGS['response']}\n{call.response}")
    return blocks


_KEYWORDS = ("type", "description", "enum", "format", "default", "properties", "required", "items")


def schema_for_calls(schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """A schema with our own ``x-`` keywords written as descriptions, variadic parameters left out, and nested objects
    below ``depth`` cut."""
    result: dict[str, Any] = {}
    for keyword in sorted(schema, key=lambda word: (_KEYWORDS.index(word) if word in _KEYWORDS else 99, word)):
        value = schema[keyword]
        if keyword == "properties":
            if depth > 0:
                result["properties"] = {
                    name: schema_for_calls(node, depth - 1)
                    for name, node in in_order(schema).items()
                    if not name.startswith("*")
                }
        elif keyword == "required":
            if depth > 0 and value:
                result["required"] = [name for name in value if not name.startswith("*")]
        elif keyword in {"items", "additionalProperties"} and isinstance(value, Mapping):
            result[keyword] = schema_for_calls(value, depth)
        elif keyword == "description":
            result[keyword] = first_sentence(str(value), 400)
        elif not keyword.startswith("x-"):
            result[keyword] = value
    stated = schema.get("x-annotation") or schema.get("x-type")
    if stated and "type" not in schema:
        result["description"] = f"{result.get('description', '')} ({stated})".strip()
    return result


def cli(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """Synopsis, options and an invocation of an operation, in the way the AWS command line writes them."""
    command = f"{entity.provider} {entity.service} {method_name(entity, '-')}"
    properties = in_order(entity.parameters)
    required = [name for name in properties if name in set(entity.parameters.get("required", ()))]
    optional = [name for name in properties if name not in set(required)]
    synopsis = [command] + [f"--{cli_words(name)} {_cli_value(properties[name])}".rstrip() for name in required]
    synopsis += [
        f"[--{cli_words(name)} {_cli_value(properties[name])}".rstrip() + "]" for name in optional[:_MAX_OPTIONS]
    ]
    lines = [
        OPENINGS["cli"][choice(entity, "opening", len(OPENINGS["cli"]))].format(title=command, summary=entity.summary)
    ]
    lines.append(HEADINGS["synopsis"] + "\n" + _wrapped(synopsis))
    options = [
        f"  --{cli_words(name)} ({type_words(properties[name])})"
        + (f"\n{textwrap.indent(_brief(properties[name]), '      ')}" if properties[name].get("description") else "")
        for name in [*required, *optional][:_MAX_OPTIONS]
    ]
    if options:
        lines.append("\n".join([HEADINGS["options"], *options]))
    call = call_of(entity)
    if call is not None:
        words = [command]
        for name, value in call.arguments.items():
            words.append(_cli_argument(name, value))
        lines += _call_blocks(call, _wrapped(words, margin=""))
    text = "\n\n".join(lines)
    return cut(text, max_characters)


def _brief(schema: Mapping[str, Any]) -> str:
    return cut(str(schema["description"]), 600)


def _cli_value(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "boolean":
        return ""
    return {"integer": "INTEGER", "number": "NUMBER", "array": "LIST", "object": "JSON"}.get(str(kind), "VALUE")


def _cli_argument(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{cli_words(name)}" if value else f"--no-{cli_words(name)}"
    if isinstance(value, dict | list):
        if (
            isinstance(value, list)
            and value
            and all(isinstance(item, str | int) and not isinstance(item, bool) for item in value)
        ):
            return f"--{cli_words(name)} " + " ".join(_quoted(str(item)) for item in value)
        return f"--{cli_words(name)} {_quoted(canonical_json(value))}"
    return f"--{cli_words(name)} {_quoted(str(value))}"


def _quoted(text: str) -> str:
    return shlex.quote(text)


def _wrapped(words: Sequence[str], margin: str = "  ") -> str:
    """A command over several lines, continued with a backslash, options on lines of their own when it is long."""
    line = margin + " ".join(words)
    if len(line) <= 100:
        return line
    return margin + words[0] + "".join(f" \\\n{margin}    {word}" for word in words[1:])


def code_call(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """The interface as commented Python: what it does, then a call with the source's own values, then its response."""
    opening = OPENINGS["code_call"][choice(entity, "opening", len(OPENINGS["code_call"]))].format(title=_title(entity))
    lines = [opening]
    sessions = [example for example in entity.examples if ">>>" in example.input] if entity.provider == "python" else []
    if sessions:
        shown = []
        for example in sessions[:_MAX_EXAMPLES]:
            if example.description:
                shown.append(_comment(first_sentence(example.description)))
            shown.append(_as_code(example))
        body = "\n\n".join(shown)
        lines += [_comment(entity.summary), body] if entity.summary else [body]
    else:
        call = call_of(entity)
        if call is None:
            return ""
        if entity.summary:
            lines.append(_comment(entity.summary))
        told = [
            f"#   {name}: {first_sentence(str(schema['description']), 160)}"
            for name, schema in in_order(entity.parameters).items()
            if name.lstrip("*") in call.arguments and schema.get("description")
        ]
        code = python_call(entity, call)
        if call.description:
            code = f"{_comment(call.description)}\n{code}"
        lines.append("\n".join([*told, code]) if told else code)
        if call.response:
            lines.append(_comment("The response:") + "\n" + call.response)
    return cut("\n\n".join(lines), max_characters)


def _as_code(example: ApiExample) -> str:
    """A session without its prompts; outputs as comments."""
    lines: list[str] = []
    _, session, output = split_session(example.input + ("\n" + example.output if example.output else ""))
    for line in [*session.split("\n"), *output.split("\n")]:
        if line.startswith((">>> ", "... ")):
            lines.append(line[4:])
        elif line.rstrip() in {">>>", "..."}:
            lines.append("")
        elif line.strip():
            lines.append(f"# {line}")
    return "\n".join(lines).strip("\n")


def _comment(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in textwrap.wrap(" ".join(text.split()), 98))
