from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.trajectories.formats.embedded_json import embedded_values, value_at, values_only, without

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(codec="utf-8"), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"{}[]\\', max_size=4), inner, max_size=3),
    max_leaves=6,
).filter(lambda value: isinstance(value, (dict, list)))


def test_values_stand_between_words() -> None:
    text = 'See [1 and {"a": "}"} but "not [ this" and [[2], {}].'
    assert [found.value for found in embedded_values(text)] == [{"a": "}"}, [[2], {}]]
    assert without(text, list(embedded_values(text))) == 'See [1 and\nbut "not [ this" and\n.'


@given(
    values=st.lists(VALUES, max_size=4),
    indent=st.sampled_from([None, 2]),
    separator=st.sampled_from([" ", "\n", ", ", " x "]),
)
@settings(max_examples=150, deadline=None)
def test_what_json_writes_is_found(values: list[Any], indent: int | None, separator: str) -> None:
    text = separator.join(json.dumps(value, indent=indent) for value in values)
    assert [found.value for found in embedded_values(text)] == values
    only = values_only(text)
    assert only == (None if separator == " x " and len(values) > 1 else values)


@pytest.mark.parametrize("text", ["{", "[1, 2", '{"a": }', "[" * 100 + "]" * 100, '["', ""])
def test_what_is_no_value(text: str) -> None:
    assert value_at(text, 0) is None
    assert [found.value for found in embedded_values(text[:1] * 2 + text)] in ([], [[]])


def test_time_is_linear_in_the_text() -> None:
    started = time.process_time()
    for piece in ("[", "{", '"', '\\"', '["\\"', '{"', "[1] ", "[}", '[ "', "{}"):
        list(embedded_values(piece * 20_000))
    assert time.process_time() - started < 3
