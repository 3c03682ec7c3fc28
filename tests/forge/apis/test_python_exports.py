"""Under which path a package offers what it defines inside."""

from __future__ import annotations

import pytest

from forge.apis.python_exports import Exports
from forge.apis.python_source import parse_module


def _exports(**packages: str) -> Exports:
    exports = Exports()
    for package, code in packages.items():
        name = package.replace("__", ".")
        exports.add_module(name)
        exports.add_imports(parse_module(name, code, is_package=True), is_package=True)
    return exports


@pytest.mark.parametrize(
    ("module", "name", "path"),
    [
        ("a._x", "f", "a.f"),  # named
        ("a._x", "g", "a.h"),  # renamed
        ("a._x", "nowhere", None),
        ("a.b._y", "anything", "a.b.anything"),  # starred
        ("a._core.z", "deep", "a.deep"),  # through a private package
        ("a.b.c", "shown", "a.b.c.shown"),  # exported by nobody else
        ("a.b.c", "inner", "a.inner"),  # shorter elsewhere
        ("a.b._y", "own", None),  # the package defines that name itself
        ("a.b._y", "_private", None),
    ],
)
def test_public_path(module: str, name: str, path: str | None) -> None:
    exports = _exports(
        a="from ._x import f, g as h\nfrom ._core import *\nfrom .b.c import inner\n",
        a___core="from .z import deep",
        a__b="from ._y import *\ndef own(): ...\n",
    )
    assert exports.public_path(module, name) == path


def test_a_star_brings_what_all_lists() -> None:
    exports = _exports(a="from ._x import *")
    assert exports.public_path("a._x", "f", frozenset({"f"})) == "a.f"
    assert exports.public_path("a._x", "g", frozenset({"f"})) is None


def test_modules_that_show_nothing_are_known() -> None:
    exports = _exports(a="from ._x import f")
    assert exports.may_show("a.b")
    assert exports.may_show("a._x")
    assert not exports.may_show("a._y")


def test_an_alias_of_a_module_is_none_of_its_namesake() -> None:
    exports = _exports(a="from . import run as running\nfrom ._x import run", a__run="")
    assert exports.public_path("a._x", "run") is None
    assert exports.public_path("a.run", "f") == "a.run.f"


def test_circles_end() -> None:
    exports = _exports(a="from .b import *", a__b="from .. import *\nfrom a import *")
    assert exports.public_path("a.b", "f") == "a.f"
