"""HTML fragments as text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.text.markup import cut, first_sentence, text_of

FRAGMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["<p>", "</p>", "<ul>", "</ul>", "<ol>", "<li>", "</li>", "<code>", "</code>", "<pre>", "</pre>",
             "<note>",
             "</note>", "<dl>", "<dt>", "<dd>", "</dl>", "<table>", "<tr>", "<td>", "</table>", "<br/>", "<script>",
             "<!--",
             "-->", "<svg>", "<template>", "&amp;", "&#0;", "&#xD800;", "<", ">", "\x00",
             "\ud800", "  ", "\n", "<b", 'a="'],
        ),
        st.text(max_size=8),
    ),
    max_size=60,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("", ""),
        ("plain  words\n here", "plain words here"),
        ("<p>One <i>two</i>.</p> <p>Three</p>", "One two.\n\nThree"),
        ("<p>Use <code>a</code> &amp; <code> b  c </code></p>", "Use `a` & `b c`"),
        (
            "<p>Values:</p><ul><li><p>a</p><ul><li>b</li></ul></li><li>c</li></ul><p>End</p>",
            "Values:\n\n- a\n  - b\n- c\n\nEnd",
        ),
        ("<code>a</code> - b", "`a` - b"),
        ("<ol><li>first</li><li>second</li></ol>", "1. first\n2. second"),
        ("<p>x</p><note><p>careful</p></note>", "x\n\nNote: careful"),
        ("<note><ul><li>a</li></ul></note>", "Note:\n- a"),
        ("<dl><dt>A</dt><dd><p>one</p></dd></dl>tail", "A\n  one\n\ntail"),
        ("<pre>if x:\n    y</pre>", "if x:\n    y"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>", "a | b\n1 | 2"),
        ("a<script>alert(1)</script>b<!-- c -->", "ab"),
        ("one<br>two", "one\ntwo"),
    ],
)
def test_text_of(fragment: str, text: str) -> None:
    assert text_of(fragment) == text


@given(FRAGMENTS)
def test_any_fragment_gives_encodable_text_without_control_characters(fragment: str) -> None:
    text = text_of(fragment)
    assert text == text.strip("\n")
    text.encode("utf-8")
    assert not any(ord(character) < 32 and character not in "\n\t" for character in text)


def test_hostile_fragments_stay_within_bounds() -> None:
    started = time.monotonic()
    for fragment in ("<div>" * 400_000, "<" * 2_000_000, "<b>x<p>" * 100_000, "&" * 1_000_000, "<ul><li>" * 9_000):
        assert len(text_of(fragment)) <= 1_000_000 * 8
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Creates a user. Then more.", "Creates a user."),
        ("Use e.g. Foo here. Then more.", "Use e.g. Foo here."),
        ("No stop here\n\nNext paragraph.", "No stop here"),
        ("Two\nlines of one. Sentence", "Two lines of one."),
        ("", ""),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


@given(st.text(max_size=400), st.integers(5, 60))
def test_cut_keeps_its_bound(text: str, bound: int) -> None:
    assert len(cut(text, bound)) <= bound
    assert len(first_sentence(text, bound)) <= bound
