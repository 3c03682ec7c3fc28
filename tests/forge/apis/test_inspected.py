"""Distributions that are imported in a process of their own."""

from __future__ import annotations

import textwrap
import time
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest

from forge.apis import docstrings
from forge.apis.inspected import Inspection, Report, inspect_distribution, public_modules
from forge.config import ConfigurationError, Settings, SourceSettings
from forge.distributions import Recorded, recorded
from forge.schema import ApiEntity, Decision

LIMITS = Inspection(seconds=20, memory_bytes=4 << 30)
SHOP = {
    "shopping/__init__.py": """
        print("noise on standard output")
        from ._core import Basket, price, total, helper
        from json import dumps
        __all__ = ["Basket", "price", "total", "helper", "dumps"]
    """,
    "shopping/_core.py": '''
        def doc(text):
            def decorate(function):
                function.__doc__ = text.format(name=function.__name__)
                return function
            return decorate

        class _Base:
            def shared(self, x: int = 3):
                """Inherited from a private class."""

        class Basket(_Base):
            """A basket."""
            def __init__(self, size, *, label="a"):
                """Makes it."""
            @property
            def weight(self):
                """In grams."""
            @doc("{name} puts one in.")
            def add(self, item): ...
            @classmethod
            def empty(cls): "With nothing in."
            def silent(self): ...

        @doc("Says the {name}.")
        def price(item, options={"b", "a"}, key=len): ...

        def helper(x):
            """helper(x[, y]) -> int

            Helps.
            """

        total = sum  # documented by builtins: not ours
    ''',
    "shopping/extra.py": '"""Public."""\ndef more():\n    """More."""\n',
    "shopping/broken.py": "import missing_module_of_nobody\n",
    "shopping/calls.py": """
        import socket
        socket.create_connection(("127.0.0.1", 9))
    """,
}


def _install(site: Path, files: dict[str, str], name: str = "shopping") -> Recorded:
    for path, code in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(textwrap.dedent(code))
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files) + f"{info.name}/RECORD,,\n")
    found = recorded(Distribution.at(info))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return inspect_distribution(_install(tmp_path_factory.mktemp("site"), SHOP), LIMITS)


def test_public_modules(tmp_path: Path) -> None:
    files = dict.fromkeys(["a/__init__.py", "a/b.py", "a/_c.py", "a/__main__.py", "a/setup.py", "z.py"], "")
    assert public_modules(_install(tmp_path, files)) == ["a", "z", "a.b"]


def test_what_importing_shows(report: Report) -> None:
    assert report.problem == ""
    found = {path: described for path, _, described in report.objects}
    assert {path: described.kind for path, described in found.items()} == {
        "shopping.Basket": "class",
        "shopping.Basket.add": "method",
        "shopping.Basket.empty": "method",
        "shopping.Basket.shared": "method",
        "shopping.Basket.weight": "attribute",
        "shopping.price": "function",
        "shopping.helper": "function",
        "shopping.extra.more": "function",
    }
    assert found["shopping.price"].docstring == "Says the price."
    assert [(p.name, p.default) for p in found["shopping.price"].parameters or ()] == [
        ("item", None),
        ("options", "{'a', 'b'}"),
        ("key", "len"),
    ]
    assert [p.name for p in found["shopping.Basket.shared"].parameters or ()] == ["x"]
    assert [p.name for p in found["shopping.Basket.empty"].parameters or ()] == []
    assert found["shopping.helper"].docstring == "Helps."
    assert found["shopping.price"].name == "shopping._core.price"


def test_modules_that_cannot_be_imported_are_named(report: Report) -> None:
    assert [module for module, _ in report.failed] == ["shopping.broken", "shopping.calls"]
    assert "missing_module_of_nobody" in report.failed[0][1]
    assert "refused" in report.failed[1][1]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os\nos._exit(3)", "ended with exit status 3 while importing evil.bad"),
        ("import ctypes\nctypes.string_at(0)", "ended by signal SIGSEGV while importing evil.bad"),
        ("import time\ntime.sleep(60)", "not done after 3 s while importing evil.bad"),
    ],
)
def test_a_crash_or_a_timeout_is_one_problem_and_nothing_is_used(tmp_path: Path, code: str, problem: str) -> None:
    files = {"evil/__init__.py": 'def f():\n    """F."""\n', "evil/bad.py": code}
    started = time.monotonic()
    report = inspect_distribution(_install(tmp_path, files), Inspection(3, 1 << 30))
    assert (report.problem, report.objects) == (problem, ())
    assert time.monotonic() - started < 15


def test_memory_is_bounded(tmp_path: Path) -> None:
    files = {"big/__init__.py": "", "big/all.py": "x = bytearray(3 << 30)"}
    report = inspect_distribution(_install(tmp_path, files), Inspection(10, 1 << 30))
    assert report.failed == (("big.all", "MemoryError: "),)


def test_only_what_is_installed_is_imported(settings: Settings, tmp_path: Path) -> None:
    source = SourceSettings(type="python_packages", options={"folder": str(tmp_path), "inspect": ["shopping"]})
    with pytest.raises(ConfigurationError, match="inspect"):
        list(docstrings.list_items("py", source, settings))


def _read(settings: Settings, **options: Any) -> tuple[dict[str, ApiEntity], list[Decision]]:
    source = SourceSettings(type="python_packages", options=options)
    rows = [
        row
        for item in docstrings.list_items("py", source, settings)
        for row in docstrings.read_item(item, source, settings)
    ]
    entities = [row for row in rows if isinstance(row, ApiEntity)]
    assert len({entity.entity_key for entity in entities}) == len(entities)
    return {entity.name: entity for entity in entities}, [row for row in rows if isinstance(row, Decision)]


def test_numpy(settings: Settings) -> None:
    """What numpy's own ``__all__`` lists and documents is found, compiled functions with their parameters."""
    import numpy as np

    entities, decisions = _read(settings, packages=["numpy"], inspect=["NumPy"])
    assert {decision.reason for decision in decisions} <= {"module_not_importable"}
    sine = entities["numpy.sin"]
    assert sine.summary == "Trigonometric sine, element-wise."
    assert list(sine.parameters["properties"])[:2] == ["x", "out"]
    assert sine.parameters["required"] == ["x"]
    assert sine.source_uri.startswith(f"pkg:pypi/numpy@{distribution('numpy').version}#numpy/")
    assert entities["numpy.ndarray.sort"].entity_type == "method"
    assert entities["numpy.sum"].source_uri.endswith("fromnumeric.py")  # found by its source, too
    listed = {
        f"numpy.{name}"
        for name in np.__all__
        if callable(getattr(np, name)) and (getattr(np, name).__doc__ or "").strip() and not name.startswith("_")
    }
    # an alias ("abs") or a scalar type's further name ("double") is described once, under its own name
    own = {
        path
        for path in listed
        if getattr(getattr(np, path.partition(".")[2]), "__name__", "") == path.partition(".")[2]
    }
    assert len(own) > 400
    assert len(own - set(entities)) <= 0.01 * len(own), sorted(own - set(entities))
