"""A call in real code -> a snippet that stands alone: its statement, the assignments that it needs and the imports."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from forge.usages.resolve import UNREADABLE, Binding, Code, FoundCall, Scope, Statement, push_children

MAX_LINES = 12
MAX_FREE_NAMES = 1
_MAX_COLUMNS = 110
_MAX_STATEMENTS = 8
_MAX_BLOCK_LINES = 8
_BUILTINS = frozenset(dir(builtins))
_SIMPLE = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Assert)
_BLOCKS = (ast.With, ast.For)
_NOT_ALONE = (ast.Await, ast.Yield, ast.YieldFrom, ast.AsyncFor, ast.AsyncWith)
_VALUES = (ast.Constant, ast.List, ast.Dict, ast.Tuple, ast.Set, ast.Call)
_LITERALS = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp, ast.USub, ast.Load)
_COMPARISONS = {"assertEqual": "==", "assertEquals": "==", "assertIs": "is", "assertIn": "in", "assertTrue": ""}

ImportPath = Callable[[str], str | None]
"""Path that a snippet should import for a path that the code imports: the public one; None when there is none."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """``score``: lower is clearer. ``shown`` are the ids of the code's statements in it, to see what else it calls."""

    text: str
    score: float
    free_names: tuple[str, ...]
    shown: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Part:
    """One statement of a snippet, as it is shown and as the code has it. ``names``: (name, line) of what it uses."""

    statement: Statement
    text: str
    names: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of one statement, what is inside it included."""

    names: tuple[tuple[str, int], ...]
    stands_alone: bool
    is_private: bool
    spans_lines: bool  # a string does: its margin is content
    statements: tuple[int, ...]


class Cutter:
    """Cuts the snippets of one code; what it finds out about a statement serves all of them."""

    def __init__(self, code: Code, import_path: ImportPath) -> None:
        self._code = code
        self._import_path = import_path
        self._facts: dict[int, _Facts] = {}
        self._parts: dict[int, _Part | None] = {}

    def cut(self, found: FoundCall) -> Snippet | None:
        """The snippet around one call; None when it would be long, would use private names or could not stand alone:
        more than one name that nothing in it defines, ``self``, or a part of an asynchronous function."""
        try:
            return self._cut(found)
        except UNREADABLE:
            return None

    def _cut(self, found: FoundCall) -> Snippet | None:
        whole = self._whole(found.statement)
        if whole is None:
            return None
        parts = {id(whole.statement.node): whole}
        imports: dict[str, tuple[str, str]] = {}
        free: set[str] = set()
        waiting = [whole]
        while waiting:
            part = waiting.pop()
            for name, line in part.names:
                if name in free or name in imports:
                    continue
                binding = part.statement.scope.find(name, line)
                if binding is None:
                    if name not in _BUILTINS:
                        free.add(name)
                elif binding.path is not None:
                    written = _import_of(binding, name, self._import_path)
                    if written is None:
                        return None
                    imports[name] = written
                elif (needed := self._definition(binding, found.statement)) is None:
                    free.add(name)
                elif id(needed.statement.node) not in parts:
                    parts[id(needed.statement.node)] = needed
                    waiting.append(needed)
                if len(free) > MAX_FREE_NAMES or len(parts) > _MAX_STATEMENTS or name in {"self", "cls"}:
                    return None
        ordered = sorted(parts.values(), key=self._place)
        head = _head(imports.values())
        text = "\n".join(head) + "\n\n" * bool(head) + "\n".join(part.text for part in ordered)
        if text.count("\n") >= MAX_LINES + bool(head) or max(map(len, text.split("\n"))) > _MAX_COLUMNS:
            return None
        ast.parse(text)
        shown = frozenset(inner for part in ordered for inner in self._facts_of(part.statement.node).statements)
        return Snippet(text, _score(text, len(free)), tuple(sorted(free)), shown)

    def _place(self, part: _Part) -> tuple[bool, int]:
        """Statements of the module around a docstring come before those of the docstring."""
        return part.statement.scope.lines is self._code.scope.lines, part.statement.node.lineno

    def _facts_of(self, node: ast.stmt) -> _Facts:
        if id(node) not in self._facts:
            self._facts[id(node)] = _facts(node)
        return self._facts[id(node)]

    def _whole(self, statement: Statement) -> _Part | None:
        """The statement of a call as a line of its own: what a function returns and a test case compares as plain
        expressions; a short block whole when the call is in its header."""
        node = statement.node
        if id(node) not in self._parts:
            is_block = isinstance(node, _BLOCKS) and (node.end_lineno or 0) - node.lineno < _MAX_BLOCK_LINES
            self._parts[id(node)] = self._part(statement) if is_block or isinstance(node, _SIMPLE) else None
        return self._parts[id(node)]

    def _part(self, statement: Statement) -> _Part | None:
        node = statement.node
        facts = self._facts_of(node)
        if not facts.stands_alone:
            return None
        shown: ast.AST = node
        if isinstance(node, ast.Return) and node.value is not None:
            shown = node.value
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            shown = _plain_comparison(node.value) or node
        if shown is not node:
            text = ast.unparse(shown)
            facts = _facts(shown)
        else:
            text = _source(statement, facts)
        return None if facts.is_private or not text else _Part(statement, text, facts.names)

    def _definition(self, binding: Binding, user: Statement) -> _Part | None:
        """The assignment that gives a name its value, where it stands in the same run of statements as its user (its
        block or one around that) or is a plain value of the module."""
        statement = binding.statement
        if statement is None or not isinstance(statement.node, ast.Assign | ast.AnnAssign):
            return None
        if statement.scope is user.scope:
            if user.blocks[: len(statement.blocks)] != statement.blocks:
                return None
        elif _is_inner(statement.scope) or not isinstance(statement.node.value, _VALUES):
            return None
        return self._whole(statement)


def _is_inner(scope: Scope) -> bool:
    """Whether a scope is that of a function inside a function."""
    return scope.parent is not None and scope.parent.parent is not None


def _import_of(binding: Binding, name: str, import_path: ImportPath) -> tuple[str, str] | None:
    """What binds the name, of one thing only and by its public path: (module to import from, imported name), the
    module "" for a plain import."""
    if isinstance(binding.imported, ast.Import):
        alias = next(
            found for found in binding.imported.names if (found.asname or found.name.partition(".")[0]) == name
        )
        if import_path(alias.name) is None:
            return None
        return "", alias.name + (f" as {alias.asname}" if alias.asname else "")
    path = import_path(binding.path or "")
    if path is None:
        return None
    owner, _, last = path.rpartition(".")
    return owner, last + (f" as {name}" if name != last else "")


def _head(imports: Iterable[tuple[str, str]]) -> list[str]:
    """The lines of imports: plain ones first, one line for each module that names come from."""
    names: dict[str, list[str]] = {}
    for module, name in sorted(set(imports)):
        names.setdefault(module, []).append(name)
    lines = [f"import {name}" for name in names.pop("", [])]
    return lines + [f"from {module} import {', '.join(found)}" for module, found in names.items()]


def _plain_comparison(call: ast.Call) -> ast.stmt | None:
    """``self.assertEqual(f(1), 2)`` is ``assert f(1) == 2``."""
    func = call.func
    if not (isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "self"):
        return None
    operator = _COMPARISONS.get(func.attr)
    if operator is None or call.keywords or len(call.args) < (2 if operator else 1):
        return None
    left = ast.unparse(call.args[0])
    text = f"assert {left} {operator} {ast.unparse(call.args[1])}" if operator else f"assert {left}"
    statement = ast.parse(text).body[0]
    for inner in ast.walk(statement):
        if isinstance(inner, ast.expr | ast.stmt):
            inner.lineno = call.lineno
    return statement


def _source(statement: Statement, facts: _Facts) -> str:
    """The statement as it is written, without its margin; written anew where taking the margin away could change it.
    "" for one that is too long."""
    node = statement.node
    first, last, margin = node.lineno, node.end_lineno or node.lineno, node.col_offset
    if last - first >= MAX_LINES:
        return ""
    lines = list(statement.scope.lines[first - 1 : last])
    offsets_count = lines[0].isascii() and lines[-1].isascii()  # they count bytes
    if not offsets_count or (last > first and facts.spans_lines) or any(line[:margin].strip() for line in lines[1:]):
        return ast.unparse(node)
    lines[-1] = lines[-1][: node.end_col_offset]
    return "\n".join(line[margin:].rstrip() for line in lines)


def _facts(node: ast.AST) -> _Facts:
    own: set[str] = set()
    loaded: dict[str, int] = {}
    statements: list[int] = []
    stands_alone, is_private, spans_lines = True, False, False
    targets = {id(inner) for inner in _targets(node)}
    for inner in _all_nodes(node):
        if isinstance(inner, ast.Name):
            is_private = is_private or _is_private(inner.id)
            if isinstance(inner.ctx, ast.Load) or (isinstance(node, ast.AugAssign) and inner is node.target):
                loaded.setdefault(inner.id, inner.lineno)
            elif id(inner) not in targets:  # ``x = f(x)`` still needs the earlier ``x``
                own.add(inner.id)
        elif isinstance(inner, ast.Attribute):
            is_private = is_private or _is_private(inner.attr)
        elif isinstance(inner, ast.keyword):
            is_private = is_private or _is_private(inner.arg or "")
        elif isinstance(inner, ast.arg):
            own.add(inner.arg)
        elif isinstance(inner, ast.stmt):
            statements.append(id(inner))
        if isinstance(inner, _NOT_ALONE):
            stands_alone = False
        elif isinstance(inner, ast.Constant | ast.JoinedStr) and inner.end_lineno != inner.lineno:
            spans_lines = True
    names = tuple(sorted((name, line) for name, line in loaded.items() if name not in own))
    return _Facts(names, stands_alone, is_private, spans_lines, tuple(statements))


def _all_nodes(node: ast.AST) -> Iterator[ast.AST]:
    stack = [node]
    while stack:
        inner = stack.pop()
        yield inner
        push_children(stack, inner)


def _targets(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _all_nodes(target)
    elif isinstance(node, ast.AnnAssign):
        yield from _all_nodes(node.target)


def _is_private(name: str) -> bool:
    return name.startswith("_") and name != "_" and not name.endswith("__")


def _score(text: str, free_names: int) -> float:
    """Lines and hundreds of characters, and what makes code hard to follow or is no usage."""
    cost = text.count("\n") + 1 + len(text) / 100 + 8 * free_names
    if "raises(" in text or "warns(" in text:
        cost += 3  # what does not work
    if "assert_" in text:
        cost += 1
    return cost


def least_cost(found: FoundCall) -> float:
    """What the snippet of a call costs at least, to be asked before it is cut: its statement, an import above it."""
    node = found.statement.node
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    return lines + 2.1 + cost_of_call(found.node)


def cost_of_call(call: ast.Call) -> float:
    """What to add for one call of a snippet: no arguments, none that can be read on the spot, many calls in one."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    nested = sum(1 for node in _all_nodes(call) if isinstance(node, ast.Call)) - 1
    if not arguments:
        return 1 + nested / 2
    return nested / 2 + (0 if any(map(_is_literal, arguments)) else 1.5)


def _is_literal(node: ast.expr) -> bool:
    return all(isinstance(inner, _LITERALS) for inner in _all_nodes(node))
