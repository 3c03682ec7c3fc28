"""ApiEntity -> training texts.

Every entity gives its reference prose; and one further form that teaches another use of the same interface, chosen by
a hash of the entity's key so that it does not change from night to night. Texts are written from what the source
states: values of calls come from its examples, its enumerations, its defaults, else from a placeholder by type.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from forge.apis.calls import Call, call_of, cli_words, python_call, snake_case
from forge.apis.docstring_sections import split_session
from forge.apis.templates import HEADINGS, OPENINGS, TEMPLATES_HASH, TYPE_WORDS
from forge.schema import ApiEntity, ApiExample, Document, canonical_json, content_hash, split_of
from forge.text.markup import cut, first_sentence

_COMFORTABLE_CHARACTERS = 24_000
_MAX_PARAMETER_LINES = 80
_MAX_NESTED_LINES = 120
_MAX_EXAMPLES = 4
_MAX_EXAMPLE_CHARACTERS = 3000


def render(entity: ApiEntity, held_out_share: float = 0.01, max_characters: int = 24_000) -> Iterator[Document]:
    """The reference document and at most one further form. Texts have at most ``max_characters`` characters; both are
    in the split of the entity's key."""
    split = split_of(entity.entity_key, held_out_share)
    forms = [("reference", reference(entity, max_characters))]
    name = further_form(entity)
    if name is not None:
        forms.append((name, _FORMS[name](entity, max_characters)))
    for form, text in forms:
        if text:
            yield Document(kind="api_doc", form=form, text=text, split=split, entity_key=entity.entity_key)


def render_version() -> str:
    """Changes whenever this module would write another text for the same entity."""
    return content_hash(RENDER_VERSION, TEMPLATES_HASH)


RENDER_VERSION = "1"


def further_form(entity: ApiEntity) -> str | None:
    """The second form of an entity; None when its source states too little for one: a call that is made of
    placeholders teaches nothing that the reference does not."""
    suitable: list[str] = []
    properties = entity.parameters.get("properties", {})
    described = sum(1 for schema in properties.values() if schema.get("description"))
    if entity.provider == "python":
        if entity.entity_type == "function" and described:
            suitable.append("function_schema")
        if described > 1 or any(">>>" in example.input for example in entity.examples):
            suitable.append("code_call")
    elif properties or entity.examples:
        suitable += ["function_schema", "code_call"]
        if entity.provider == "aws":
            suitable.append("cli")
    if not suitable:
        return None
    return suitable[_choice(entity, "form", len(suitable))]


def _choice(entity: ApiEntity, what: str, count: int) -> int:
    return int(content_hash(what, entity.entity_key)[:8], 16) % count


def _title(entity: ApiEntity) -> str:
    if entity.provider == "aws":
        return f"{entity.service} {entity.name}"
    return entity.name


# reference ------------------------------------------------------------------------------------------------------


def reference(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """Name, call, description, parameters, result, errors, examples. When it would be longer than 24,000 characters,
    further examples and nested fields are left out; what is then still longer than ``max_characters`` is cut."""
    text = ""
    for examples, depth in ((_MAX_EXAMPLES, 3), (_MAX_EXAMPLES, 2), (1, 1)):
        text = _reference(entity, examples, depth)
        if len(text) <= min(max_characters, _COMFORTABLE_CHARACTERS):
            break
    return cut(text, max_characters)


def _reference(entity: ApiEntity, examples: int, depth: int) -> str:
    blocks = [_heading(entity)]
    description = entity.description or entity.summary
    if description:
        blocks.append(description)
    blocks += _parameter_blocks(entity, depth)
    returned = _returns_block(entity, depth)
    if returned:
        blocks.append(returned)
    if entity.errors:
        blocks.append(
            "\n".join([HEADINGS["errors"], *(_entry(error.name, "", error.description, 0) for error in entity.errors)])
        )
    shown = [_example_text(example) for example in entity.examples[:examples]]
    shown = [text for text in shown if text]
    if shown:
        blocks.append("\n\n".join([HEADINGS["examples"] if len(shown) > 1 else HEADINGS["example"], *shown]))
    return "\n\n".join(blocks)


def _heading(entity: ApiEntity) -> str:
    if entity.entity_type == "operation":
        origin = f"{entity.provider} {entity.service}" + (f", version {entity.version}" if entity.version else "")
        return f"{entity.name} ({origin})"
    signature = python_signature(entity)
    kind = "class " if entity.entity_type == "class" else ""
    return f"{kind}{signature}"


def python_signature(entity: ApiEntity, width: int = 100) -> str:
    """``name(a: int, b=None, **kwargs) -> str``; one parameter a line when that is longer than ``width``."""
    parts = []
    for name, schema in entity.parameters.get("properties", {}).items():
        annotation = _annotation(schema)
        part = f"{name}: {annotation}" if annotation and len(annotation) <= 80 else name
        if "default" in schema:
            part += (" = " if ": " in part else "=") + repr(schema["default"])
        elif "x-default" in schema:
            part += (" = " if ": " in part else "=") + schema["x-default"]
        elif name not in entity.parameters.get("required", ()) and not name.startswith("*"):
            part += "=..."
        parts.append(part)
    result = _annotation(entity.returns) if entity.returns else ""
    arrow = f" -> {result}" if result and len(result) <= 80 else ""
    if entity.parameters.get("additionalProperties") is True:
        parts = ["..."]  # the source does not say: a constructor that is inherited
    line = f"{entity.name}({', '.join(parts)}){arrow}"
    if len(line) <= width or len(parts) < 2:
        return line
    return f"{entity.name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){arrow}"


_PYTHON_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "null": "None",
}


def _annotation(schema: Mapping[str, Any]) -> str:
    """The annotation of a Python parameter: the source's own text, or the one that its JSON type came from."""
    if "x-annotation" in schema:
        return str(schema["x-annotation"])
    if "anyOf" in schema:
        parts = [_annotation(part) for part in schema["anyOf"]]
        return " | ".join(parts) if all(parts) else ""
    kind = schema.get("type")
    if kind is None:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]" if "enum" in schema else ""
    if isinstance(kind, list):
        return " | ".join(_PYTHON_TYPES.get(str(part), str(part)) for part in kind)
    if kind == "array" and isinstance(schema.get("items"), Mapping) and (inner := _annotation(schema["items"])):
        return f"list[{inner}]"
    if kind == "array" and "prefixItems" in schema:
        parts = [_annotation(part) or "Any" for part in schema["prefixItems"]]
        return f"tuple[{', '.join(parts)}]"
    return _PYTHON_TYPES.get(kind, str(kind))


def _parameter_blocks(entity: ApiEntity, depth: int) -> list[str]:
    properties = entity.parameters.get("properties", {})
    if entity.provider == "python":
        # the signature above shows names, types and defaults; only what is said about them is repeated
        shown = [
            _entry(name, _type_words(schema, python=True), str(schema.get("description", "")), 0)
            for name, schema in list(properties.items())[:_MAX_PARAMETER_LINES]
            if schema.get("description")
        ]
        return ["\n".join([HEADINGS["parameters"], *shown])] if shown else []
    if not properties:
        return []
    lines = _schema_lines(entity.parameters, depth, _MAX_PARAMETER_LINES + _MAX_NESTED_LINES, {})
    return ["\n".join([HEADINGS["parameters"], *lines])]


def _schema_lines(schema: Mapping[str, Any], depth: int, room: int, told: dict[str, str], level: int = 0) -> list[str]:
    """One entry a property, required ones first; nested objects indented below, ``depth`` levels of them. An object
    that was told before (``told``: fields -> where) is referred to, not repeated."""
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    ordered = [name for name in properties if name in required] + [name for name in properties if name not in required]
    lines: list[str] = []
    for name in ordered:
        if len(lines) >= room:
            lines.append("  " * level + f"- ... and {len(ordered) - ordered.index(name)} more")
            break
        node = properties[name]
        words = _type_words(node)
        if name in required:
            words += ", required"
        if node.get("deprecated"):
            words += ", deprecated"
        description = str(node.get("description", ""))
        inner = _inner_object(node) if level + 1 < depth else None
        fields = canonical_json(inner["properties"]) if inner is not None else ""
        if fields in told:
            words += f", fields as in {told[fields]}"
            inner = None
        lines.append(_entry(name, words, description if level < 2 else first_sentence(description, 160), level))
        if inner is not None:
            told[fields] = name
            lines += _schema_lines(inner, depth, max(room - len(lines), 0), told, level + 1)
    return lines


def _inner_object(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The object with properties of its own that a value consists of: itself, an array's items, a map's values."""
    for _ in range(3):
        if node.get("properties"):
            return node
        following = node.get("items") or node.get("additionalProperties")
        if not isinstance(following, Mapping):
            return None
        node = following
    return None


def _type_words(schema: Mapping[str, Any], python: bool = False) -> str:
    if "x-annotation" in schema or "x-type" in schema:
        return str(schema.get("x-annotation") or schema["x-type"])
    if python:
        return _annotation(schema)
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(TYPE_WORDS.get(str(part), str(part)) for part in kind)
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f"list of {_type_words(schema['items'])}" if schema["items"] else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        inner = _type_words(schema["additionalProperties"])
        return f"map of string to {inner}" if inner else "map"
    words = TYPE_WORDS.get(str(kind), str(kind or ""))
    if schema.get("format") in {"date-time", "date", "byte", "binary"}:
        words = {"date-time": "timestamp", "date": "date", "byte": "bytes", "binary": "bytes"}[schema["format"]]
    if "enum" in schema:
        values = [value if isinstance(value, str) else canonical_json(value) for value in schema["enum"]]
        listed = " | ".join(values[:30]) + (" | ..." if len(values) > 30 else "")
        return f"{words}: {listed}" if words else listed
    return words


def _entry(name: str, words: str, description: str, level: int) -> str:
    margin = "  " * level
    label = f"{margin}- {name}" + (f" ({words})" if words else "")
    if not description:
        return label
    first, *rest = description.split("\n")
    lines = [f"{label}: {first}"]
    lines += [f"{margin}  {line}" if line else "" for line in rest]
    return "\n".join(lines)


def _returns_block(entity: ApiEntity, depth: int) -> str:
    schema = entity.returns
    if not schema:
        return ""
    if entity.provider != "python":
        lines = _schema_lines(schema, min(depth, 2), _MAX_NESTED_LINES, {}) if schema.get("properties") else []
        if not lines:
            text = str(schema.get("description", ""))
            return (
                f"{HEADINGS['returns']} {text or _type_words(schema)}".rstrip()
                if text or _type_words(schema) not in {"", "object"}
                else ""
            )
        return "\n".join([HEADINGS["returns"], *lines])
    if "prefixItems" in schema and any("description" in part for part in schema["prefixItems"]):
        parts = [
            _entry(
                str(part.get("title") or number + 1),
                _type_words(part, python=True),
                str(part.get("description", "")),
                0,
            )
            for number, part in enumerate(schema["prefixItems"])
        ]
        return "\n".join([HEADINGS["returns"], *parts])
    description = str(schema.get("description", ""))
    if not description:
        return ""  # the signature names the type
    words = _type_words(schema, python=True)
    return f"{HEADINGS['returns']} {f'({words}) ' if words else ''}{description}"


def _example_text(example: ApiExample) -> str:
    """One example as the source writes it; JSON of a recorded request is laid out over lines."""
    parts = [example.description] if example.description else []
    recorded = example.input.startswith("{")
    code = _pretty(example.input) if recorded else example.input
    output = _pretty(example.output) if recorded else example.output
    if ">>>" in code:
        parts.append("\n".join(part for part in (code, output) if part))
    elif code.startswith(("{", "[")):
        parts.append(f"{HEADINGS['request']}\n{code}")
        if output:
            parts.append(f"{HEADINGS['response']}\n{output}")
    else:
        parts += [part for part in (code, output) if part]
    text = "\n\n".join(parts) if ">>>" in code else "\n".join(parts)
    return text if len(text) <= _MAX_EXAMPLE_CHARACTERS else ""


def _pretty(text: str) -> str:
    if not text.startswith(("{", "[")):
        return text
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    except ValueError:
        return text


# function schema ------------------------------------------------------------------------------------------------


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
            OPENINGS["function_schema"][_choice(entity, "opening", len(OPENINGS["function_schema"]))].format(
                title=_title(entity)
            ),
            _json(description, indented=_choice(entity, "layout", 2) == 0),
        ]
        if call is not None:
            blocks += _call_blocks(call, _json({"name": description["name"], "arguments": call.arguments}, False))
        text = "\n\n".join(block for block in blocks if block)
        if len(text) <= min(max_characters, _COMFORTABLE_CHARACTERS):
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


def schema_for_calls(schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """A schema with our own ``x-`` keywords written as descriptions, variadic parameters left out, and nested objects
    below ``depth`` cut."""
    result: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword == "properties":
            if depth > 0:
                result["properties"] = {
                    name: schema_for_calls(node, depth - 1) for name, node in value.items() if not name.startswith("*")
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
        told = f"({stated})"
        result["description"] = f"{result['description']} {told}" if result.get("description") else told
    return result


# command line ---------------------------------------------------------------------------------------------------


def cli(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """Synopsis, options and an invocation of an operation, in the way the AWS command line writes them."""
    command = f"{entity.provider} {entity.service} {cli_words(entity.name)}"
    properties = entity.parameters.get("properties", {})
    required = [name for name in properties if name in set(entity.parameters.get("required", ()))]
    optional = [name for name in properties if name not in set(required)]
    synopsis = [command] + [f"--{cli_words(name)} {_cli_value(properties[name])}".rstrip() for name in required]
    synopsis += [
        f"[--{cli_words(name)} {_cli_value(properties[name])}".rstrip() + "]"
        for name in optional[:_MAX_PARAMETER_LINES]
    ]
    lines = [
        OPENINGS["cli"][_choice(entity, "opening", len(OPENINGS["cli"]))].format(title=command, summary=entity.summary)
    ]
    lines.append(HEADINGS["synopsis"] + "\n" + _wrapped(synopsis))
    options = [
        f"  --{cli_words(name)} ({_type_words(properties[name])})"
        + (f"\n{textwrap.indent(_brief(properties[name]), '      ')}" if properties[name].get("description") else "")
        for name in [*required, *optional][:_MAX_PARAMETER_LINES]
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
    import shlex

    return shlex.quote(text)


def _wrapped(words: Sequence[str], margin: str = "  ") -> str:
    """A command over several lines, continued with a backslash, options on lines of their own when it is long."""
    line = margin + " ".join(words)
    if len(line) <= 100:
        return line
    return margin + words[0] + "".join(f" \\\n{margin}    {word}" for word in words[1:])


# a call in code -------------------------------------------------------------------------------------------------


def code_call(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """The interface as commented Python: what it does, then a call with the source's own values, then its response."""
    opening = OPENINGS["code_call"][_choice(entity, "opening", len(OPENINGS["code_call"]))].format(title=_title(entity))
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
            for name, schema in entity.parameters.get("properties", {}).items()
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


_FORMS: Mapping[str, Callable[[ApiEntity, int], str]] = {
    "function_schema": function_schema,
    "cli": cli,
    "code_call": code_call,
}
