"""JSON files as objects."""

from __future__ import annotations

import pytest

from forge.apis.json_documents import JsonDocumentError, json_object


@pytest.mark.parametrize(
    ("data", "repeated"),
    [
        (b'{"a": 1}', []),
        (b'{"a": 1, "b": {"a": 2}}', []),
        (b'{"a": "x\\": y", "b": "\\"c\\":"}', []),
        (b'{"a" : 1, "a":2}', ["a"]),
        (b'{"x": [{"b": 1, "c": 1, "b": 2}], "a": 1, "a": 1}', ["a", "b"]),
        (b'{"a": ' + b"[" * 400 + b'{"b": 1, "b": 2}' + b"]" * 400 + b"}", ["b"]),
    ],
)
def test_keys_that_stand_twice(data: bytes, repeated: list[str]) -> None:
    assert json_object(data)[1] == repeated


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark(encoding: str) -> None:
    assert json_object('{"ä": "→"}'.encode(encoding)) == ({"ä": "→"}, [])


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b'{"a": 1,\n "b" 2}', "malformed_spec", "line 2 column"),
        (b'{"a": NaN}', "malformed_spec", "line 1 column"),
        (b'"text"', "malformed_spec", "this is a str"),
        (b"\xff\xfea", "malformed_spec", "UTF-16"),
        (b"[" * 100_000, "malformed_spec", "depth limit"),
        (b" " * (16 * 1024 * 1024 + 1), "oversized", "16,777,216 bytes"),
        (b'{"a": "' + b"\\u003cb>" * 200_001 + b'"}', "too_large", "200,001 tags"),
    ],
)
def test_what_is_refused(data: bytes, reason: str, words: str) -> None:
    with pytest.raises(JsonDocumentError, match=words) as caught:
        json_object(data)
    assert caught.value.reason == reason
