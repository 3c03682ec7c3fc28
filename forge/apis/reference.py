"""The reference prose of one API: complete, readable, code as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from forge.apis.calls import api_of, base_url, ecosystem
from forge.apis.property_order import in_order
from forge.apis.templates import heading, templates
from forge.schema import ApiEntity, ApiExample, canonical_json
from forge.text.markup import cut, first_sentence

COMFORTABLE_CHARACTERS = 24_000
"""Above this length a text leaves out further examples and nested fields."""

_MAX_PARAMETER_LINES = 80
_MAX_NESTED_LINES = 120
_MAX_EXAMPLES = 4
_MAX_EXAMPLE_CHARACTERS = 3000


def reference(entity: ApiEntity, max_characters: int = 24_000) -> str:
    """Name, call, description, parameters, result, errors, examples. When it would be longer than 24,000 characters,
    further examples and nested fields are left out; what is then still longer than ``max_characters`` is cut."""
    text = ""
    for examples, depth in ((_MAX_EXAMPLES, 3), (_MAX_EXAMPLES, 2), (1, 1)):
        text = _reference(entity, examples, depth)
        if len(text) <= min(max_characters, COMFORTABLE_CHARACTERS):
            break
    return cut(text, max_characters)


def _reference(entity: ApiEntity, examples: int, depth: int) -> str:
    blocks = [_heading(entity), _said(entity)]
    if entity.auth not in {"", "none"} and ecosystem(entity) != "aws":  # AWS signs every request
        blocks.append(f"{heading('authentication')} {entity.auth}")
    blocks += _parameter_blocks(entity, depth)
    blocks.append(_returns_block(entity, depth))
    if entity.errors:
        blocks.append(
            "\n".join([heading("errors"), *(_entry(error.name, "", error.description, 0) for error in entity.errors)])
        )
    shown = [_example_text(example) for example in entity.examples[:examples]]
    shown = [text for text in shown if text and text not in entity.description]
    if shown:
        blocks.append("\n\n".join([heading("examples") if len(shown) > 1 else heading("example"), *shown]))
    return "\n\n".join(block for block in blocks if block)


def _said(entity: ApiEntity) -> str:
    """The description; above it a summary that its beginning does not hold."""
    summary, description = entity.summary, entity.description
    if not summary or not description:
        return description or summary
    folded = _folded(summary)
    said = folded in _folded(description)[: len(folded) + 200]
    return description if said else f"{summary}\n\n{description}"


def _folded(text: str) -> str:
    return "".join(character for character in text[:2000].lower() if character.isalnum())


def _heading(entity: ApiEntity) -> str:
    """What it is called and where it belongs; in a language its declaration, alone where that names it in full."""
    words = templates()
    if entity.entity_type in {"operation", "tool"}:
        title = words.titles["operation" if entity.version else "operation_without_version"]
    elif entity.provider == "python" and not entity.declaration:
        return ("class " if entity.entity_type == "class" else "") + python_signature(entity)
    elif entity.provider == "python" and (declaration := _qualified_declaration(entity)):
        return declaration
    else:
        title = words.titles["entity" if entity.version else "entity_without_version"]
    line = title.format(
        name=entity.name,
        api=api_of(entity),
        language=words.languages.get(entity.provider, entity.provider),
        service=entity.service,
        version=entity.version,
        kind=entity.entity_type,
    )
    if ecosystem(entity) == "http" and (address := base_url(entity)):
        return f"{line}\n\n{heading('base_url')} {address}"
    shown = entity.declaration not in {"", entity.name}
    return f"{line}\n\n{entity.declaration}" if shown else line


def _qualified_declaration(entity: ApiEntity) -> str:
    """A declaration that names its object in full: ``encode(o)`` is ``json.JSONEncoder.encode(o)``. "" for one that
    calls it otherwise."""
    owner, _, last = entity.name.rpartition(".")
    if entity.name in entity.declaration:
        return entity.declaration
    return f"{owner}.{entity.declaration}" if owner and entity.declaration.startswith(f"{last}(") else ""


def python_signature(entity: ApiEntity, width: int = 100) -> str:
    """``name(a: int, b=None, **kwargs) -> str``; one parameter a line when that is longer than ``width``."""
    parts = []
    for name, schema in in_order(entity.parameters).items():
        if schema.get("x-extra"):
            continue  # documented, but taken by **kwargs
        annotation = "" if "x-type" in schema else _annotation(schema)
        part = f"{name}: {annotation}" if annotation and len(annotation) <= 80 else name
        if "default" in schema:
            part += (" = " if ": " in part else "=") + repr(schema["default"])
        elif "x-default" in schema:
            part += (" = " if ": " in part else "=") + schema["x-default"]
        elif name not in entity.parameters.get("required", ()) and not name.startswith("*"):
            part += "=..."
        parts.append(part)
    result = "" if "x-type" in entity.returns else _annotation(entity.returns)
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
    if schema.get("x-annotation"):
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
    properties = in_order(entity.parameters)
    if _is_of_a_language(entity):
        # the signature above shows names, types and defaults; only what is said about them is repeated
        python = entity.provider == "python"
        shown = [
            _entry(name, type_words(schema, python=python), str(schema.get("description", "")), 0)
            for name, schema in list(properties.items())[:_MAX_PARAMETER_LINES]
            if schema.get("description")
        ]
        return ["\n".join([heading("parameters"), *shown])] if shown else []
    if not properties:
        return []
    lines = _schema_lines(told_parameters(entity.parameters), depth, _MAX_PARAMETER_LINES + _MAX_NESTED_LINES, {})
    return ["\n".join([heading("parameters"), *lines])]


def told_parameters(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without optional headers that nothing is said about: what signs a request, repeated in every operation."""
    required = set(schema.get("required", ()))
    kept = {
        name: node
        for name, node in schema.get("properties", {}).items()
        if node.get("x-in") != "header" or name in required or node.get("description")
    }
    return {**schema, "properties": kept}


def _is_of_a_language(entity: ApiEntity) -> bool:
    """Whether a signature or declaration, which stands above, is how programmers write the interface."""
    return ecosystem(entity) == "python" or (ecosystem(entity) == "other" and bool(entity.declaration))


def _schema_lines(schema: Mapping[str, Any], depth: int, room: int, told: dict[str, str], level: int = 0) -> list[str]:
    """One entry a property, required ones first; nested objects indented below, ``depth`` levels of them. An object
    that was told before (``told``: fields -> where) is referred to, not repeated."""
    properties = in_order(schema)
    required = set(schema.get("required", ()))
    ordered = [name for name in properties if name in required] + [name for name in properties if name not in required]
    lines: list[str] = []
    for name in ordered:
        if len(lines) >= room:
            lines.append("  " * level + f"- ... and {len(ordered) - ordered.index(name)} more")
            break
        node = properties[name]
        said = [
            type_words(node),
            "required" if name in required else "",
            "deprecated" if node.get("deprecated") else "",
        ]
        description = str(node.get("description", ""))
        inner = _inner_object(node) if level + 1 < depth else None
        fields = canonical_json(inner["properties"]) if inner is not None else ""
        if fields in told:
            said.append(f"fields as in {told[fields]}")
            inner = None
        words = ", ".join(word for word in said if word)
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


def type_words(schema: Mapping[str, Any], python: bool = False) -> str:
    if stated := schema.get("x-annotation") or schema.get("x-type"):
        return str(stated)
    if python:
        return _annotation(schema) if schema else ""
    kind = schema.get("type")
    for choice in ("anyOf", "oneOf"):
        if kind is None and isinstance(schema.get(choice), list):
            parts = [type_words(part) for part in schema[choice] if isinstance(part, Mapping)]
            return " or ".join(dict.fromkeys(part for part in parts if part))
    if isinstance(kind, list):
        return " or ".join(templates().type_words.get(str(part), str(part)) for part in kind)
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f"list of {type_words(schema['items'])}" if schema["items"] else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        inner = type_words(schema["additionalProperties"])
        return f"map of string to {inner}" if inner else "map"
    words = templates().type_words.get(str(kind), str(kind or ""))
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
    if not _is_of_a_language(entity):
        lines = _schema_lines(schema, min(depth, 2), _MAX_NESTED_LINES, {}) if schema.get("properties") else []
        if not lines:
            text = str(schema.get("description", ""))
            return (
                f"{heading('returns')} {text or type_words(schema)}".rstrip()
                if text or type_words(schema) not in {"", "object"}
                else ""
            )
        return "\n".join([heading("returns"), *lines])
    if "prefixItems" in schema and any("description" in part for part in schema["prefixItems"]):
        parts = [
            _entry(
                str(part.get("title") or number + 1),
                type_words(part, python=True),
                str(part.get("description", "")),
                0,
            )
            for number, part in enumerate(schema["prefixItems"])
        ]
        return "\n".join([heading("returns"), *parts])
    description = str(schema.get("description", ""))
    if not description:
        return ""  # the signature names the type
    words = "" if entity.declaration else type_words(schema, python=True)
    return f"{heading('returns')} {f'({words}) ' if words else ''}{description}"


def _example_text(example: ApiExample) -> str:
    """One example as the source writes it; JSON of a recorded request is laid out over lines."""
    parts = [example.description] if example.description else []
    recorded = example.input.startswith("{")
    code = _pretty(example.input) if recorded else example.input
    output = _pretty(example.output) if recorded else example.output
    if ">>>" in code:
        parts.append("\n".join(part for part in (code, output) if part))
    elif code.startswith(("{", "[")):
        parts.append(f"{heading('request')}\n{code}")
        if output:
            parts.append(f"{heading('response')}\n{output}")
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
