"""Bytes to text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.text.encoding import UnknownEncodingError, decode


@given(
    st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc", "Cn")), max_size=200).filter(
        lambda t: not t.startswith("\ufeff")
    )
)
def test_utf_8_comes_back_as_it_was(text: str) -> None:
    assert decode(text.encode(), "iso-8859-1")[0] == text.replace("\ufffd", "\ufffd")


@given(st.binary(max_size=300), st.text(max_size=12))
def test_any_bytes_are_text_or_refused(body: bytes, declared: str) -> None:
    try:
        text, _ = decode(body, declared, from_html=True)
    except UnknownEncodingError:
        return
    assert isinstance(text, str)


@pytest.mark.parametrize("body", [bytes(range(256)) * 20, b"\x80\x81\x82\x00" * 100])
def test_bytes_that_are_no_text_are_refused(body: bytes) -> None:
    with pytest.raises(UnknownEncodingError):
        decode(body)


def test_a_few_broken_characters_do_not_lose_a_page() -> None:
    text, encoding = decode(b"caf\xc3\xa9 " * 100 + b"\xff", "utf-8")
    assert text.startswith("café")
    assert encoding in {"utf-8", "cp1252"}
