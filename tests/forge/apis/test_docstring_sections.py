"""Docstrings in three styles."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.docstring_sections import Sections, clean, sections_of, split_session
from forge.apis.docstring_styles import guess_style

GOOGLE = """Adds two numbers.

More about it, see :func:`~a.b`.

Args:
    left (int): the first
        number
    right: the second

Returns:
    int: their sum

Raises:
    ValueError: when it cannot

Examples::

    >>> add(1, 2)
    3

Note:
    Slow.
"""
NUMPY = """Adds two numbers.

Parameters
----------
left : int, optional
    the first number
right, other
    the others

Returns
-------
int
    their sum

Raises
------
ValueError
    when it cannot

Examples
--------
First this:

>>> x = [
...     1]
>>> add(1, 2)
3

Notes
-----
Slow.
"""
SPHINX = """Adds two numbers.

:param left: the first number
:type left: int
:param right: the second
:returns: their sum
:raises ValueError: when it cannot
"""


def _sections(value: str) -> Sections:
    return sections_of(inspect.cleandoc(value))


@pytest.mark.parametrize(
    ("value", "style"), [(GOOGLE, "google"), (NUMPY, "numpy"), (SPHINX, "sphinx"), ("Just: words.", None)]
)
def test_guess_style(value: str, style: str | None) -> None:
    assert guess_style(value) == style


@pytest.mark.parametrize("value", [GOOGLE, NUMPY, SPHINX])
def test_the_three_styles_say_the_same(value: str) -> None:
    sections = _sections(value)
    assert sections.text.startswith("Adds two numbers.")
    first = sections.parameters[0]
    assert first.name == "left"
    assert first.annotation.startswith("int")
    assert " ".join(first.description.split()) == "the first number"
    assert [entry.description for entry in sections.returns] == ["their sum"]
    assert [(error.name, error.description) for error in sections.errors] == [("ValueError", "when it cannot")]


def test_examples_keep_prompts_and_part_the_last_output() -> None:
    (google,) = _sections(GOOGLE).examples
    assert (google.description, google.input, google.output) == ("", ">>> add(1, 2)", "3")
    (numpy,) = _sections(NUMPY).examples
    assert (numpy.description, numpy.input, numpy.output) == (
        "First this:",
        ">>> x = [\n...     1]\n>>> add(1, 2)",
        "3",
    )


def test_other_sections_stay_in_the_text() -> None:
    assert _sections(GOOGLE).text == "Adds two numbers.\n\nMore about it, see `a.b`.\n\nNote:\n  Slow."
    assert _sections(NUMPY).text.endswith("Notes:\n  Slow.")


def test_headings_underlined_with_equals_signs() -> None:
    sections = _sections(
        "Finds it.\n\nParameters\n==========\n\nx : int\n    the x\n\nExamples\n========\n\n>>> find(2)\n2\n"
    )
    assert [entry.name for entry in sections.parameters] == ["x"]
    assert [example.output for example in sections.examples] == ["2"]


def test_clean() -> None:
    assert clean(":class:`~a.B` and :py:func:`name <a.c>`  \n.. versionadded:: 1.2\n    x = 1") == (
        "`a.B` and `name`\nNew in version 1.2\n    x = 1"
    )


def test_split_session() -> None:
    assert split_session("Say:\n    >>> a = 1\n    >>> a\n    1\n    2") == ("Say:", ">>> a = 1\n>>> a", "1\n2")
    assert split_session("no prompt") == ("no prompt", "", "")


WORDS = st.sampled_from(
    ["Args:", "Returns:", "Examples::", "Parameters", "----------", "=====", ":param x:", ":type x: int", ":raises",
     "x (int): y", "x : int", "    ", ">>> f(", "... 1", "```python", ".. note:: a", ":a:`b", "\n", "\n\n", "Yields:",
     "Attributes:", "Raises:"]
)  # fmt: skip


@given(st.lists(st.one_of(WORDS, st.text(max_size=6)), max_size=30).map("\n".join))
def test_no_docstring_raises(value: str) -> None:
    sections = _sections(value)
    assert isinstance(sections.text, str)
