"""Snippets that stand alone."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.usages.resolve import UNREADABLE, read_code
from forge.usages.snippets import MAX_LINES, Cutter, Snippet, cost_of_call, least_cost


def _result_type(path: str) -> str | None:
    return path if path.rpartition(".")[2][:1].isupper() else None


def _snippet(code: str, path: str = "a.f") -> Snippet | None:
    read = read_code(code, "pkg.mod")
    found = next(call for call in read.calls(_result_type) if call.path == path)
    return Cutter(read, lambda name: None if "._" in name else name).cut(found)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import a\n\n\ny = a.f(1)  # one\n", "import a\n\ny = a.f(1)"),
        ("import a, b\na.f(b.g())", "import a\nimport b\n\na.f(b.g())"),
        ("from a import f, g as h\nf(h(2), h(3))", "from a import f, g as h\n\nf(h(2), h(3))"),
        (
            "import a\ndef test():\n    x = [1,\n         2]\n    unused = 3\n    assert a.f(x) == 4",
            "import a\n\nx = [1,\n     2]\nassert a.f(x) == 4",
        ),
        ("import a\ndef g():\n    x = 1\n    x = x + 2\n    return a.f(x)", "import a\n\nx = 1\nx = x + 2\na.f(x)"),
        ("import a\nN = 3\ndef g():\n    a.f(N)", "import a\n\nN = 3\na.f(N)"),
        ("import a\nclass T:\n    def t(self):\n        self.assertEqual(a.f(1), 2)", "import a\n\nassert a.f(1) == 2"),
        ("import a\nclass T:\n    def t(self):\n        self.assertTrue(a.f(1))", "import a\n\nassert a.f(1)"),
        ("import a\ndef g():\n    with a.f(1) as h:\n        h.run()", "import a\n\nwith a.f(1) as h:\n    h.run()"),
        ("import a\ndef g():\n    for x in a.f(1):\n        print(x)", "import a\n\nfor x in a.f(1):\n    print(x)"),
        ("import a; a.f(1); a.g(2)", "import a\n\na.f(1)"),
        ('import a\ndef g():\n    a.f("""x\n    y""")', "import a\n\na.f('x\\n    y')"),
        ("import a\ndef g():\n    a.f('é', 1)", "import a\n\na.f('é', 1)"),
        ("import a\ndef g(x):\n    a.f(x)", "import a\n\na.f(x)"),  # one open name is bearable
        ("import a.b.c as d\nfrom a import f\nf(d.x)", "import a.b.c as d\nfrom a import f\n\nf(d.x)"),
    ],
)
def test_snippets(code: str, text: str) -> None:
    snippet = _snippet(code)
    assert snippet is not None
    assert snippet.text == text


@pytest.mark.parametrize(
    "code",
    [
        "import a\ndef g(x, y):\n    a.f(x, y)",  # two open names
        "import a\nclass C:\n    def g(self):\n        a.f(self)",
        "import a\na.f(a._hidden)",
        "import a\na.f(_key=1)",
        "from a import f\nfrom a._b import c\nf(c)",
        "import a\nasync def g():\n    await a.f(1)",
        "import a\ndef g():\n    yield a.f(1)",
        "import a\ndef helper(): ...\na.f(" + "1,\n" * MAX_LINES + ")",
        "import a\na.f('" + "x" * 200 + "')",
        "import a\nif a.f(1):\n    pass",  # a condition alone says nothing
    ],
)
def test_what_cannot_stand_alone(code: str) -> None:
    assert _snippet(code) is None


def test_an_assignment_in_another_branch_is_not_what_the_name_means() -> None:
    code = "import a\ndef g(c):\n    if c:\n        x = 1\n    else:\n        a.f(x)"
    snippet = _snippet(code)
    assert snippet is not None
    assert snippet.free_names == ("x",)


def test_clear_code_costs_less() -> None:
    codes = [
        "import a\na.f(1)",
        "import a\na.f()",
        "import a\nx = 1\na.f(x)",
        "import a\ndef g(x):\n    a.f(x)",
    ]
    scores = []
    for code in codes:
        read = read_code(code, "m")
        found = next(iter(read.calls(_result_type)))
        snippet = Cutter(read, str).cut(found)
        assert snippet is not None
        scores.append(snippet.score + cost_of_call(found.node))
        assert scores[-1] >= least_cost(found)
    assert scores == sorted(scores)


STATEMENTS = st.lists(
    st.sampled_from(
        [
            "import a",
            "from a import f as g",
            "x = 1",
            "y = [x,\n     2]",
            "a.f(x)",
            "z = a.f(y, k=g(3))",
            "assert g(x) == z",
            "with a.f(x) as w:\n    g(w)",
            "def h(q):\n    '''d'''\n    r = a.f(q)\n    return g(r, x)",
            "class C:\n    def m(self):\n        t = '''p\n  q'''\n        self.assertEqual(a.f(t), g('é'))",
            "x += a.f(2)",
            "for i in a.f(3):\n    g(i)",
            "é = a.f(1); a.f(é)",
            "if x:\n    y = a.f(x)\n    g(y)",
            "l = lambda v: a.f(v)",
        ]
    ),
    max_size=10,
).flatmap(lambda lines: st.sampled_from(["\n", "\r\n", "\r", "\n\x0c"]).map(lambda end: end.join(lines)))


@given(STATEMENTS)
def test_every_snippet_parses_and_shows_the_call(code: str) -> None:
    try:
        read = read_code(code, "m")
    except UNREADABLE:
        return
    cutter = Cutter(read, str)
    for found in read.calls(_result_type):
        snippet = cutter.cut(found)
        if snippet is not None:
            names = {node.attr for node in ast.walk(ast.parse(snippet.text)) if isinstance(node, ast.Attribute)}
            names |= {node.id for node in ast.walk(ast.parse(snippet.text)) if isinstance(node, ast.Name)}
            called = found.node.func
            assert (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in names
