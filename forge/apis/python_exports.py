"""Under which public path a Python package offers an object that it defines somewhere inside."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

_MAX_HOPS = 5


def module_name(path: str) -> str:
    """``a/b/__init__.py`` -> ``a.b``; ``a/c.py`` -> ``a.c``."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def is_public(name: str) -> bool:
    return not name.startswith("_")


class Exports:
    """The names that the packages (``__init__.py`` files) of one distribution import from its own modules.

    ``from .x import f`` is certain. ``from .x import *`` exports what ``x`` lists in ``__all__``, else its
    public names.
    """

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._named: dict[str, list[str]] = {}  # path of an object -> the paths it is exported by
        self._starred: dict[str, list[str]] = {}  # module -> packages that import everything from it
        self._explicit: set[str] = set()

    def add_module(self, module: str) -> None:
        self._modules.add(module)

    def add_package(self, tree: Any) -> None:
        """Takes the imports of one package's griffe tree."""
        package = tree.path
        for name, member in tree.members.items():
            if not member.is_alias:
                self._explicit.add(f"{package}.{name}")
                continue
            target = member.target_path
            if "/" in name:
                self._starred.setdefault(target, []).append(package)
            elif target != f"{package}.{name}":
                self._named.setdefault(target, []).append(f"{package}.{name}")
                self._explicit.add(f"{package}.{name}")

    def may_show(self, module: str) -> bool:
        """False when nothing in the module can have a public path: it is not worth parsing."""
        if all(is_public(part) for part in module.split(".")):
            return True
        if module in self._starred:
            return True
        prefix = module + "."
        return any(target.startswith(prefix) for target in self._named)

    def public_path(self, module: str, name: str, listed: frozenset[str] = frozenset()) -> str | None:
        """The shortest public path of ``module.name``; among equally short ones the first in alphabetical order; None
        when there is none. ``listed`` is the module's ``__all__``."""
        reached: set[str] = set()
        frontier = [(module, name)]
        for hop in range(_MAX_HOPS):
            following: list[tuple[str, str]] = []
            for place, called in frontier:
                path = f"{place}.{called}"
                if path in reached:
                    continue
                reached.add(path)
                following += [tuple(target.rsplit(".", 1)) for target in self._named.get(path, ())]  # type: ignore[misc]
                starred = (called in listed or not listed) if hop == 0 else True
                if starred and is_public(called):
                    # a package that defines or imports the name itself shows that, not what the star brought
                    following += [
                        (p, called) for p in self._starred.get(place, ()) if f"{p}.{called}" not in self._explicit
                    ]
            frontier = following
        public = [path for path in reached if all(is_public(part) for part in path.split("."))]
        public = [path for path in public if path == f"{module}.{name}" or path not in self._modules]
        return min(public, key=lambda path: (path.count("."), path)) if public else None
