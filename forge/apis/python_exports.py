"""Under which public path a Python distribution offers an object that it defines somewhere inside."""

from __future__ import annotations

from forge.apis.python_objects import is_public
from forge.apis.python_source import ModuleSource

_MAX_HOPS = 6


def path_rank(path: str, own_name: str) -> tuple[int, bool, str]:
    """Of the public paths of one object that of the least rank names it: the shortest, then one that keeps its own
    name, then the first in alphabetical order."""
    return (path.count("."), path.rpartition(".")[2] != own_name, path)


class Exports:
    """The names that the modules of one distribution import from each other.

    ``from .x import f`` is certain in a package (``__init__.py``); other modules pass on only what ``from .x import *``
    brings. A star brings what ``x`` lists in ``__all__``, else its public names.
    """

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._named: dict[str, list[str]] = {}  # path of an object -> the paths it is exported by
        self._starred: dict[str, list[str]] = {}  # module -> modules that import everything from it
        self._explicit: set[str] = set()
        self._listed: dict[str, frozenset[str]] = {}
        self._showing: set[str] = set()  # every module above an object that is exported by name

    def add_module(self, module: str) -> None:
        self._modules.add(module)

    def add_imports(self, source: ModuleSource, is_package: bool) -> None:
        """Takes the imports of one module; a module that is no package only passes stars on."""
        if source.listed:
            self._listed[source.name] = source.listed
        self._explicit.update(f"{source.name}.{name}" for name in source.own)
        for target in source.starred:
            if target != source.name:
                self._starred.setdefault(target, []).append(source.name)
        if not is_package:
            return
        for name, target in source.imports:
            path = f"{source.name}.{name}"
            if target != path:
                self._named.setdefault(target, []).append(path)
                self._explicit.add(path)
                self._showing.add(target.rpartition(".")[0])

    def may_show(self, module: str) -> bool:
        """False when nothing in the module can have a public path: it is not worth parsing."""
        return module in self._starred or module in self._showing or all(map(is_public, module.split(".")))

    def public_path(self, module: str, name: str, listed: frozenset[str] = frozenset()) -> str | None:
        """The public path of ``module.name`` that :func:`path_rank` prefers; None when there is none. ``listed`` is the
        module's ``__all__``."""
        reached: set[str] = set()
        frontier = [(module, name)]
        for hop in range(_MAX_HOPS):
            following: list[tuple[str, str]] = []
            for place, called in frontier:
                path = f"{place}.{called}"
                if path in reached:
                    continue
                reached.add(path)
                for target in () if path in self._modules else self._named.get(path, ()):  # the module has the alias
                    package, _, alias = target.rpartition(".")
                    following.append((package, alias))
                named = listed if hop == 0 else self._listed.get(place, frozenset())
                if is_public(called) and (not named or called in named):
                    # who defines or imports the name itself shows that, not what the star brought
                    following += [
                        (p, called) for p in self._starred.get(place, ()) if f"{p}.{called}" not in self._explicit
                    ]
            frontier = following
        public = [path for path in reached if all(map(is_public, path.split(".")))]
        public = [path for path in public if path == f"{module}.{name}" or path not in self._modules]
        return min(public, key=lambda path: path_rank(path, name)) if public else None
