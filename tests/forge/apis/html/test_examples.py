"""Worked examples in the text of an entry."""

from __future__ import annotations

from selectolax.lexbor import LexborHTMLParser

from forge.apis.html.examples import MAX_EXAMPLES, take_examples
from forge.apis.html.text import children_of, prose_of
from forge.schema import ApiExample


def test_sessions_and_calls_are_taken_other_code_stays() -> None:
    tree = LexborHTMLParser(
        "<dd><p>Adds.</p><p>For instance:</p>"
        "<div class='highlight-python3'><div class=highlight><pre>&gt;&gt;&gt; add(1, 2)\n3\n</pre></div></div>"
        "<p>In a program</p><pre>total = add(a, b)</pre><p>Unlike:</p><pre>a + b</pre></dd>"
    )
    dd = tree.css_first("dd")
    assert dd is not None
    examples, left = take_examples(children_of(dd), {"add"})
    assert examples == (ApiExample("For instance:", ">>> add(1, 2)", "3"), ApiExample("", "total = add(a, b)", ""))
    assert prose_of(dd) == prose_of(*left) == "Adds.\n\nIn a program\n\nUnlike:\n\na + b"


def test_the_code_of_a_numbered_listing_has_no_numbers() -> None:
    tree = LexborHTMLParser(
        "<div class=x><div class=informalexample><table class=listing_frame><tr><td><pre>add (1);</pre></td></tr>"
        "</table></div></div>"
    )
    examples, left = take_examples(children_of(tree.css_first("div.x")), {"add"})
    assert ([example.input for example in examples], left) == (["add (1);"], [])


def test_examples_are_bounded() -> None:
    tree = LexborHTMLParser("<dd>" + "<pre>>>> f()\n\n>>> f()</pre>" * 100 + "</dd>")
    examples, left = take_examples(children_of(tree.css_first("dd")), set())
    assert len(examples) == MAX_EXAMPLES
    assert left
