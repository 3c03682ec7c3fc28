from __future__ import annotations

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import canonical_json, is_deeper_than
from forge.trajectories.formats.fields import MAX_NESTING, UnusableRecordError
from forge.trajectories.formats.python_literals import MAX_CHARACTERS, keyword_arguments, literal, parsed_literal

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PIECES = [
    *"[](){}:,=.-+*@#\\'\"\n",
    *("'a'", "b'x'", "f'{a}'", "'\\ud800'", "'\\d'", "\ud800", "\x00", "1", "1e999", "2j", "0x", "9" * 30, "9" * 5_000),
    *("true", "None", "a", "f(", "**", "lambda:", " for x in ", "set()", "...", " if "),
]
SOURCES = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)

NO_LITERALS = [
    *("", "a", "1 2", "[1", "f()", "1 + 1", "1 + 2j", "--1", "-True", "-'a'", "...", "f'{1}'", "[x for x in 'a']"),
    *("{1, 2}", "set()", "b'x'", "2j", "1e999", "-1e999", "nan", str(2**64), str(-(2**63) - 1), "9" * 5_000),
    *("'\\ud800'", "{'\\ud800': 1}", "'\ud800'", "\x00", "{(1, 2): 3}", "{[]: 1}", "{1: 2, '1': 3}", "{**{}}", "[*[]]"),
]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{'city': \"Oslo\", 'days': (1, 2)}", {"city": "Oslo", "days": [1, 2]}),
        ("[True, false, None, null, -1.5, +2, 1_000, 0x10]", [True, False, None, None, -1.5, 2, 1000, 16]),
        ("{1: 'x', 2.5: {true: 2}, None: 3, -1: 4}", {"1": "x", "2.5": {"true": 2}, "null": 3, "-1": 4}),
        ("  'a' \"b\"\n", "ab"),
        (r"'\d \u00e6 \U0001F600'", "\\d æ \U0001f600"),
        ("1, 2", [1, 2]),
        (str(2**64 - 1), 2**64 - 1),
        (str(-(2**63)), -(2**63)),
    ],
)
def test_literals_are_json_values(source: str, value: Any) -> None:
    assert canonical_json(literal(source, "")) == canonical_json(value)
    assert canonical_json(parsed_literal(source)) == canonical_json(value)


@pytest.mark.parametrize("source", NO_LITERALS)
def test_what_json_has_not_is_refused(source: str) -> None:
    assert parsed_literal(source) is None
    with pytest.raises(UnusableRecordError, match="turn 3: no literal") as raised:
        literal(source, "turn 3")
    assert raised.value.reason == "malformed_arguments"
    with pytest.raises(UnusableRecordError, match="turn 3: no arguments"):
        keyword_arguments(f"a=1, b={source}", "turn 3")


def test_nesting_is_bounded() -> None:
    deepest = "[" * MAX_NESTING + "]" * MAX_NESTING
    assert not is_deeper_than(literal(deepest, ""), MAX_NESTING)
    assert not is_deeper_than(keyword_arguments(f"a={deepest[1:-1]}", ""), MAX_NESTING)
    for read in (lambda: literal(f"[{deepest}]", "turn 3"), lambda: keyword_arguments(f"a={deepest}", "turn 3")):
        with pytest.raises(UnusableRecordError, match="turn 3: a literal of more") as raised:
            read()
        assert raised.value.reason == "too_deeply_nested"
    assert parsed_literal("[" * 50_000 + "]" * 50_000) is None


def test_keyword_arguments() -> None:
    assert keyword_arguments("", "") == {}
    assert keyword_arguments('city="Oslo", days=[1, 2],', "") == {"city": "Oslo", "days": [1, 2]}
    assert keyword_arguments("token=b498, to=true, n=1", "", has_bare_words=True) == {
        "token": "b498",
        "to": "true",
        "n": 1,
    }


@pytest.mark.parametrize(
    "source", ["1", "a", "**{'a': 1}", "*[1]", "a=1, a=2", "a=1)(b=2", "a=1), f(b=2", "a=b", "a=1 #"]
)
def test_other_arguments_are_refused(source: str) -> None:
    with pytest.raises(UnusableRecordError, match="no arguments") as raised:
        keyword_arguments(source, "")
    assert raised.value.reason == "malformed_arguments"


@given(VALUES)
def test_what_python_writes_is_read_back(value: Any) -> None:
    assert canonical_json(literal(repr(value), "")) == canonical_json(value)
    assert canonical_json(keyword_arguments(f"a={value!r}", "")) == canonical_json({"a": value})


@given(st.dictionaries(SCALARS, SCALARS, max_size=3))
def test_keys_are_those_that_json_writes(value: dict[Any, Any]) -> None:
    written = orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    assert parsed_literal(repr(value)) == (written if len(written) == len(value) else None)


@given(SOURCES)
def test_whatever_the_text_a_value_can_be_written_as_json(source: str) -> None:
    for read in (lambda: literal(source, ""), lambda: keyword_arguments(source, "")):
        try:
            found = read()
        except UnusableRecordError:
            continue
        assert json.loads(canonical_json(found)) == found


@pytest.mark.parametrize(
    "piece",
    ["1,", "'ab',", "{'a':1},", "[", "{0:", "-", "1+", "a.", "not ", "'a'", "a=1,", "lambda:", "1 if ", "\n", "\\"],
)
def test_time_is_linear(piece: str) -> None:
    source = piece * (MAX_CHARACTERS // len(piece) // 2)
    begin = time.process_time()
    for text in (source, f"[{source}]", f"'{source}", source * 20):
        parsed_literal(text)
    assert time.process_time() - begin < 4
