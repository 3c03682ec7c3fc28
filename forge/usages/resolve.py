"""What the calls in a piece of Python mean: names followed through imports, aliases and local objects to dotted paths.

    import numpy as np                 np.linalg.norm(x)  ->  numpy.linalg.norm
    from .core import Frame as F       F.read(path)       ->  shop.core.Frame.read     (in a module of ``shop``)
    box = Frame(1); box.sort()                            ->  shop.core.Frame.sort     (when ``Frame`` is a class)

The code is parsed, never run nor imported. A name that the code binds to something else (a parameter, a loop) is not
followed; nothing is guessed.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from forge.apis.python_source import syntax_tree

ResultType = Callable[[str], str | None]
"""Path of a callable -> path of the class of what it returns (of a class: itself); None when that is not known."""

UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What :func:`read_code` raises for text that Python cannot parse."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_NESTED = (ast.stmt, ast.excepthandler, ast.match_case)
_FAILURES = re.compile(r"raises|warns|deprecated|produces_warning", re.IGNORECASE)
_MAX_HOPS = 8


@dataclass(frozen=True, slots=True)
class Binding:
    """What a name is from a line on: an import (``path``), a definition of the module (``path``), an assigned value
    (``value``, by ``statement``), or something else (all None)."""

    line: int
    path: str | None = None
    imported: ast.Import | ast.ImportFrom | None = None
    value: ast.expr | None = None
    statement: Statement | None = None


@dataclass(slots=True)
class Scope:
    """The names of a module or function of the text ``lines``. What is not bound here is looked up in ``parent``."""

    lines: Sequence[str]
    parent: Scope | None = None
    names: dict[str, list[Binding]] = field(default_factory=dict)

    def bind(self, name: str, binding: Binding) -> None:
        self.names.setdefault(name, []).append(binding)

    def find(self, name: str, line: int) -> Binding | None:
        """The binding that a use on a line sees: of this scope the last one before it; of outer ones the last."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.names.get(name)
            if found:
                if scope is not self:
                    return found[-1]
                position = bisect_right(found, line, key=lambda binding: binding.line)
                return found[position - 1] if position else Binding(line)
            scope = scope.parent
        return None


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that holds no others, or the header of one that does. ``blocks`` are the ids of the blocks around it,
    outermost first; ``calls`` the calls in its own expressions, inner ones after outer ones."""

    node: ast.stmt
    scope: Scope
    blocks: tuple[int, ...]
    calls: tuple[ast.Call, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A call of something that came from an import or is defined in the module. ``path`` is what its name means."""

    path: str
    node: ast.Call
    statement: Statement


@dataclass(slots=True)
class Code:
    """One parsed text. ``failing`` are the blocks that a test expects to fail (``with pytest.raises(...)``);
    ``docstrings`` are (name in the module, text)."""

    module: str
    scope: Scope
    statements: list[Statement] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)
    docstrings: list[tuple[str, str]] = field(default_factory=list)

    def calls(self, result_type: ResultType) -> Iterator[FoundCall]:
        """Every call whose path is known, in source order; none that is expected to fail."""
        for statement in self.statements:
            if not self.failing.isdisjoint(statement.blocks):
                continue
            for node in statement.calls:
                path = path_of(node.func, statement.scope, result_type)
                if path is not None and "." in path:
                    yield FoundCall(path, node, statement)


def read_code(code: str, module: str, is_package: bool = False, outer: Scope | None = None) -> Code:
    """Raises what :data:`UNREADABLE` names. ``outer`` holds the names that the text may use without binding them."""
    code = code.replace("\r\n", "\n").replace("\r", "\n")  # the parser counts lines so
    tree = syntax_tree(code)
    found = Code(module, Scope(code.split("\n"), outer))
    _Reader(found, is_package).read(tree)
    return found


class _Reader:
    """One walk over all statements, with a stack: nothing here recurses."""

    def __init__(self, code: Code, is_package: bool) -> None:
        self.code = code
        self.package = code.module if is_package else code.module.rpartition(".")[0]
        self.blocks = 0

    def read(self, tree: ast.Module) -> None:
        self._docstring("", tree)
        stack: list[tuple[ast.stmt, Scope, tuple[int, ...], str]] = []
        self._push(stack, tree.body, self.code.scope, (), "")
        while stack:
            node, scope, blocks, owner = stack.pop()
            if isinstance(node, _FUNCTIONS):
                self._define(node.name, node, scope, owner)
                inner = Scope(scope.lines, scope)
                for argument in _arguments(node):
                    inner.bind(argument, Binding(node.lineno))
                name = f"{owner}.{node.name}" if owner else node.name
                self._docstring(name, node)
                self._push(stack, node.body, inner, (), name)
            elif isinstance(node, ast.ClassDef):
                self._define(node.name, node, scope, owner)
                name = f"{owner}.{node.name}" if owner else node.name
                self._docstring(name, node)
                # names of a class body are not seen by its methods: only these are walked
                inside = [child for child in reversed(node.body) if isinstance(child, (*_FUNCTIONS, ast.ClassDef))]
                stack.extend((child, scope, (), name) for child in inside)
            else:
                inner_nodes = list(own_expressions(node))
                calls = tuple(inner for inner in inner_nodes if type(inner) is ast.Call)
                statement = Statement(node, scope, blocks, calls)
                self.code.statements.append(statement)
                self._bind(statement, inner_nodes)
                for name in ("finalbody", "orelse"):
                    self._push(stack, getattr(node, name, None) or [], scope, blocks, owner)
                for handler in reversed(getattr(node, "handlers", None) or []):
                    if handler.name:
                        scope.bind(handler.name, Binding(handler.lineno))
                    self._push(stack, handler.body, scope, blocks, owner)
                for case in reversed(getattr(node, "cases", None) or []):
                    self._push(stack, case.body, scope, blocks, owner)
                self._push(stack, getattr(node, "body", None) or [], scope, blocks, owner)
                if isinstance(node, ast.With) and _expects_failure(node):
                    self.code.failing.add(self.blocks)

    def _push(
        self,
        stack: list[tuple[ast.stmt, Scope, tuple[int, ...], str]],
        body: list[ast.stmt],
        scope: Scope,
        blocks: tuple[int, ...],
        owner: str,
    ) -> None:
        if body:
            self.blocks += 1
            inside = (*blocks, self.blocks)
            stack.extend((node, scope, inside, owner) for node in reversed(body))

    def _docstring(self, name: str, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
            and ">>>" in first.value.value
        ):
            self.code.docstrings.append((name, first.value.value))

    def _define(self, name: str, node: ast.stmt, scope: Scope, owner: str) -> None:
        at_top = scope is self.code.scope and not owner
        if at_top:
            scope.bind(name, Binding(node.lineno, path=f"{self.code.module}.{name}"))
        elif scope is not self.code.scope:
            scope.bind(name, Binding(node.lineno))

    def _bind(self, statement: Statement, expressions: Sequence[ast.AST]) -> None:
        node, scope = statement.node, statement.scope
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                scope.bind(name, Binding(node.lineno, alias.name if alias.asname else name, imported=node))
        elif isinstance(node, ast.ImportFrom):
            origin = self._origin(node)
            for alias in node.names:
                path = f"{origin}.{alias.name}" if origin and alias.name != "*" else None
                scope.bind(alias.asname or alias.name, Binding(node.lineno, path, imported=node if path else None))
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            scope.bind(node.targets[0].id, _after(node, node.value, statement))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            scope.bind(node.target.id, _after(node, node.value, statement))
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                if isinstance(item.optional_vars, ast.Name):
                    scope.bind(item.optional_vars.id, Binding(node.lineno, value=item.context_expr))
                elif item.optional_vars is not None:
                    _bind_targets(item.optional_vars, scope, Binding(node.lineno))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                _bind_targets(target, scope, Binding(_end(node), statement=statement))
        elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor):
            _bind_targets(node.target, scope, Binding(node.lineno))
        for inner in expressions:
            kind = type(inner)
            if kind is ast.comprehension or kind is ast.NamedExpr:
                _bind_targets(inner.target, scope, Binding(node.lineno))  # type: ignore[attr-defined]
            elif isinstance(inner, ast.Lambda):
                for name in _arguments(inner):
                    scope.bind(name, Binding(node.lineno))

    def _origin(self, node: ast.ImportFrom) -> str:
        """The absolute name of the module that ``from ... import`` names; "" when it leads out of everything."""
        if not node.level:
            return node.module or ""
        parts = self.package.split(".") if self.package else []
        kept = parts[: max(0, len(parts) - node.level + 1)]
        return ".".join([*kept, node.module] if node.module else kept) if kept else ""


def _expects_failure(node: ast.With) -> bool:
    """``with pytest.raises(...)``, ``self.assertRaises``, ``np.testing.assert_raises``, ``pytest.warns`` ..."""
    for item in node.items:
        called = item.context_expr.func if isinstance(item.context_expr, ast.Call) else item.context_expr
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if _FAILURES.search(name):
            return True
    return False


def _after(node: ast.stmt, value: ast.expr, statement: Statement) -> Binding:
    return Binding(_end(node), value=value, statement=statement)


def _end(node: ast.stmt) -> int:
    """A name is bound once its statement is over: ``x = f(x)`` uses the earlier ``x``."""
    return (node.end_lineno or node.lineno) + 1


def _bind_targets(target: ast.expr, scope: Scope, binding: Binding) -> None:
    for node in ast.walk(target):
        if isinstance(node, ast.Name):
            scope.bind(node.id, binding)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    found = node.args
    every = [*found.posonlyargs, *found.args, *found.kwonlyargs, found.vararg, found.kwarg]
    return [argument.arg for argument in every if argument is not None]


def own_expressions(node: ast.stmt) -> Iterator[ast.AST]:
    """Every node of a statement's own expressions, not those of the statements inside it."""
    stack: list[ast.AST] = []
    push_children(stack, node)
    while stack:
        inner = stack.pop()
        if isinstance(inner, _NESTED):
            continue
        yield inner
        push_children(stack, inner)


_NO_NODES = frozenset(
    {"ctx", "op", "ops", "id", "attr", "kind", "arg", "name", "names", "asname", "module", "level", "conversion",
     "is_async", "simple", "type_comment", "rest"}
)  # fmt: skip
_CHILD_FIELDS: dict[type, tuple[str, ...]] = {
    kind: () if kind is ast.Constant else tuple(reversed([name for name in kind._fields if name not in _NO_NODES]))
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


def push_children(stack: list[ast.AST], node: ast.AST) -> None:
    """In source order from the top of the stack, names of imports and operators left out: three times as fast as
    ``ast.iter_child_nodes``, because most nodes are names and constants."""
    for name in _CHILD_FIELDS[type(node)]:
        value = getattr(node, name)
        if value.__class__ is list:
            stack.extend(inner for inner in reversed(value) if inner is not None)
        elif value is not None:
            stack.append(value)


def path_of(node: ast.expr, scope: Scope, result_type: ResultType, hops: int = _MAX_HOPS) -> str | None:
    """The dotted path that an expression stands for; of an object that is made here that of its class."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    base: str | None = None
    if isinstance(node, ast.Name):
        binding = scope.find(node.id, node.lineno)
        if binding is None:
            return None
        base = binding.path
        if base is None and binding.value is not None and hops:
            there = scope if binding.statement is None else binding.statement.scope
            base = _type_of(binding.value, there, result_type, hops - 1)
    elif isinstance(node, ast.Call) and hops:
        base = _type_of(node, scope, result_type, hops - 1)
    if base is None:
        return None
    return ".".join([base, *reversed(attributes)])


def _type_of(value: ast.expr, scope: Scope, result_type: ResultType, hops: int) -> str | None:
    if not isinstance(value, ast.Call):
        return None
    called = path_of(value.func, scope, result_type, hops)
    return None if called is None else result_type(called)
