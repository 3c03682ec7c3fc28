"""Names in code, followed to dotted paths."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forge.usages.resolve import UNREADABLE, read_code


def _result_type(path: str) -> str | None:
    """In these tests a capital letter makes a class, and ``open_frame`` is annotated."""
    if path == "shop.open_frame":
        return "shop.Frame"
    return path if path.rpartition(".")[2][:1].isupper() else None


def _paths(code: str, module: str = "pkg.sub.mod", is_package: bool = False) -> list[str]:
    return [call.path for call in read_code(code, module, is_package).calls(_result_type)]


@pytest.mark.parametrize(
    ("code", "paths"),
    [
        ("import a\na.b.c(1)", ["a.b.c"]),
        ("import a.b.c\na.b.c.d()", ["a.b.c.d"]),
        ("import a.b as x\nx.f()", ["a.b.f"]),
        ("from a import b as d\nd()", ["a.b"]),
        ("from a.b import C\nC().run()", ["a.b.C.run", "a.b.C"]),
        ("from a import *\nf()", []),
        ("from . import near\nnear.f()", ["pkg.sub.near.f"]),
        ("from ..core import Frame as F\nF.read(1)", ["pkg.core.Frame.read"]),
        ("from .... import far\nfar.f()", []),
        ("from a import C\nx = C(1)\nx.sort()", ["a.C", "a.C.sort"]),
        ("from a import C\nx: C = C(1)\nx.sort()", ["a.C", "a.C.sort"]),
        ("from a import C\nwith C() as x:\n    x.sort()", ["a.C", "a.C.sort"]),
        ("import shop\nframe = shop.open_frame('x')\nframe.sort()", ["shop.open_frame", "shop.Frame.sort"]),
        ("from a import f\nx = f()\nx.sort()", ["a.f"]),  # nobody knows what f gives
        ("x = open(1)\nx.read()", []),
        ("def f(): ...\nf()", ["pkg.sub.mod.f"]),
        ("class A:\n    def g(self):\n        import a\n        a.f()\n        self.h()", ["a.f"]),
        ("try:\n    import a\nexcept ImportError:\n    a = None\nelse:\n    pass", []),
        ("if True:\n    import a\ndef f():\n    return a.g(a.h())", ["a.g", "a.h"]),
        ("import a\ntry:\n    a.f()\nexcept E:\n    a.g()\nelse:\n    a.h()", ["a.f", "a.g", "a.h"]),
        ("import a\nmatch a.f():\n    case 1:\n        a.g()", ["a.f", "a.g"]),
        ("import a\nasync def f():\n    async with a.C() as c:\n        await c.g()", ["a.C", "a.C.g"]),
    ],
)
def test_paths(code: str, paths: list[str]) -> None:
    assert _paths(code) == paths


@pytest.mark.parametrize(
    "code",
    [
        "import a\ndef f(a):\n    a.g()",
        "import a\ndef f():\n    a = 1\n    a.g()",
        "import a\n[a.g() for a in x]",
        "import a\nfor a in x:\n    a.g()",
        "import a\nlambda a: a.g()",
        "import a\nif (a := 1):\n    a.g()",
        "import a\ntry:\n    pass\nexcept E as a:\n    a.g()",
        "import a\ndef f():\n    def a(): ...\n    a()",
    ],
)
def test_a_name_that_is_bound_to_something_else_is_not_followed(code: str) -> None:
    assert _paths(code) == []


@pytest.mark.parametrize("header", ["pytest.raises(E)", "self.assertRaises(E)", "tm.assert_produces_warning(W) as w"])
def test_what_is_expected_to_fail_is_no_usage(header: str) -> None:
    code = f"import a\nwith {header}:\n    a.f()\n    if True:\n        a.g()\na.h()\nwith a.k():\n    a.l()"
    assert _paths(code) == ["a.h", "a.k", "a.l"]


def test_a_name_means_what_it_was_last_bound_to() -> None:
    code = "from a import B, C\nx = B()\nx.f()\nx = C()\nx.f()\nx = x.g()\nx.h()"
    assert _paths(code) == ["a.B", "a.B.f", "a.C", "a.C.f", "a.C.g"]


def test_a_package_is_its_own_parent() -> None:
    assert _paths("from .core import f\nf()", "pkg", is_package=True) == ["pkg.core.f"]


def test_docstrings_with_sessions_are_found_by_name() -> None:
    code = '"""\n>>> 1\n"""\nclass A:\n    """>>> 2"""\n    def f(self):\n        """>>> 3"""\ndef g():\n    "none"'
    assert [name for name, _ in read_code(code, "m").docstrings] == ["", "A", "A.f"]


def test_an_outer_scope_lends_its_names() -> None:
    outer = read_code("import numpy as np", "m")
    session = read_code("np.ones(3)", "m", outer=outer.scope)
    assert [call.path for call in session.calls(_result_type)] == ["numpy.ones"]


PIECES = st.sampled_from(
    ["import a\n", "from a import b\n", "a.", "b", "(", ")", "[", "]", "\n", "    ", "def f(x):\n", "class C:\n",
     "x = ", "with a.B() as y:\n", "for b in x:\n", "lambda q: ", "y.z(", "1", ",", "'''", "#", "\\", "return ", "\x00",
     "é", "\r", "\x0c", "async ", "await ", "x: int = 3\n", ">>> "]
)  # fmt: skip


@given(st.text(max_size=60) | st.lists(PIECES, max_size=25).map("".join))
@example("(" * 200)
@example("a" + ".b" * 5000 + "()")
@example("f" + "()" * 3000)
@example("-" * 3000 + "1")
@example("x = " + "[" * 90 + "]" * 90)
def test_no_text_raises_anything_else(code: str) -> None:
    try:
        read = read_code(code, "m")
    except UNREADABLE:
        return
    list(read.calls(_result_type))
