"""The text of nodes."""

from __future__ import annotations

from selectolax.lexbor import LexborHTMLParser, LexborNode

from forge.apis.html.text import children_of, code_of, line_of, prose_of, remove


def node(html: str, selector: str) -> LexborNode:
    found = LexborHTMLParser(html).css_first(selector)
    assert found is not None
    return found


def test_prose_keeps_code_lists_and_notes_but_not_the_item_it_stands_in() -> None:
    dd = node(
        "<dl><dt>f</dt><dd>Opens <a href=x>the <code>door</code></a>.<ul><li>one<li>two</ul>"
        "<div class='admonition note'>\n<p class=\"admonition-title\">Note</p>\n<p>Shut it.</p></div>"
        "<pre>if x:\n    y\n</pre></dd></dl>",
        "dd",
    )
    assert prose_of(dd) == "Opens the `door`.\n- one\n- two\n\nNote: Shut it.\n\nif x:\n    y"


def test_several_nodes_are_one_text() -> None:
    parent = node("<div><p>One.</p>lost<p>Two.</p></div>", "div")
    assert [child.tag for child in children_of(parent)] == ["p", "p"]
    assert prose_of(*children_of(parent)) == "One.\n\nTwo."


def test_lines_and_code() -> None:
    assert line_of(node("<h3>a&nbsp;<b>b</b>\n\tc&#1;\u200b</h3>", "h3")) == "a b c"
    assert code_of(node("<pre>\n  a&nbsp;b  \n\n   <i>c</i> \n\n</pre>", "pre")) == "  a b\n\n   c"


def test_what_is_removed_is_no_text() -> None:
    tree = LexborHTMLParser("<p>a<a class=headerlink>#</a><script>x</script></p>")
    remove(tree, ("a.headerlink", "script"))
    assert prose_of(tree.css_first("p")) == "a"
