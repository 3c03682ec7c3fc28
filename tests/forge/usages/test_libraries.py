"""What dotted paths mean in installed code."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge.usages.libraries import Libraries, Library

FILES = {
    "shop/__init__.py": "from ._core import *\nfrom .frames import Frame\nfrom .lazy import helper as help_me\n",
    "shop/_core.py": "__all__ = ['price', 'Base']\ndef price(x): ...\nclass Base:\n    def head(self): ...\n"
    "    @classmethod\n    def make(cls) -> Self: ...\n",
    "shop/frames.py": "from ._core import Base\nclass Frame(Base):\n    def tail(self) -> 'Frame': ...\n"
    "    class Row:\n        def cell(self): ...\ndef load(x) -> Frame: ...\ndef any_of(x) -> list[int]: ...\n",
    "shop/lazy.py": "def helper(): ...\ndef _private(): ...\n",
    "shop/broken.py": "def (",
    "shop/loop.py": "from shop.loop2 import x\n",
    "shop/loop2.py": "from shop.loop import x\n",
}


@pytest.fixture
def libraries(tmp_path: Path) -> Libraries:
    modules = {}
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
        modules[path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = path
    modules["shop.gone"] = "shop/gone.py"
    return Libraries([Library(str(tmp_path), modules)])


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("shop.price", ("shop.price",)),
        ("shop._core.price", ("shop.price",)),
        ("shop.Frame", ("shop.Frame", "shop.frames.Frame")),
        ("shop.frames.Frame.tail", ("shop.Frame.tail", "shop.frames.Frame.tail")),
        ("shop.Frame.head", ("shop.Base.head", "shop.Frame.head", "shop.frames.Frame.head")),
        ("shop.Frame.Row.cell", ("shop.Frame.Row.cell", "shop.frames.Frame.Row.cell")),
        ("shop.help_me", ("shop.help_me", "shop.lazy.helper")),
        ("shop.lazy.helper", ("shop.help_me", "shop.lazy.helper")),
        ("shop.compiled.thing", ("shop.compiled.thing",)),
        ("collections.OrderedDict.popitem", ("collections.OrderedDict.popitem",)),
    ],
)
def test_names(libraries: Libraries, path: str, names: tuple[str, ...]) -> None:
    found = libraries.api(path)
    assert found is not None
    assert found.names == names


@pytest.mark.parametrize(
    "path", ["shop.lazy._private", "shop.tests.helper", "shop.test_x.f", "shop._gone", "other.f", "_thread.x._y"]
)
def test_what_nobody_offers(libraries: Libraries, path: str) -> None:
    assert libraries.api(path) is None


def test_all_names_of_a_callable_have_one_identity(libraries: Libraries) -> None:
    found = [libraries.api(path) for path in ("shop.Frame.head", "shop.frames.Frame.head", "shop.Base.head")]
    assert {api.identity for api in found if api is not None} == {"shop._core.Base.head"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("shop.Frame", "shop.Frame"),
        ("shop.frames.load", "shop.frames.Frame"),
        ("shop.Frame.tail", "shop.frames.Frame"),
        ("shop.Base.make", "shop._core.Base"),
        ("shop.frames.any_of", None),
        ("shop.price", None),
        ("shop.broken.x", None),
        ("shop.gone.x", None),
        ("shop.loop.x", None),
        ("io.StringIO", "io.StringIO"),
        ("json.loads", None),
        ("nowhere.X", None),
    ],
)
def test_result_types(libraries: Libraries, path: str, kind: str | None) -> None:
    assert libraries.result_type(path) == kind


def test_imports_name_public_modules(libraries: Libraries) -> None:
    assert libraries.importable("shop._core.price") == "shop.price"
    assert libraries.importable("shop.frames") == "shop.frames"
    assert libraries.importable("shop._core") is None
    assert libraries.importable("unknown.thing") == "unknown.thing"
    assert libraries.importable("unknown.tests.thing") is None
