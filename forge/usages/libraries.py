"""Which public names a dotted path of installed Python code means, and what type its call gives.

    torch.nn.modules.linear.Linear    ->  torch.nn.Linear, ...
    pandas.DataFrame.head             ->  pandas.DataFrame.head, pandas.core.generic.NDFrame.head (its definition)

Sources are parsed, never imported; each module at most once a process, and only when a path leads there.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import decode_source
from pathlib import Path

from forge.apis.python_exports import Exports
from forge.apis.python_objects import is_public
from forge.apis.python_source import ModuleSource, parse_module
from forge.usages.resolve import UNREADABLE

_MAX_HOPS = 12
_MAX_FILE_BYTES = 4_000_000
_HIDDEN_PARTS = frozenset({"tests", "test", "conftest", "vendor", "vendored", "third_party", "extern", "externals"})
_STAR = re.compile(rb"import\s*\*")
_READ_ERRORS = (*UNREADABLE, OSError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Library:
    """The modules of one distribution, tests left out: dotted name -> path below ``root``."""

    root: str
    modules: Mapping[str, str]


@dataclass(slots=True)
class _Class:
    """``bases`` as they are written, ``members`` with the written type of what a method returns ("" for none)."""

    bases: list[str]
    members: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Module:
    """What paths need of a parsed module; the tree itself is not kept, ten thousand of them would not fit.

    ``classes`` by their path in the module ("Outer.Inner"); ``functions`` with the written type of what they return."""

    source: ModuleSource
    imports: dict[str, str]
    classes: dict[str, _Class] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Definition:
    """Where something is defined: ``names`` lead from the module's top into its classes."""

    library: Library
    module: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Api:
    """``names`` are public dotted names of one callable, the shortest first; ``identity`` is the same for all calls of
    it, whatever name they use."""

    identity: str
    names: tuple[str, ...]


class Libraries:
    """All chosen distributions. ``standard``: names of modules without source here, whose paths are taken as called."""

    def __init__(self, libraries: Iterable[Library], standard: frozenset[str] = sys.stdlib_module_names) -> None:
        self._of_module: dict[str, Library] = {}
        self._tops: set[str] = set()
        for library in libraries:
            for module in library.modules:
                self._of_module.setdefault(module, library)
                self._tops.add(module.partition(".")[0])
        self._standard = standard - self._tops
        self._modules: dict[str, _Module | None] = {}
        self._exports: dict[int, Exports] = {}
        self._apis: dict[str, Api | None] = {}
        self._types: dict[str, str | None] = {}
        self._definitions: dict[str, Definition | None] = {}

    def api(self, path: str) -> Api | None:
        """What a call of a path calls; None for what no library offers, or only as private or test code."""
        if path not in self._apis:
            self._apis[path] = self._api(path)
        return self._apis[path]

    def importable(self, path: str) -> str | None:
        """What an import of a path should say: the public path; of a module itself; None for private or test code."""
        if path in self._of_module or path.partition(".")[0] not in self._tops:
            return path if _is_shown(path) else None
        known = self.api(path)
        return None if known is None else known.names[0]

    def result_type(self, path: str) -> str | None:
        """The class of what a call of a path gives: of a class itself, else as the callable is annotated."""
        if path not in self._types:
            self._types[path] = self._result_type(path)
        return self._types[path]

    def _api(self, path: str) -> Api | None:
        top = path.partition(".")[0]
        if top not in self._standard and top not in self._tops:
            return None
        called = None if top in self._standard else self._definition(path)
        if called is None:  # without source: of the standard library, compiled, or made at run time
            return Api(path, (path,)) if _is_shown(path) else None
        defined = self._defining_class(called)
        names = {path, self._exported(called), self._exported(defined)}
        names |= {".".join([found.module, *found.names]) for found in (called, defined)}
        shown = sorted((name for name in names if name and _is_shown(name)), key=lambda name: (name.count("."), name))
        return Api(".".join([defined.module, *defined.names]), tuple(shown)) if shown else None

    def _exported(self, found: Definition) -> str:
        module = self._module(found.module)
        listed = module.source.listed if module is not None else frozenset()
        public = self._exports_of(found.library).public_path(found.module, found.names[0], listed)
        return ".".join([public, *found.names[1:]]) if public else ""

    def _result_type(self, path: str) -> str | None:
        found = self._definition(path)
        if found is None:
            last = path.rpartition(".")[2]  # of the standard library only the name tells
            return path if path.partition(".")[0] in self._standard and last[:1].isupper() else None
        if self._class(found) is not None:
            return path
        found = self._defining_class(found)
        stated = self._returned(found)
        if stated in {"Self", "typing.Self"} and len(found.names) > 1:
            return ".".join([found.module, *found.names[:-1]])
        target = self._definition(f"{found.module}.{stated}") if stated else None
        if target is None or self._class(target) is None:
            return None
        return ".".join([target.module, *target.names])

    def _definition(self, path: str) -> Definition | None:
        if path not in self._definitions:
            self._definitions[path] = self._followed(path)
        return self._definitions[path]

    def _followed(self, path: str) -> Definition | None:
        """Through imports to the module that defines the path's first name."""
        for _ in range(_MAX_HOPS):
            module, names = self._module_of(path)
            known = self._module(module) if names else None
            if known is None:
                return None
            if names[0] in known.source.own:
                return Definition(self._of_module[module], module, names)
            target = known.imports.get(names[0]) or self._starred(known.source, names[0])
            if target is None or target == f"{module}.{names[0]}":
                return None
            path = ".".join([target, *names[1:]])
        return None

    def _starred(self, source: ModuleSource, name: str) -> str | None:
        """The path of what a module has by ``from ... import *``."""
        stack, seen = list(reversed(source.starred)), {source.name}
        while stack and is_public(name):
            module = stack.pop()
            if module in seen:
                continue
            seen.add(module)
            origin = self._module(module)
            if origin is None:
                continue
            if name in origin.source.own or name in origin.imports:
                return f"{module}.{name}"
            stack.extend(reversed(origin.source.starred))
        return None

    def _defining_class(self, found: Definition) -> Definition:
        """A method where it is defined: in the class itself, else in the first of its bases that has it."""
        if len(found.names) < 2:
            return found
        *owner, name = found.names
        waiting = [Definition(found.library, found.module, tuple(owner))]
        for _ in range(_MAX_HOPS):
            if not waiting:
                break
            place = waiting.pop(0)
            known = self._class(place)
            if known is None:
                continue
            if name in known.members:
                return Definition(place.library, place.module, (*place.names, name))
            bases = [self._definition(f"{place.module}.{base}") for base in known.bases]
            waiting = [base for base in bases if base is not None] + waiting
        return found

    def _class(self, found: Definition) -> _Class | None:
        module = self._module(found.module)
        return None if module is None else module.classes.get(".".join(found.names))

    def _returned(self, found: Definition) -> str:
        module = self._module(found.module)
        if module is None:
            return ""
        if len(found.names) == 1:
            return module.functions.get(found.names[0], "")
        owner = module.classes.get(".".join(found.names[:-1]))
        return "" if owner is None else owner.members.get(found.names[-1], "")

    def _module_of(self, path: str) -> tuple[str, tuple[str, ...]]:
        """The longest module that a path begins with, and what is left; ("", ()) when there is none."""
        parts = path.split(".")
        for count in range(len(parts), 0, -1):
            module = ".".join(parts[:count])
            if module in self._of_module:
                return module, tuple(parts[count:])
        return "", ()

    def _module(self, module: str) -> _Module | None:
        if module not in self._modules:
            library = self._of_module.get(module)
            self._modules[module] = None if library is None else _parsed(library, module)
        return self._modules[module]

    def _exports_of(self, library: Library) -> Exports:
        """What its packages, and private modules that pass on what others define, export: the rule of the entities."""
        key = id(library)
        if key not in self._exports:
            exports = Exports()
            for module, path in library.modules.items():
                exports.add_module(module)
                is_package = path.endswith("__init__.py")
                if not is_package and not ("._" in module and _passes_on(library, path)):
                    continue
                known = self._module(module)
                if known is not None:
                    exports.add_imports(known.source, is_package)
            self._exports[key] = exports
        return self._exports[key]


def _passes_on(library: Library, path: str) -> bool:
    try:
        return _STAR.search((Path(library.root) / path).read_bytes()) is not None
    except OSError:
        return False


def _parsed(library: Library, module: str) -> _Module | None:
    path = library.modules[module]
    try:
        source = parse_module(module, read_source(Path(library.root) / path), path.endswith("__init__.py"))
    except _READ_ERRORS:
        return None
    found = _Module(source, dict(source.imports))
    stack = [(name, member.node) for name, member in source.members.items()]
    while stack:
        name, node = stack.pop()
        if isinstance(node, ast.FunctionDef):
            found.functions[name] = _dotted(node.returns) if "." not in name else ""
        elif isinstance(node, ast.ClassDef):
            found.classes[name] = known = _Class([word for base in node.bases if (word := _dotted(base))])
            for child in node.body:
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    known.members[child.name] = _dotted(child.returns) if isinstance(child, ast.FunctionDef) else ""
                    if isinstance(child, ast.ClassDef):
                        stack.append((f"{name}.{child.name}", child))
                elif isinstance(child, ast.Assign | ast.AnnAssign):
                    targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                    known.members.update({target.id: "" for target in targets if isinstance(target, ast.Name)})
    source.members, source.lines = {}, ()
    return found


def read_source(path: Path) -> str:
    """Raises OSError, SyntaxError (an unknown encoding), UnicodeError, or ValueError for a file that is too large."""
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"the file has more than {_MAX_FILE_BYTES:,} bytes")
    return decode_source(path.read_bytes())


def _is_shown(path: str) -> bool:
    parts = path.split(".")
    return all(
        is_public(part) and part not in _HIDDEN_PARTS and not part.startswith("test_") and not part.endswith("_test")
        for part in parts
    )


def _dotted(node: ast.expr | None) -> str:
    """``a.b`` of a name, an attribute, a string annotation or a subscript (``Box[int]`` is ``Box``); "" of others."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        word = node.value.partition("[")[0]
        return word if all(part.isidentifier() for part in word.split(".")) else ""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
