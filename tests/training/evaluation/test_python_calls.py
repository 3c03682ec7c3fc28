"""Decoding model output: literals only, bounded, nothing evaluated."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.chat import render_call
from training.evaluation.python_calls import NotCalls, call_list, calls_of

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
@settings(max_examples=100, deadline=None)
def test_what_we_render_is_what_we_read(arguments):
    (call,) = calls_of(f"[{render_call('module.function', arguments)}]")
    assert call.arguments == arguments


@given(st.text(max_size=200) | st.text("f(a=1,b:[]{}'\"+-*/%.x\n )", max_size=60), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_gives_calls_or_a_refusal(text, symbols_as_text):
    with contextlib.suppress(NotCalls):
        calls_of(text, symbols_as_text=symbols_as_text)


@pytest.mark.parametrize(
    "text",
    [
        "f(a=1+__import__('pathlib').Path('PLANTED').touch())",
        "f(a=__import__('pathlib').Path('PLANTED').write_text('x'))",
        "__import__('os').system('touch PLANTED')",
        "f(a=[open('PLANTED', 'w') for _ in (1,)])",
        'f(a=f\'{open("PLANTED", "w")}\')',
        "f(a=lambda: 1)",
        "(lambda: f)()(a=1)",
        "f(**{**{'a': 1}})",
        "f(a=9**9**9)",
        "f(a=b)",
        "f(a=1j)",
        "f(1)",
        "f(*[1])",
        "f",
        "",
        "[]",
        "[f(a=1), 3]",
        "Sure! Here is the call: f(a=1)",
        "f(a=" + "[" * 3000 + "]" * 3000 + ")",
        "f(a=" + "-" * 4000 + "1)",
        "f(a=" + "1+" * 5000 + "1)",
        "f(a='" + "x" * 20_000 + "')",
        "f(a=2**257)",
        "f(a=10**400)",
        "f(a=(1 << 3))",
        "f(a='x' * 3)",
        "f(a='x' + 1)",
        "f(a='%s' % 1)",
        "f(a=[1] * 3)",
        "f(a=1 / 0)",
        "f(a=(-1) ** 0.5)",
        "f(a=-True)",
        "f(a=not 1)",
        "f(a=b'x')",
        "f(a=...)",
        "f(a='\ud800')",
        "f(a=" + "9" * 5000 + ")",
        "f(a={[]: 1})",
        "f(\x00a=1)",
    ],
)
def test_what_is_no_literal_call_is_refused_at_once(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    with pytest.raises(NotCalls):
        calls_of(text)
    assert time.monotonic() - started < 1.0
    assert list(tmp_path.iterdir()) == []


def test_arithmetic_and_joined_strings_are_computed_while_small():
    (call,) = calls_of("f(a=1 + 2 * 3, b=-7 // 2, c=2 ** 10, d=1 / 4, e='x' + 'y', g=2 ** -1, h=7 % 4, i=1.5 ** 2)")
    assert call.arguments == {"a": 7, "b": -4, "c": 1024, "d": 0.25, "e": "xy", "g": 0.5, "h": 3, "i": 2.25}


def test_tuples_stay_tuples():
    assert calls_of("f(a=(1, [2, (3,)]), **{'b-c': ()})")[0].arguments == {"a": (1, [2, (3,)]), "b-c": ()}


def test_symbols_are_text_where_asked_for():
    text = "f(1, a=b, c=d[0], e=g(1), h=i(j=2), k=..., l=[m])"
    with pytest.raises(NotCalls):
        calls_of(text)
    (call,) = calls_of(text, symbols_as_text=True)
    assert call.arguments == {"a": "b", "c": "d[0]", "e": "g(1)", "h": {"i": {"j": 2}}, "k": "...", "l": ["m"]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("f(a=1)", "[f(a=1)]"),
        ("I look it up.\n[f(a=1)]", "[f(a=1)]"),
        ("```python\n[f(a=1)]\n```", "[f(a=1)]"),
        ("f(a=[\n[1],\n[2]])", "[f(a=[\n[1],\n[2]])]"),
        ("word " * 10_000 + "\n[f(a=1)]", "[f(a=1)]"),
    ],
)
def test_the_list_of_calls_is_found_in_an_answer(text, found):
    assert call_list(text) == found
    assert calls_of(text)


def test_brackets_and_fences_may_be_missing_or_there():
    for text in ("f(a=1)", "[f(a=1)]", "  `f(a=1)`\n", "```[f(a=1)]```"):
        assert calls_of(text)[0].arguments == {"a": 1}
    assert [call.name for call in calls_of("[f(a=1), g.h(b=-2.5)]")] == ["f", "g.h"]
