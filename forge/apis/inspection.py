"""Imports one distribution and writes what it documents as JSON lines: ``python -m forge.apis.inspection`` (a process
of its own, started by :mod:`forge.apis.inspected`, because importing runs third-party code).

Standard library and :mod:`forge.sandbox` only: what this process imports besides is the distribution's. Standard input
holds one JSON object: ``modules`` (names of the public modules), ``tops`` (its top-level packages), ``root``
(site-packages), ``seconds`` and ``memory_bytes``. Lines on standard output: ``{"importing": module}`` before each
import, ``{"failed": module, "error": ...}``, then ``{"object": {...}}`` by path, then ``{"done": true}``.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import inspect
import json
import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from forge.sandbox import FORK_EVENT, NETWORK_EVENTS, PROGRAM_EVENTS, limit, refusing

_ROUTINES = frozenset({"ufunc", "_ArrayFunctionDispatcher", "cython_function_or_method", "fused_cython_function"})
_PROPERTIES = frozenset(
    {"property", "cached_property", "getset_descriptor", "member_descriptor", "AxisProperty", "cache_readonly"}
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_MAX_TEXT = 60_000
_MAX_DEFAULT = 300


def main() -> int:
    request = json.load(sys.stdin)
    limit(request["seconds"], request["memory_bytes"])
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # what imported code prints is no answer
    os.dup2(nothing, 2)
    if request["root"] not in sys.path:
        sys.path.append(request["root"])
    sys.addaudithook(refusing(NETWORK_EVENTS | PROGRAM_EVENTS | {FORK_EVENT}))
    warnings.simplefilter("ignore")

    def tell(line: dict[str, Any]) -> None:
        output.write(json.dumps(line) + "\n")
        output.flush()

    modules: dict[str, types.ModuleType] = {}
    failed: set[str] = set()
    for name in request["modules"]:
        if any(name.startswith(f"{package}.") for package in failed):
            continue
        tell({"importing": name})
        try:
            modules[name] = importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - third-party code
            failed.add(name)
            tell({"failed": name, "error": f"{type(error).__name__}: {error}"[:300]})
    walk = _Walk(modules, frozenset(request["tops"]), request["root"])
    for described in walk.objects():
        tell({"object": described})
    tell({"done": True})
    output.close()
    os._exit(0)  # threads and exit handlers of what was imported have no business here


class _Found:
    """One object under the best of its public paths."""

    __slots__ = ("kind", "owner", "rank", "value")

    def __init__(self, rank: tuple[Any, ...], value: Any, kind: str, owner: Any) -> None:
        self.rank = rank
        self.value = value
        self.kind = kind
        self.owner = owner

    @property
    def path(self) -> str:
        return str(self.rank[-1])


class _Walk:
    def __init__(self, modules: dict[str, types.ModuleType], tops: frozenset[str], root: str) -> None:
        self._modules = modules
        self._tops = tops
        self._root = root.rstrip("/") + "/"
        self._found: dict[int, _Found] = {}
        self._classes: dict[int, tuple[str, type]] = {}

    def objects(self) -> Iterator[dict[str, Any]]:
        for name, module in self._modules.items():
            self._module(name, module)
        for path, value in sorted(self._classes.values(), key=lambda entry: entry[0]):
            self._members(path, value)
        for found in sorted(self._found.values(), key=lambda entry: entry.path):
            with contextlib.suppress(Exception):  # objects whose attributes raise
                described = self._described(found)
                if described is not None:
                    yield described

    def _module(self, name: str, module: types.ModuleType) -> None:
        listed = getattr(module, "__all__", None)
        is_listed = isinstance(listed, list | tuple) and all(isinstance(entry, str) for entry in listed)
        names = sorted(set(listed or ())) if is_listed else sorted(entry for entry in vars(module) if entry[:1] != "_")
        for entry in names:
            if not entry.startswith("_"):
                with contextlib.suppress(Exception):  # attributes that raise, whatever is asked of them
                    self._entry(f"{name}.{entry}", getattr(module, entry), is_listed)

    def _entry(self, path: str, value: Any, is_listed: bool) -> None:
        if value is None or isinstance(value, types.ModuleType) or not self._belongs(value, is_listed):
            return
        kind = _kind(value)
        if kind is not None:
            self._see(value, kind, None, (0, _own_name(value) != path.rpartition(".")[2]), path)
            if isinstance(value, type):
                self._class(path, value)

    def _class(self, path: str, value: type) -> None:
        known = self._classes.get(id(value))
        rank = (path.count("."), path.rpartition(".")[2] != value.__name__, path)
        if known is None or rank < (known[0].count("."), known[0].rpartition(".")[2] != value.__name__, known[0]):
            self._classes[id(value)] = (path, value)

    def _belongs(self, value: Any, is_listed: bool) -> bool:
        """Whether the distribution defines the object. Some, ufuncs for one, do not say where they come from: then the
        ``__all__`` that lists it tells."""
        if isinstance(value, type) or inspect.isroutine(value) or hasattr(value, "__wrapped__"):
            origin = getattr(value, "__module__", None)
        else:
            origin = None if type(value).__name__ in _ROUTINES else type(value).__module__
        if not isinstance(origin, str) or origin in {"builtins", ""}:
            return is_listed and getattr(builtins, _own_name(value), None) is not value
        return origin.split(".", 1)[0] in self._tops

    def _members(self, path: str, owner: type) -> None:
        """Public members, own ones before inherited ones. What a base of another distribution defines is not ours."""
        taken: set[str] = set()
        for depth, base in enumerate(owner.__mro__):
            if base is not owner and str(getattr(base, "__module__", "")).split(".", 1)[0] not in self._tops:
                continue
            for name, raw in list(vars(base).items()):
                if isinstance(name, str) and not name.startswith("_") and name not in taken:
                    taken.add(name)
                    with contextlib.suppress(Exception):
                        self._member(f"{path}.{name}", raw, owner, base, depth > 0)

    def _member(self, path: str, raw: Any, owner: type, base: type, is_inherited: bool) -> None:
        value = raw.__func__ if isinstance(raw, classmethod | staticmethod) else raw
        kind = _member_kind(value)
        if kind == "class" and not value.__qualname__.startswith(f"{base.__qualname__}."):
            return
        if kind is not None:
            preference = (is_inherited, _own_name(value) != path.rpartition(".")[2])
            self._see(value, kind, (owner, raw), preference, path)

    def _see(self, value: Any, kind: str, owner: Any, preference: tuple[Any, ...], path: str) -> None:
        rank = (path.count("."), *preference, path)
        known = self._found.get(id(value))
        if known is None or rank < known.rank:
            self._found[id(value)] = _Found(rank, value, kind, owner)

    # --- one object ---

    def _described(self, found: _Found) -> dict[str, Any] | None:
        value = found.value
        docstring = _docstring(value)
        constructor = ""
        if found.kind == "class":
            constructor = _docstring(vars(value).get("__init__"))
        if not docstring and not constructor:
            return None
        parameters, returns = (None, "") if found.kind == "attribute" else _signature(value, found)
        file, definition = self._definition(value)
        return {
            "path": found.path,
            "kind": found.kind,
            "docstring": docstring,
            "constructor_docstring": constructor,
            "parameters": parameters,
            "returns": returns,
            "file": file,
            "definition": definition,
        }

    def _definition(self, value: Any) -> tuple[str, str]:
        """(file below site-packages, path inside its module) where the source lies, "" for what is compiled."""
        plain = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "func", None) or value)
        code = getattr(plain, "__code__", None)
        if isinstance(code, types.CodeType) and code.co_filename.startswith(self._root):
            return code.co_filename.removeprefix(self._root), getattr(code, "co_qualname", plain.__qualname__)
        if isinstance(plain, type):
            module = sys.modules.get(plain.__module__)
            file = getattr(module, "__file__", None) or ""
            if file.startswith(self._root):
                return file.removeprefix(self._root), plain.__qualname__
        return "", ""


def _kind(value: Any) -> str | None:
    if isinstance(value, type):
        return "class"
    if inspect.isroutine(value) or type(value).__name__ in _ROUTINES or hasattr(value, "__wrapped__"):
        return "function"
    return "attribute" if _has_own_docstring(value) else None


def _member_kind(value: Any) -> str | None:
    if isinstance(value, type):
        return "class"
    if type(value).__name__ in _PROPERTIES or isinstance(value, property):
        return "attribute"
    return "method" if inspect.isroutine(value) or type(value).__name__ in _ROUTINES else None


def _own_name(value: Any) -> str:
    for place in (value, getattr(value, "fget", None), getattr(value, "func", None)):
        name = getattr(place, "__name__", None)
        if isinstance(name, str):
            return name
    return ""


def _has_own_docstring(value: Any) -> bool:
    try:
        said = value.__doc__
    except Exception:  # noqa: BLE001
        return False
    return isinstance(said, str) and said is not type(value).__doc__ and said != type(value).__doc__


def _docstring(value: Any) -> str:
    """The object's own docstring, clean; "" for one that it only has from its type."""
    if value is None or not (isinstance(value, type) or _has_own_docstring(value)):
        return ""
    said = inspect.getdoc(value) if isinstance(value.__doc__, str) else None
    return (said or "").rstrip()[:_MAX_TEXT]


def _signature(value: Any, found: _Found) -> tuple[list[list[str | None]] | None, str]:
    """([name, annotation, default] of what a caller gives, annotation of the result); (None, "") when unknown."""
    try:
        signature = inspect.signature(value)
    except (ValueError, TypeError, AttributeError):
        return None, ""
    if found.kind == "class" and _is_open(signature):
        return None, ""  # a constructor that passes on what it is given
    parameters = list(signature.parameters.values())
    if found.kind == "method" and found.owner is not None and not isinstance(found.owner[1], staticmethod):
        parameters = parameters[1:]
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    told: list[list[str | None]] = [
        [
            stars.get(entry.kind, "") + entry.name,
            _annotation(entry.annotation, inspect.Parameter.empty),
            None if entry.default is inspect.Parameter.empty else _default(entry.default),
        ]
        for entry in parameters
        if not (entry.name.startswith("_") and entry.default is not inspect.Parameter.empty)
    ]
    return told, _annotation(signature.return_annotation, inspect.Signature.empty)


def _is_open(signature: inspect.Signature) -> bool:
    return [entry.kind for entry in signature.parameters.values()] == [
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    ]


def _annotation(value: Any, empty: Any) -> str:
    if value is empty:
        return ""
    return value if isinstance(value, str) else _safely(inspect.formatannotation, value)


def _default(value: Any) -> str:
    """The text of a default. What has a name is called by it; a text with an address would differ every time."""
    if isinstance(value, type) or inspect.isroutine(value):
        return str(value.__qualname__)
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(_safely(repr, entry) for entry in value)) + "}" if value else "set()"
    return _safely(repr, value)


def _safely(write: Callable[[Any], str], value: Any) -> str:
    try:
        text = _ADDRESS.sub("", write(value))
    except Exception:  # noqa: BLE001
        return "..."
    return text if len(text) <= _MAX_DEFAULT else "..."


if __name__ == "__main__":
    sys.exit(main())
