"""Signatures on the first lines of docstrings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.docstring_signatures import split_signature
from forge.apis.python_objects import Parameter


@pytest.mark.parametrize(
    ("line", "parameters"),
    [
        ("f()", []),
        ("f(x, /, out=None, *, where=True)", [("x", None), ("out", "None"), ("where", "True")]),
        ("f(x[, out])", [("x", None), ("out", "")]),
        ("f([start,] stop[, step,], dtype=None)", [("start", ""), ("stop", None), ("step", ""), ("dtype", "None")]),
        ("m.f(self, axes=[0, 1])", [("axes", "[0, 1]")]),
        ("f(a, *args, **kwargs) -> int", [("a", None), ("*args", None), ("**kwargs", None)]),
        ("f(a, ...)", None),
        ("f(x: int, y: str = 'a)')", None),  # the parenthesis in the string ends it: no Python
    ],
)
def test_parameters(line: str, parameters: list[tuple[str, str | None]] | None) -> None:
    found = split_signature(f"{line}\n\nDoes it.", "f")
    if found is None:
        assert parameters is None
        return
    told = None if found.parameters is None else [(entry.name, entry.default) for entry in found.parameters]
    assert told == parameters
    assert found.rest == "Does it."


def test_several_signatures_and_long_ones() -> None:
    found = split_signature("f(a)\nf(a, b,\n  c=1) -> list[int]\n\nDoes it.\n\nMore.", "f")
    assert found is not None
    assert (found.text, found.parameters) == ("f(a)\nf(a, b, c=1) -> list[int]", [Parameter("a")])
    assert found.rest == "Does it.\n\nMore."
    only = split_signature("f(a: int) -> Callable[[int], str]", "f")
    assert only is not None
    assert (only.parameters, only.returns, only.rest) == ([Parameter("a", "int")], "Callable[[int], str]", "")


@pytest.mark.parametrize(
    "text", ["Does it.", "f(x) does it.", "f(x)\nand then more", "g(x)\n\nDoes.", "f(x", "f(" * 2000, ""]
)
def test_prose_is_no_signature(text: str) -> None:
    assert split_signature(text, "f") is None


@given(st.text("f()[]{},=*/:'\"->\n ab1.", max_size=60))
def test_no_text_raises(text: str) -> None:
    found = split_signature("f(" + text, "f")
    assert found is None or found.text.startswith("f(")
