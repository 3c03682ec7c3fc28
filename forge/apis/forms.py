"""Further forms of one API: function schema, command line, call in code. What teaches the same interface otherwise."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from forge.apis.calls import Call, api_of, call_of, cli_words, ecosystem
from forge.apis.docstring_sections import split_session
from forge.apis.invocations import WAYS, aws_command, aws_command_name, function_name, json_call, over_lines
from forge.apis.property_order import in_order
from forge.apis.reference import COMFORTABLE_CHARACTERS, told_parameters, type_words
from forge.apis.templates import Opening, heading, templates
from forge.schema import ApiEntity, ApiExample, content_hash
from forge.text.markup import cut, first_sentence

_MAX_OPTIONS = 80
_MAX_EXAMPLES = 4
_MAX_CODE_CHARACTERS = 4000


def choice(entity: ApiEntity, what: str, count: int) -> int:
    return int(content_hash(what, entity.entity_key)[:8], 16) % count


def opening(entity: ApiEntity, form: Opening, **places: str) -> str:
    """One of the form's openings, always the same for one entity."""
    lines = templates().openings[form]
    return lines[choice(entity, "opening", len(lines))].format(**places)


def title_of(entity: ApiEntity) -> str:
    kind = ecosystem(entity)
    if kind == "aws":
        return f"{entity.service} {entity.name}"
    return f"{entity.name} ({api_of(entity)})" if kind in {"http", "google", "graphql"} else entity.name


def function_schema(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """The interface as a JSON function description; a call of it as JSON where the source states all its values, and
    the recorded response if there is one. "" when it would be too long: a schema that is cut would not be JSON."""
    for depth in (3, 2, 1):
        description = {
            "name": function_name(entity),
            "description": cut(entity.summary or entity.description, 1000),
            "parameters": schema_for_calls(told_parameters(entity.parameters), depth),
        }
        layout = 2 if choice(entity, "layout", 2) == 0 else None
        blocks = [
            opening(entity, "function_schema", title=title_of(entity), summary=entity.summary),
            json.dumps(description, ensure_ascii=False, indent=layout),
        ]
        call = call_of(entity)
        if call is not None and (written := json_call(entity, call)):
            blocks += call_blocks(call, written)
        text = "\n\n".join(block for block in blocks if block)
        if len(text) <= min(max_characters, COMFORTABLE_CHARACTERS):
            return text
    return ""


def call_blocks(call: Call, written: str) -> list[str]:
    """The call under what its example shows, and the response that the source records for it."""
    label = " ".join(call.description.split()).rstrip(".:")
    blocks = [f"{label}:\n{written}" if label else f"{heading('call')}\n{written}"]
    if call.response:
        blocks.append(f"{heading('response')}\n{call.response}")
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
    """Synopsis and options of an operation, in the way the AWS command line writes them, and an invocation where the
    source states its values."""
    command = aws_command_name(entity)
    properties = in_order(entity.parameters)
    required = [name for name in properties if name in set(entity.parameters.get("required", ()))]
    optional = [name for name in properties if name not in set(required)]
    synopsis = [command] + [f"--{cli_words(name)} {_cli_value(properties[name])}".rstrip() for name in required]
    synopsis += [
        f"[--{cli_words(name)} {_cli_value(properties[name])}".rstrip() + "]" for name in optional[:_MAX_OPTIONS]
    ]
    lines = [opening(entity, "cli", title=command, summary=entity.summary or title_of(entity))]
    lines.append(heading("synopsis") + "\n" + over_lines(synopsis, "  "))
    options = [
        f"  --{cli_words(name)} ({type_words(properties[name])})"
        + (f"\n{textwrap.indent(_brief(properties[name]), '      ')}" if properties[name].get("description") else "")
        for name in [*required, *optional][:_MAX_OPTIONS]
    ]
    if options:
        lines.append("\n".join([heading("options"), *options]))
    call = call_of(entity)
    if call is not None and (written := aws_command(entity, call)):
        lines += call_blocks(call, written)
    return cut("\n\n".join(lines), max_characters)


def _brief(schema: Mapping[str, Any]) -> str:
    return cut(str(schema["description"]), 600)


def _cli_value(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "boolean":
        return ""
    return {"integer": "INTEGER", "number": "NUMBER", "array": "LIST", "object": "JSON"}.get(str(kind), "VALUE")


def code_call(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """The interface as commented code: what it does, then the source's own examples in code, or else a call in the
    ecosystem's own way and its response. "" when neither is to be had."""
    mark = templates().comments.get(entity.provider, "#")
    lines = [f"{mark} {opening(entity, 'code_call', title=title_of(entity), summary=entity.summary)}"]
    if entity.summary:
        lines.append(_comment(entity.summary, mark))
    examples = code_examples(entity)
    if examples:
        if entity.declaration and ecosystem(entity) in {"python", "other"}:
            lines.insert(1, entity.declaration)
        lines += [_example(example, mark) for example in examples[:_MAX_EXAMPLES]]
        return cut("\n\n".join(lines), max_characters)
    call = call_of(entity)
    ways = WAYS.get(ecosystem(entity), ())
    code = ways[0](entity, call) if call is not None and ways and ways[0] is not json_call else ""
    if call is None or not code or (ecosystem(entity) == "python" and not call.states_a_value):
        return ""
    told = [
        f"{mark}   {name}: {first_sentence(str(schema['description']), 160)}"
        for name, schema in in_order(entity.parameters).items()
        if name.lstrip("*") in call.arguments and schema.get("description")
    ]
    shown = [_comment(call.description, mark)] if call.description else []
    lines.append("\n".join([*shown, *told, code]))
    if call.response:
        lines.append(_comment(heading("response"), mark) + "\n" + call.response)
    return cut("\n\n".join(lines), max_characters)


def code_examples(entity: ApiEntity) -> list[ApiExample]:
    """The examples that are code: of Python interactive sessions, of an operation nothing (its examples are requests),
    else all."""
    kind = ecosystem(entity)
    found = [example for example in entity.examples if 0 < len(example.input) <= _MAX_CODE_CHARACTERS]
    if kind == "python":
        return [example for example in found if ">>>" in example.input]
    return [example for example in found if not example.input.startswith(("{", "["))] if kind != "tool" else []


def _example(example: ApiExample, mark: str) -> str:
    code = as_code(example) if ">>>" in example.input else example.input.strip("\n")
    if ">>>" not in example.input and example.output:
        code = f"{code}\n\n{heading('output') if mark == '#' else mark + ' ' + heading('output')}\n{example.output}"
    said = first_sentence(example.description) if example.description else ""
    return f"{_comment(said, mark)}\n{code}" if said else code


def as_code(example: ApiExample) -> str:
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


def _comment(text: str, mark: str = "#") -> str:
    return "\n".join(f"{mark} {line}".rstrip() for line in textwrap.wrap(" ".join(text.split()), 98))
