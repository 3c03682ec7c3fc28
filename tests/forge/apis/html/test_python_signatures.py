"""Python signatures as text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.html.python_signatures import SignatureParameter, parse_signature, signatures_schema

P = SignatureParameter


@pytest.mark.parametrize(
    ("text", "parameters", "returns"),
    [
        ("os.open(path, flags, mode=0o777, *, dir_fd=None)",
         (P("path"), P("flags"), P("mode", "", "0o777"), P("dir_fd", "", "None")), ""),
        ("class range(start, stop[, step])", (P("start"), P("stop"), P("step", is_optional=True)), ""),
        ("bytes([source[, encoding[, errors]]])",
         (P("source", is_optional=True), P("encoding", is_optional=True), P("errors", is_optional=True)), ""),
        ("f(a: List[int] = [1, 2], *args: int, **options) \N{RIGHTWARDS ARROW} Dict[str, int]",
         (P("a", "List[int]", "[1, 2]"), P("*args", "int"), P("**options")), "Dict[str, int]"),
        ("join(separator=', ', quote=\"'\", end='\\n') -> str",
         (P("separator", "", "', '"), P("quote", "", '"\'"'), P("end", "", "'\\n'")), "str"),
        ("f()", (), ""),
    ],
)  # fmt: skip
def test_signatures(text: str, parameters: tuple[SignatureParameter, ...], returns: str) -> None:
    found = parse_signature(text)
    assert found is not None
    assert (found.parameters, found.returns) == (parameters, returns)


@pytest.mark.parametrize("text", ["os.sep", "f(a", "f(a='", "(" * 20_000])
def test_what_is_no_signature_is_none(text: str) -> None:
    assert parse_signature(text) is None


def test_several_signatures_are_one_call_that_requires_what_all_require() -> None:
    signatures = [found for text in ("range(stop)", "range(start, stop[, step])") if (found := parse_signature(text))]
    schema = signatures_schema(signatures, {"step": {"description": "of each"}})
    assert schema == {
        "type": "object",
        "properties": {"start": {}, "stop": {}, "step": {"description": "of each"}},
        "required": ["stop"],
        "x-order": ["start", "stop", "step"],
    }


@given(st.text(alphabet="ab()[]{}*/,=:'\\\" ->.", max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    found = parse_signature("f(" + text)
    assert found is None or signatures_schema([found], {})["type"] == "object"


@pytest.mark.parametrize("piece", ["[", "a[,", "a,", "[a]", "'a',", "((", "a:"])
def test_hostile_texts_take_no_time(piece: str) -> None:
    started = time.process_time()
    found = parse_signature("f(" + (piece * 5000)[:9990] + ")")
    if found is not None:
        signatures_schema([found, found], {})
    assert time.process_time() - started < 2
