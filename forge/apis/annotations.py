"""Python annotations and defaults, as text, to JSON Schema. Texts are parsed, never evaluated."""

from __future__ import annotations

import ast
import math
import re
import warnings
from functools import lru_cache
from typing import Any

from forge.text.markup import cut

_TYPES = {
    "str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "List": "array",
    "Sequence": "array", "Iterable": "array", "tuple": "array", "Tuple": "array", "set": "array", "Set": "array",
    "dict": "object", "Dict": "object", "Mapping": "object", "None": "null", "string": "string", "integer": "integer",
    "boolean": "boolean", "number": "number", "bytes": "string",
}  # fmt: skip
_MAX_CHARACTERS = 300
_ASIDE = re.compile(r",? *[*(]*\b(?:optional|defaults?)\b.*$", re.IGNORECASE)
_PLAIN_TYPE = re.compile(
    r"(?:an? )?:?[:\w]*?~?(str|string|int|integer|float|bool|boolean|list|dict|tuple)(?: of [\w.]+)?$", re.IGNORECASE
)


def schema_of(annotation: str) -> dict[str, Any]:
    """The JSON Schema that an annotation's text stands for.

    Plain types become JSON types (``Optional[int]`` -> ``{"type": ["integer", "null"]}``, ``list[str]``,
    ``Literal["a", "b"]``); for everything else the text itself is kept as ``x-annotation``, beside what is known of it.
    Empty text gives ``{}``.
    """
    text = " ".join(annotation.split())
    if not text:
        return {}
    if len(text) > _MAX_CHARACTERS:
        return {"x-annotation": text[: _MAX_CHARACTERS - 4] + " ..."}
    found = _parsed(text)
    return dict(found) if found is not None else {"x-annotation": text}


@lru_cache(maxsize=4096)
def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return _convert(_expression(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _expression(text: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in other people's strings
        return ast.parse(text.lstrip(), mode="eval").body


def _convert(node: ast.expr) -> dict[str, Any] | None:
    """A schema, or None when the node holds something that JSON Schema has no plain word for."""
    if isinstance(node, ast.Constant):
        if node.value is None:
            return {"type": "null"}
        return _parsed(node.value) if isinstance(node.value, str) and len(node.value) <= _MAX_CHARACTERS else None
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        if name == "Any":
            return {}
        return {"type": _TYPES[name]} if name in _TYPES else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([node.left, node.right])
    if isinstance(node, ast.Subscript):
        return _subscript(node)
    return None


def _subscript(node: ast.Subscript) -> dict[str, Any] | None:
    base = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
    inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if base == "Optional" and len(inner) == 1:
        return _union([inner[0], ast.Constant(value=None)])
    if base == "Union":
        return _union(inner)
    if base == "Annotated":
        return _convert(inner[0])
    if base == "Literal":
        values = [item.value for item in inner if isinstance(item, ast.Constant)]
        plain = [value for value in values if value is None or isinstance(value, str | int | float | bool)]
        return {"enum": plain} if plain and len(plain) == len(inner) else None
    kind = _TYPES.get(base)
    if kind == "array":
        if base.lower() == "tuple" and not (len(inner) == 2 and _is_ellipsis(inner[1])):
            items = [_convert(item) for item in inner]
            return (
                {"type": "array", "prefixItems": [item or {} for item in items]}
                if all(i is not None for i in items)
                else None
            )
        items_of = _convert(inner[0])
        return {"type": "array", "items": items_of} if items_of is not None else None
    if kind == "object" and len(inner) == 2:
        values_of = _convert(inner[1])
        if values_of is None:
            return None
        return {"type": "object", "additionalProperties": values_of} if values_of else {"type": "object"}
    return None


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _union(nodes: list[ast.expr]) -> dict[str, Any] | None:
    schemas = [_convert(node) for node in nodes]
    if any(schema is None for schema in schemas):
        return None
    flat: list[dict[str, Any]] = []
    for schema in schemas:
        assert schema is not None
        flat += schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
    if any(not schema for schema in flat):
        return {}
    if all(set(schema) == {"type"} for schema in flat):
        types: list[str] = []
        for schema in flat:
            stated = schema["type"]
            types += [kind for kind in (stated if isinstance(stated, list) else [stated]) if kind not in types]
        return {"type": types[0] if len(types) == 1 else types}
    return {"anyOf": flat}


def schema_of_prose(annotation: str) -> dict[str, Any]:
    """The schema of a type written for people ("int, optional", "list of str", "{'a', 'b'}"): the text as ``x-type``,
    beside the JSON type or the values that it plainly means, if it does."""
    stated = " ".join(annotation.replace("`", "").split())
    if not stated:
        return {}
    told = {"x-type": cut(stated, _MAX_CHARACTERS)}
    if len(stated) > _MAX_CHARACTERS:
        return told
    text = _ASIDE.sub("", stated)
    choices = _choices(text)
    if choices:
        return {"enum": choices, **told}
    schema = schema_of(text.replace(" or ", " | "))
    if "x-annotation" not in schema:
        return {**schema, **told}
    match = _PLAIN_TYPE.match(text)
    return {"type": _TYPES[match.group(1).lower()], **told} if match else told


def _choices(text: str) -> list[Any]:
    """The values of ``'a', 'b'`` or ``{1, 2}``; none where something else stands among them."""
    if not text.startswith(("'", '"', "{")) or len(text) > _MAX_CHARACTERS:
        return []
    inside = text.removeprefix("{").removesuffix("}") if text.startswith("{") else text
    try:
        values = ast.literal_eval(_expression(f"[{inside}]"))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return []
    plain = [value for value in values if value is None or isinstance(value, str | int | float | bool)]
    return plain if len(plain) == len(values) and _is_json(plain) else []


def default_of(text: str) -> dict[str, Any]:
    """``{"default": value}`` for a literal default, ``{"x-default": text}`` for any other expression."""
    if len(text) <= _MAX_CHARACTERS:
        try:
            value = ast.literal_eval(_expression(text))
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            pass
        else:
            if _is_json(value):
                return {"default": value}
    return {"x-default": text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 4] + " ..."}


def _is_json(value: object) -> bool:
    if value is None or isinstance(value, str | bool):
        return not isinstance(value, str) or value.isprintable() or "\\x" not in ascii(value)
    if isinstance(value, int):
        return abs(value) < 2**63
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        return all(_is_json(item) for item in value)
    return isinstance(value, dict) and all(isinstance(key, str) and _is_json(item) for key, item in value.items())
