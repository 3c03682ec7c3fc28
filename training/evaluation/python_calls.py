"""Model output as function calls, by parsing alone: nothing that a model writes is ever evaluated or imported."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 16_384
MAX_INTEGER_BITS = 256
"""Of what is computed."""

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class NotCalls(Exception):
    """The text is no list of calls with literal arguments; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """``name``: with its dots; ``arguments``: by name, in the order that they were written in."""

    name: str
    arguments: Mapping[str, Any]


def list_candidates(text: str) -> list[str]:
    """What of an answer may be a list of calls: all of it, with brackets around it where they are missing, as BFCL's
    own decoder reads it; else its end from the last line that begins with a bracket. Too long ones are left out."""
    text = text.strip("`\n ")
    whole = text if text.startswith("[") else "[" + text
    found = [whole if whole.endswith("]") else whole + "]"]
    if not text.startswith("[") and "\n[" in text:
        end = text[text.rindex("\n[") + 1 :]
        found.append(end if end.endswith("]") else end + "]")
    return [candidate for candidate in found if len(candidate) <= MAX_CHARACTERS]


def call_list(text: str) -> str:
    """The first of :func:`list_candidates` that is a Python list. Raises :class:`NotCalls`."""
    return _list_of(text)[0]


def calls_of(text: str, *, symbols_as_text: bool = False) -> list[Call]:
    """Calls in ``[f(a=1), g.h(b="x")]``; the brackets may be missing, and other lines may stand before them.

    Values are strings, numbers with an optional sign, True, False, None, lists, tuples and dicts of these, and what
    arithmetic on numbers and the joining of strings give as far as it stays small. Names, calls, comprehensions,
    f-strings, attribute access on values, ``*args`` and positional arguments are refused. Raises :class:`NotCalls`.

    ``symbols_as_text`` reads what BFCL's decoder reads besides: a name or a subscript is its own text, and so is a call
    without keyword arguments; one with them is {name: arguments}; positional arguments of a call are passed over.

    At most 16,384 characters are parsed. The parser bounds nesting itself and takes less than 0.1 s for them.
    """
    _, elements = _list_of(text)
    reader = _Reader(symbols_as_text)
    try:
        return [reader.call(element) for element in elements]
    except RecursionError:
        raise NotCalls("nested too deeply") from None


def _list_of(text: str) -> tuple[str, list[ast.expr]]:
    for candidate in list_candidates(text):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about what the model wrote: "\d" in a string, 1is 2
                tree = ast.parse(candidate, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        if isinstance(tree, ast.List):
            if not tree.elts:
                raise NotCalls("no calls")
            return candidate, tree.elts
    raise NotCalls("no Python list")


@dataclass(frozen=True, slots=True)
class _Reader:
    symbols_as_text: bool

    def call(self, node: ast.expr) -> Call:
        if not isinstance(node, ast.Call):
            raise NotCalls("not a call")
        if node.args and not self.symbols_as_text:
            raise NotCalls("positional argument")
        arguments: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg is not None:
                arguments[keyword.arg] = value
            elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
                arguments |= value
            else:
                raise NotCalls("bad ** argument")
        return Call(_name(node.func), arguments)

    def value(self, node: ast.expr | None) -> Any:
        if isinstance(node, ast.Constant):
            return self.constant(node.value)
        if isinstance(node, ast.UnaryOp):
            return _signed(node)
        if isinstance(node, ast.BinOp):
            return _computed(node)
        if isinstance(node, ast.List):
            return [self.value(element) for element in node.elts]
        if isinstance(node, ast.Tuple):
            return tuple(self.value(element) for element in node.elts)
        if isinstance(node, ast.Dict):
            keys = [self.value(key) for key in node.keys]
            try:
                return dict(zip(keys, (self.value(value) for value in node.values), strict=True))
            except TypeError:
                raise NotCalls("unhashable key") from None
        if self.symbols_as_text:
            return self.symbol(node)
        raise NotCalls(f"not a literal: {type(node).__name__}")

    def constant(self, value: Any) -> Any:
        if value is Ellipsis and self.symbols_as_text:
            return "..."
        if isinstance(value, str | int | float | bool | None) or self.symbols_as_text:
            return value
        raise NotCalls(f"not a literal: {type(value).__name__}")

    def symbol(self, node: ast.expr | None) -> Any:
        if isinstance(node, ast.Call) and node.keywords:
            call = self.call(node)
            return {call.name: dict(call.arguments)}
        if isinstance(node, ast.Name | ast.Call):
            return ast.unparse(node)
        if isinstance(node, ast.Subscript):
            return f"{ast.unparse(node.value)}[{ast.unparse(node.slice)}]"
        raise NotCalls(f"not a literal: {type(node).__name__}")


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    raise NotCalls("not a function name")


def _signed(node: ast.UnaryOp) -> Any:
    if isinstance(node.op, ast.USub | ast.UAdd) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
    raise NotCalls("not a signed number")


def _computed(node: ast.expr) -> Any:
    """Arithmetic on numbers, none of which may be large (``9**9**9`` costs nothing), and strings that are joined."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, str):
        value: Any = node.value
    elif isinstance(node, ast.UnaryOp):
        value = _signed(node)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _computed(node.left), _computed(node.right)
        if isinstance(node.op, ast.Pow) and _is_large_power(left, right):
            raise NotCalls("too large a number")
        if (isinstance(left, str) or isinstance(right, str)) and not (
            isinstance(node.op, ast.Add) and type(left) is type(right)
        ):
            raise NotCalls("not arithmetic on numbers")
        try:
            value = _OPERATORS[type(node.op)](left, right)
        except ArithmeticError:
            raise NotCalls("arithmetic") from None
    else:
        raise NotCalls("not arithmetic on numbers")
    if isinstance(value, complex) or (isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS):
        raise NotCalls("too large a number")
    return value


def _is_large_power(base: float, exponent: float) -> bool:
    return isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > MAX_INTEGER_BITS
