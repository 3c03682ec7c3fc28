"""The documented functions, classes, methods and attributes of one Python module, and what it imports, from its source.

The source is parsed, never compiled further nor imported. Nothing here recurses: a hundred nested blocks or ten
thousand ``elif`` are walked with a stack.
"""

from __future__ import annotations

import ast
import gc
import inspect
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from forge.apis.python_objects import Parameter, PythonObject, is_public

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.If: ("body", "orelse"),
    ast.Try: ("body", "handlers", "orelse", "finalbody"),
    ast.TryStar: ("body", "handlers", "orelse", "finalbody"),
    ast.ExceptHandler: ("body",),
    ast.With: ("body",),
    ast.For: ("body", "orelse"),
    ast.While: ("body", "orelse"),
}
_PROPERTY_NAMES = frozenset({"cache_readonly", "reify", "hybrid_property"})
_ACCESSORS = frozenset({"setter", "deleter", "getter", "inplace", "update_expression", "register"})
_FIELD_BASES = frozenset({"NamedTuple", "TypedDict", "BaseModel"})
_BOUND_NAMES = frozenset({"self", "cls", "mcs", "mcls", "metacls", "klass", "_self", "_cls", "__self"})
_MAX_EXPRESSION_CHARACTERS = 1000


@dataclass(slots=True)
class ModuleSource:
    """One parsed module. ``imports`` are (name here, path of what it stands for), ``starred`` the modules of which it
    imports everything, ``listed`` its ``__all__`` (empty when that is not all spelled out), ``own`` what it defines.
    """

    name: str
    imports: list[tuple[str, str]] = field(default_factory=list)
    starred: list[str] = field(default_factory=list)
    listed: frozenset[str] = frozenset()
    own: set[str] = field(default_factory=set)
    members: dict[str, _Member] = field(default_factory=dict)
    lines: Sequence[str] = ()

    def objects(self, name: str) -> Iterator[PythonObject]:
        """What the top-level ``name`` documents: itself, and for a class its public members."""
        stack = [(name, self.members[name], False)]
        while stack:
            path, member, inside = stack.pop()
            described = self._described(path, member, inside)
            if described is not None:
                yield described
            if isinstance(member.node, ast.ClassDef):
                inner = _Scan(member.node.body, in_class=True).members
                stack += [
                    (f"{path}.{called}", found, True) for called, found in reversed(inner.items()) if is_public(called)
                ]

    def _described(self, path: str, member: _Member, inside: bool) -> PythonObject | None:
        node = member.node
        if isinstance(node, ast.ClassDef):
            return self._class(path, node)
        if not member.docstring:
            return None
        if not isinstance(node, _FUNCTIONS):
            annotation = self._annotation(node.annotation) if isinstance(node, ast.AnnAssign) else ""
            text = self._text(node)
            declaration = text if len(text) <= 200 else f"{path.rpartition('.')[2]}: {annotation}".removesuffix(": ")
            return PythonObject(path, "attribute", member.docstring, (), annotation, declaration=declaration)
        names = _decorators(node)
        returns = self._annotation(node.returns)
        if inside and any(name.endswith("property") or name in _PROPERTY_NAMES for name in names):
            header = f"def {node.name}(self)" + (f" -> {self._text(node.returns)}" if node.returns else "")
            shown = "".join(f"@{self._text(decorator)}\n" for decorator in node.decorator_list)
            return PythonObject(path, "attribute", member.docstring, (), returns, declaration=shown + header)
        parameters = self._parameters(node, bound=inside and "staticmethod" not in names)
        return PythonObject(path, "method" if inside else "function", member.docstring, parameters, returns)

    def _class(self, path: str, node: ast.ClassDef) -> PythonObject | None:
        """A class is documented by its own docstring or its constructor's."""
        constructors: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        for child, _ in _statements(node.body):
            if isinstance(child, _FUNCTIONS) and "overload" not in _decorators(child):
                constructors.setdefault(child.name, child)
        constructor = constructors.get("__init__") or constructors.get("__new__")
        docstring = _docstring_of(node)
        said = _docstring_of(constructor) if constructor is not None else ""
        if not docstring and not said:
            return None
        parameters: Sequence[Parameter] | None
        if constructor is not None:
            parameters = self._parameters(constructor, bound=True)
        else:
            parameters = self._fields(node) if _is_record(node) else None
        return PythonObject(path, "class", docstring or said, parameters, constructor_docstring=said)

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef, bound: bool) -> list[Parameter]:
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        required = len(positional) - len(arguments.defaults)
        found = [
            (argument, "", None if number < required else arguments.defaults[number - required])
            for number, argument in enumerate(positional)
        ]
        if bound and found and found[0][0].arg in _BOUND_NAMES:
            found = found[1:]
        if arguments.vararg is not None:
            found.append((arguments.vararg, "*", None))
        found += [
            (argument, "", default)
            for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        ]
        if arguments.kwarg is not None:
            found.append((arguments.kwarg, "**", None))
        return [
            Parameter(
                stars + argument.arg,
                self._annotation(argument.annotation),
                None if default is None else self._text(default),
            )
            for argument, stars, default in found
            if is_public(argument.arg) or default is None
        ]

    def _fields(self, node: ast.ClassDef) -> list[Parameter]:
        found: dict[str, Parameter] = {}
        for child, _ in _statements(node.body):
            if not isinstance(child, ast.AnnAssign) or not isinstance(child.target, ast.Name):
                continue
            annotation = self._annotation(child.annotation)
            default = None if child.value is None else self._text(child.value)
            if not is_public(child.target.id) or "ClassVar" in annotation or "init=False" in (default or ""):
                continue
            found[child.target.id] = Parameter(child.target.id, annotation, default)
        return list(found.values())

    def _annotation(self, node: ast.expr | None) -> str:
        if node is None:
            return ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return self._text(node)

    def _text(self, node: ast.AST) -> str:
        """The source's own text of an expression or assignment, on one line."""
        if isinstance(node, ast.Name):
            return node.id
        line, end_line = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        start, end = node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
        if line == end_line and (text := self.lines[line - 1]).isascii():  # offsets count bytes
            return text[start:end] if end - start <= _MAX_EXPRESSION_CHARACTERS else "..."
        if (end_line or line) - line > 60:
            return "..."
        try:
            text = " ".join(ast.unparse(node).split("\n"))
        except (RecursionError, ValueError):
            return "..."
        return text if len(text) <= _MAX_EXPRESSION_CHARACTERS else "..."


@dataclass(frozen=True, slots=True)
class _Member:
    node: _Definition | ast.Assign | ast.AnnAssign
    docstring: str


class _Scan:
    """One pass over the statements of a module or class body, conditional blocks included.

    Of several definitions of one name the first that is documented counts, overloads and setters only where nothing
    else does.
    """

    def __init__(self, body: Sequence[ast.stmt], in_class: bool) -> None:
        self.members: dict[str, _Member] = {}
        self.own: set[str] = set()
        self.listed: set[str] = set()
        self.lists_more = False  # names that another module knows
        self.import_nodes: list[ast.Import | ast.ImportFrom] = []
        weak: dict[str, _Member] = {}
        for node, following in _statements(body):
            if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                self.own.add(node.name)
                if node.name == "__init__" and in_class:
                    self._documented_in_constructor(node)
                if not in_class or is_public(node.name):
                    is_weak = any(name in _ACCESSORS or name == "overload" for name in _decorators(node))
                    _keep(weak if is_weak else self.members, node.name, _Member(node, _docstring_of(node)))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                names = _assigned(node)
                self.own.update(names)
                if "__all__" in names:
                    self._list(node.value)
                if said := _string_of(following):
                    for name in names:
                        if is_public(name):
                            _keep(self.members, name, _Member(node, said))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.import_nodes.append(node)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == "__all__":
                self._list(node.value)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                called = node.value.func
                if isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "__all__":
                    self.lists_more = True
        for name, member in weak.items():
            if member.docstring and (name not in self.members or not self.members[name].docstring):
                known = self.members.get(name)
                self.members[name] = _Member(known.node if known else member.node, member.docstring)

    def _list(self, value: ast.expr | None) -> None:
        """Takes the string constants of a list, tuple or sum of such: what an ``__all__`` spells out."""
        stack = [value]
        while stack:
            part = stack.pop()
            if isinstance(part, ast.List | ast.Tuple | ast.Set):
                stack += part.elts
            elif isinstance(part, ast.BinOp):
                stack += [part.left, part.right]
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                self.listed.add(part.value)
            else:
                self.lists_more = True

    def _documented_in_constructor(self, node: ast.AST) -> None:
        for child, following in _statements(getattr(node, "body", ())):
            if isinstance(child, ast.Assign | ast.AnnAssign) and (said := _string_of(following)):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                for target in targets:
                    if (
                        isinstance(target, ast.Attribute)
                        and isinstance(target.value, ast.Name)
                        and target.value.id == "self"
                        and is_public(target.attr)
                    ):
                        _keep(self.members, target.attr, _Member(child, said))


def _keep(members: dict[str, _Member], name: str, member: _Member) -> None:
    if name not in members or (member.docstring and not members[name].docstring):
        members[name] = member


def syntax_tree(code: str) -> ast.Module:
    """Parsed quietly and without collecting garbage. Raises SyntaxError, ValueError, RecursionError or MemoryError for
    what Python cannot parse."""
    running = gc.isenabled()
    gc.disable()  # a tree is no garbage: collecting while it grows takes two fifths of the time
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in other people's strings
            return ast.parse(code)
    finally:
        if running:
            gc.enable()


def parse_module(name: str, code: str, is_package: bool = False) -> ModuleSource:
    """Raises SyntaxError, ValueError, RecursionError or MemoryError for what Python cannot parse."""
    scan = _Scan(syntax_tree(code).body, in_class=False)
    module = ModuleSource(
        name,
        listed=frozenset(() if scan.lists_more else scan.listed),
        own=scan.own,
        members=scan.members,
        lines=code.split("\n"),
    )
    for node in scan.import_nodes:
        if isinstance(node, ast.Import):
            module.imports += [(alias.asname, alias.name) for alias in node.names if alias.asname]
            continue
        origin = _origin(node, name, is_package)
        for alias in node.names:
            if alias.name == "*":
                module.starred.append(origin)
            elif origin:
                module.imports.append((alias.asname or alias.name, f"{origin}.{alias.name}"))
    return module


def _origin(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The absolute name of the module that ``from ... import`` names; "" when it leads out of everything."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    up = node.level - 1 if is_package else node.level
    if up >= len(parts):
        return ""
    base = parts[: len(parts) - up]
    return ".".join([*base, node.module] if node.module else base)


def _statements(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.AST, ast.stmt | None]]:
    """(statement, the one that follows it in its block) in source order; those inside of if, try, with, loops too."""
    stack: list[tuple[ast.AST, ast.stmt | None]] = _with_following(body)
    while stack:
        node, following = stack.pop()
        yield node, following
        for name in reversed(_BLOCKS.get(type(node), ())):
            stack += _with_following(getattr(node, name))


def _with_following(body: Sequence[ast.stmt]) -> list[tuple[ast.AST, ast.stmt | None]]:
    pairs: list[tuple[ast.AST, ast.stmt | None]] = [*zip(body, [*body[1:], None], strict=True)] if body else []
    return pairs[::-1]


def _decorators(node: _Definition) -> list[str]:
    """The last part of each decorator's name: ``@functools.lru_cache(1)`` is "lru_cache"."""
    names = []
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        names.append(called.id if isinstance(called, ast.Name) else getattr(called, "attr", ""))
    return names


def _is_record(node: ast.ClassDef) -> bool:
    """Whether the annotated names of a class are its constructor's parameters."""
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    names = [base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in bases]
    return any("dataclass" in name for name in _decorators(node)) or any(name in _FIELD_BASES for name in names)


def _docstring_of(node: ast.AST | None) -> str:
    body = getattr(node, "body", ())
    return _string_of(body[0]) if body else ""


def _string_of(node: ast.AST | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return inspect.cleandoc(node.value.value).rstrip()
    return ""


def _assigned(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]
