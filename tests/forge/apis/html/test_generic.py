"""Reference pages of no known generator."""

from __future__ import annotations

import pytest

from forge.apis.html import generic
from forge.apis.html.page import Page
from forge.schema import ApiEntity

BARE = ApiEntity(
    provider="javascript", service="box", name="", version="1", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="box.html",
)  # fmt: skip

PAGE = """<html><body><nav><h3>menu.open(now)</h3><p>This is no documentation at all.</p></nav>
<h2 id="lid">Lids</h2><p>About lids, which <code>open(wide)</code>.</p>
<h3 id="boxopenlid-key">box.open(lid[, key])<span><a class="anchor" href="#x">#</a></span></h3>
<ul><li><code>lid</code> what is opened</li></ul><p>Opens the lid of a box.</p><pre><code>box.open(lid)</code></pre>
<h3><code>int box_count(const char *name, int flags);</code></h3><p>Counts the boxes of that name.</p>
<dl><dt><code>shut()</code></dt><dd>Shuts whatever is still open.</dd><dt>lid</dt><dd>What shuts a box, mostly.</dd>
</dl>
<h4>box.bare(a)</h4><h4>box.next(a)</h4><p>Short.</p></body></html>"""


def read(html: str) -> dict[str, ApiEntity]:
    page = Page("box.html", html)
    found = {entity.name: entity for entity in generic.entities(page, BARE)}
    assert generic.detects(Page("box.html", html)) == bool(found)
    return found


def test_signatures_with_prose_below_are_entries() -> None:
    found = read(PAGE.replace("<nav>", "<div hidden>").replace("</nav>", "</div>").replace("<h3>menu.", "<p>menu."))
    assert list(found) == ["box.open", "box_count", "shut"]
    opened = found["box.open"]
    assert opened.description == "- `lid` what is opened\n\nOpens the lid of a box."
    assert opened.examples[0].input == "box.open(lid)"
    assert opened.parameters["required"] == ["lid"]
    assert opened.source_uri == "box.html#boxopenlid-key"
    assert found["box_count"].parameters["properties"]["flags"] == {"type": "integer", "x-type": "int"}
    assert found["box_count"].returns == {"type": "integer", "x-type": "int"}
    assert found["shut"].description == "Shuts whatever is still open."


def test_navigation_is_no_entry() -> None:
    assert "menu.open" not in {entity.name for entity in generic.entities(Page("box.html", PAGE), BARE)}


@pytest.mark.parametrize(
    "heading",
    [
        "Introduction (optional)", "Enum Members (aka instances)", "Use unboxed types (a GHC extension):", "open(2)",
        "match() versus search()", "Raw pointers (*const and *mut)", "FOLLOW(M)", "Python Mode (-X dev)", "Chapter 3",
        "if(x)", "Notes (see below)", "f(1, 2)", "What is main(argc, argv)?", "New in 3.1 (June 2009)", "sin(x) + 1",
    ],
)  # fmt: skip
def test_headings_of_prose_invent_nothing(heading: str) -> None:
    assert read(f"<h2>Intro</h2><h3>{heading}</h3><p>A sentence that is surely long enough to count.</p>") == {}
