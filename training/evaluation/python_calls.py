"""Model output as function calls, by parsing alone: nothing that a model writes is ever evaluated or imported."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 4096
MAX_NESTING = 20


class NotCalls(Exception):
    """The text is no list of calls with literal arguments; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: Mapping[str, Any]


def calls_of(text: str) -> list[Call]:
    """Calls in ``[f(a=1), g.h(b="x")]``; the brackets may be missing, as BFCL's own decoder allows. What is said in
    the lines before the list does not count.

    Values are strings, finite numbers with an optional sign, True, False, None, lists, tuples and dicts of these.
    Operators, names, comprehensions, f-strings, attribute access on values, ``*args`` are refused, positional arguments
    too. Raises :class:`NotCalls`. Time is linear in the text, which is at most 4,096 characters and 20 brackets deep.
    """
    text = text.strip().strip("`").strip()
    if len(text) > MAX_CHARACTERS:
        raise NotCalls("too long")
    if _nesting(text) > MAX_NESTING:
        raise NotCalls("nested too deeply")
    if not text.startswith("[") and "\n[" in text:
        text = text[text.rindex("\n[") + 1 :]
    text = text if text.startswith("[") else "[" + text
    text = text if text.endswith("]") else text + "]"
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise NotCalls("not Python") from None
    if not isinstance(tree, ast.List) or not tree.elts:
        raise NotCalls("no calls")
    return [_call(element) for element in tree.elts]


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise NotCalls("not a call")
    if node.args:
        raise NotCalls("positional argument")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        value = _value(keyword.value)
        if keyword.arg is not None:
            arguments[keyword.arg] = value
        elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
            arguments |= value
        else:
            raise NotCalls("bad ** argument")
    return Call(_name(node.func), arguments)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    raise NotCalls("not a function name")


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(element) for element in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_value(key) for key in node.keys if key is not None]
        if all(isinstance(key, str | int | float | bool | None) for key in keys):
            return dict(zip(keys, (_value(value) for value in node.values), strict=True))
    raise NotCalls(f"not a literal: {type(node).__name__}")
