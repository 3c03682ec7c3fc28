"""YAML from outside."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.yaml_documents import load_yaml, plain_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("no", "no"), ("true", True), ("False", False), ("~", None), ("null", None), ("-12", -12),
        ("0o17", 15), ("0x1F", 31), ("1.5", 1.5), (".5e3", 500.0), ("1e999", "1e999"), (".nan", ".nan"),
        ("2020-01-01", "2020-01-01"), ("1:30", "1:30"), ("1_000", "1_000"), ("-", "-"), ("v1", "v1"),
        ("9" * 30, "9" * 30), ("9" * 5000, "9" * 5000), ("٣", "٣"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    found = plain_scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_keys_are_text_and_quotes_keep_text() -> None:
    content = b"200: '200'\non: \"1\"\n? long\n: !!str 5\nblock: |\n  1\nmerged: {<<: {a: 1, b: 1}, b: 2}\n"
    assert load_yaml(content) == {"200": "200", "on": "1", "long": "5", "block": "1\n", "merged": {"a": 1, "b": 2}}


def test_aliases_are_written_out() -> None:
    assert load_yaml(b"a: &x {k: [1]}\nb: *x\nc: [*x]\nd: &s text\n*s : 1") == {
        "a": {"k": [1]},
        "b": {"k": [1]},
        "c": [{"k": [1]}],
        "d": "text",
        "text": 1,
    }


def test_repeated_keys_are_told() -> None:
    told: list[str] = []
    assert load_yaml(b"a: 1\nb: {c: 1, c: 2}\na: 3", told.append) == {"a": 3, "b": {"c": 2}}
    assert told == ["key 'c' stands twice (line 2, column 14)", "key 'a' stands twice (line 3, column 4)"]


BAD = {
    "tag": b"a: !ruby/object x",
    "levels": b"[" * 200,
    "of what it stands in": b"&a [*a]",
    "aliases": b"- &a x\n" + b"- *a\n" * 1001,
    "no text": b"{[a]: b}",
    "alias of nothing": b"*nothing",
    "second YAML document": b"a\n---\nb",
    "not valid YAML": b"a: [",
    "more than 16777216 bytes": b"x" * (1 << 24) + b"x",
    "nodes": b"[" + b"x," * 2_001_000 + b"]",
}


@pytest.mark.parametrize("reason", BAD)
def test_what_is_refused_is_told_with_its_place(reason: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=reason) as raised:
        load_yaml(BAD[reason])
    assert "bytes" in reason or "line" in str(raised.value)
    assert time.process_time() - started < 10


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_round_trip_through_quoted_yaml(value: Any) -> None:
    """With texts in quotes YAML 1.1, which the library writes, and the core schema say the same."""

    class Quoting(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    assert load_yaml(yaml.dump(value, Dumper=Quoting).encode()) == value


@given(st.binary(max_size=100) | st.text("{}[]:,-&*!|>'\"#a1 \n", max_size=60).map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        load_yaml(data)
