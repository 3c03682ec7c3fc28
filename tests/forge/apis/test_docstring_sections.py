"""Docstrings in three styles."""

from __future__ import annotations

import dataclasses
import inspect
import json
import time
from pathlib import Path

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


GOLDEN = Path(__file__).parent / "golden" / "docstrings"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    told = dataclasses.asdict(sections_of(path.read_text().rstrip("\n")))
    assert json.loads(json.dumps(told)) == json.loads(path.with_suffix(".json").read_text())


def test_there_are_golden_files_for_every_style() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {"google", "numpy", "sphinx", "mixed", "broken"}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (":param x: a\n:raises KeyError, b.Other: when", ["KeyError", "b.Other"]),
        (":raises: KeyError: when", ["KeyError"]),
        ("@raise KeyError: when", ["KeyError"]),
        ("Raises\n------\nKeyError or ValueError\n    when", ["KeyError", "ValueError"]),
    ],
)
def test_errors_are_named_one_by_one(value: str, names: list[str]) -> None:
    assert [error.name for error in _sections(value).errors] == names


def test_a_type_before_the_words_of_a_result() -> None:
    for text, annotation in (
        ("Returns:\n    int: the sum", "int"),
        ("Returns:\n    `tuple(int)`: the sum", "`tuple(int)`"),
        ("Returns:\n    list[int]: the sum", "list[int]"),
        ("Returns\n-------\ntotal : int\n    the sum", "int"),
        (":returns: the sum\n:rtype: int", "int"),
    ):
        (result,) = _sections(f"Adds.\n\n{text}").returns
        assert (result.annotation, result.description) == (annotation, "the sum")
    (prose,) = _sections("Adds.\n\nReturns:\n    A list of what is left: nothing").returns
    assert (prose.annotation, prose.description) == ("", "A list of what is left: nothing")


@pytest.mark.parametrize(
    "piece", ["Args:\n  x: y\n", "Parameters\n---\n", ":param x y z: a\n", "Examples:\nx\n", "(", ":a:`", "- ", "\t"]
)
def test_a_long_docstring_takes_no_long_time(piece: str) -> None:
    started = time.process_time()
    for before in ("", "Args:\n  a: ", "Parameters\n----------\nx : "):
        _sections(before + piece * (100_000 // len(piece)))
    assert time.process_time() - started < 4


WORDS = st.sampled_from(
    ["Args:", "Returns:", "Examples::", "Parameters", "----------", "=====", ":param x:", ":type x: int", ":raises",
     "x (int): y", "x : int", "    ", ">>> f(", "... 1", "```python", ".. note:: a", ":a:`b", "\n", "\n\n", "Yields:",
     "Attributes:", "Raises:", "Raises", "Returns", "@param x:", ":raises: A:", "Examples:", "Parameters:", "\x00"]
)  # fmt: skip


@given(st.lists(st.one_of(WORDS, st.text(max_size=6)), max_size=30).map("\n".join))
def test_no_docstring_raises(value: str) -> None:
    sections = _sections(value)
    assert isinstance(sections.text, str)
