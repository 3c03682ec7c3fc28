"""Python literals in texts, as the JSON values that they stand for: ``{'city': "Oslo", 'days': (1, 2)}``.

Tuples are lists, and keys that are no texts are written as JSON writes them. JSON's ``true``, ``false`` and ``null``
may stand among them. What JSON has not is refused: sets, bytes, complex and infinite numbers, integers beyond 64 bits,
half surrogate pairs, two values under one key. Nothing is evaluated.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping
from typing import Any

from forge.schema import canonical_json
from forge.trajectories.formats.fields import MAX_NESTING, UnusableRecordError

MAX_CHARACTERS = 200_000
"""Of source that is parsed: its syntax tree takes up to 500 bytes a character."""
_JSON_NAMES: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
_PARSER_ERRORS = (ValueError, SyntaxError, MemoryError, RecursionError)


def literal(source: str, where: str) -> Any:
    """The value of a literal. Raises ``malformed_arguments``, and ``too_deeply_nested`` beyond :data:`MAX_NESTING`
    levels."""
    try:
        return _value(_expression(source), where)
    except _PARSER_ERRORS:
        raise UnusableRecordError("malformed_arguments", f"{where}: no literal: {source[:100]!r}") from None


def parsed_literal(source: str) -> Any:
    """The value of a literal; None when it is none."""
    try:
        return literal(source, "")
    except UnusableRecordError:
        return None


def keyword_arguments(source: str, where: str, *, has_bare_words: bool = False) -> dict[str, Any]:
    """The arguments of a call, ``city="Oslo", days=2``: every one has a name and a literal, or, with
    ``has_bare_words``, a word that is its own text. Raises what :func:`literal` raises."""
    try:
        call = _expression(f"f({source})")
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("not a call's arguments, or one without a name")
        arguments: dict[str, Any] = {}
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg in arguments:
                raise ValueError("an argument without a name, or a name that stands twice")
            if has_bare_words and isinstance(keyword.value, ast.Name):
                arguments[keyword.arg] = keyword.value.id
            else:
                arguments[keyword.arg] = _value(keyword.value, where, level=1)
        return arguments
    except _PARSER_ERRORS:
        raise UnusableRecordError("malformed_arguments", f"{where}: no arguments: {source[:100]!r}") from None


def _expression(source: str) -> ast.expr:
    if len(source) > MAX_CHARACTERS:
        raise ValueError(f"more than {MAX_CHARACTERS:,} characters")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in other people's strings
        return ast.parse(source.strip(), mode="eval").body


def _value(node: ast.expr, where: str, level: int = 0) -> Any:
    """The value of what stands inside ``level`` lists and objects."""
    if isinstance(node, (ast.List, ast.Tuple, ast.Dict)) and level == MAX_NESTING:
        raise UnusableRecordError("too_deeply_nested", f"{where}: a literal of more than {MAX_NESTING} levels")
    match node:
        case ast.Constant(value):
            return _scalar(value)
        case ast.Name(name) if name in _JSON_NAMES:
            return _JSON_NAMES[name]
        case ast.UnaryOp(ast.USub() | ast.UAdd() as sign, ast.Constant(int() | float() as value)) if not isinstance(
            value, bool
        ):
            return _scalar(-value if isinstance(sign, ast.USub) else value)
        case ast.List(items) | ast.Tuple(items):
            return [_value(item, where, level + 1) for item in items]
        case ast.Dict(keys, values):
            found = {_key(key): _value(value, where, level + 1) for key, value in zip(keys, values, strict=True)}
            if len(found) < len(keys):
                raise ValueError("two values under one key")
            return found
    raise ValueError(f"{type(node).__name__} is no literal of JSON")


def _scalar(value: object) -> Any:
    if isinstance(value, str):
        value.encode()  # raises for half a surrogate pair
        return value
    if value is None or isinstance(value, bool):
        return value
    if (isinstance(value, int) and -(2**63) <= value < 2**64) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{type(value).__name__} is no JSON")


def _key(node: ast.expr | None) -> str:
    if node is None or isinstance(node, (ast.List, ast.Tuple, ast.Dict)):
        raise ValueError("no key of an object")
    value = _value(node, "")
    return value if isinstance(value, str) else canonical_json(value)
