"""Pages of QDoc."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from forge.apis.html import qdoc
from forge.apis.html.page import Page
from forge.apis.html.reader import list_items, read_item
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiExample

BARE = ApiEntity(
    provider="cpp", service="box", name="", version="5", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="box/lid.html",
)  # fmt: skip

PAGE = """<html><body><h1 class="title">Lid Class</h1>
<span class="small-subtitle">class <a href="box.html">Box</a>::Lid</span>
<!-- $$$Lid-brief --><p>The Lid class shuts a Box. <a href="#details">More...</a></p><!-- @@@Lid -->
<h2 id="public-functions">Public Functions</h2><div class="table"><table><tr><td>open()</td></tr></table></div>
<div class="descr"><h2 id="details">Detailed Description</h2><p>A lid is flat.</p></div>
<div class="prop"><h2>Property Documentation</h2>
<h3 class="fn" id="label-prop"><a name="label-prop"></a><span class="name">label</span> : <span
class="type">QString</span></h3><p>This property holds the text.</p></div>
<div class="types"><h3 class="flags" id="Side-enum">enum Lid::<span class="name">Side</span><br/>flags Lid::<span
class="name">Sides</span></h3><p>Where it is.</p>
<div class="table"><table class="valuelist"><tr><th>Constant</th><th>Value</th></tr>
<tr><td><code>Box::Left</code></td><td><code>0</code></td></tr></table></div></div>
<div class="func"><h2>Member Function Documentation</h2>
<div class="fngroup">
<h3 class="fn fngroupitem" id="move"><code>[static] </code>void Lid::<span class="name">move</span>(int <i>x</i>)</h3>
<h3 class="fn fngroupitem" id="move-1">void Lid::<span class="name">move</span>(const QPoint &amp;<i>p</i>)</h3></div>
<p>This is an overloaded function.</p><p>Moves it. Then rests.</p><p>Example:</p>
<pre class="cpp">lid.move(3);</pre>
<!-- @@@move -->
<h3 class="fn" id="operator-eq">Lid &amp;Lid::<span class="name">operator=</span>(const Lid &amp;<i>other</i>)</h3>
<h3 class="fn" id="size">int Lid::<span class="name">size</span>() const</h3><p>How large.</p>
</div>
<div class="vars"><h3 class="fn" id="depth-var">const char[] Lid::<span class="name">depth</span></h3><p>How deep.</p>
</div>
<div class="macros"><h3 class="fn" id="BOX_UNUSED">BOX_UNUSED(<i>name</i>)</h3><p>No warning.</p>
<h3 class="fn" id="BOX_OS">BOX_OS</h3><p>The system.</p></div>
</body></html>"""


def read(markup: str = PAGE, path: str = "box/lid.html") -> dict[str, ApiEntity]:
    page = Page(path, markup)
    assert qdoc.detects(page)
    return {entity.name: entity for entity in qdoc.entities(page, BARE)}


def test_names_and_types() -> None:
    assert {name: entity.entity_type for name, entity in read().items()} == {
        "Box::Lid": "class",
        "Box::Lid::label": "attribute",
        "Box::Lid::Side": "type",
        "Box::Lid::move(int)": "method",
        "Box::Lid::move(const QPoint &)": "method",
        "Box::Lid::operator=(const Lid &)": "method",
        "Box::Lid::size() const": "method",
        "Box::Lid::depth": "attribute",
        "BOX_UNUSED": "macro",
        "BOX_OS": "macro",
    }


def test_the_headings_of_a_group_share_its_text() -> None:
    found = read()
    for name in ("Box::Lid::move(int)", "Box::Lid::move(const QPoint &)"):
        assert found[name].description == "This is an overloaded function.\n\nMoves it. Then rests."
        assert found[name].summary == "Moves it."
        assert found[name].examples == (ApiExample("Example:", "lid.move(3);", ""),)
    assert found["Box::Lid::move(int)"].parameters["properties"] == {"x": {"type": "integer", "x-type": "int"}}
    assert found["Box::Lid::operator=(const Lid &)"].description == ""
    assert found["Box::Lid::size() const"].description == "How large."


def test_classes_properties_and_macros() -> None:
    found = read()
    assert found["Box::Lid"].description == "The Lid class shuts a Box.\n\nA lid is flat."
    assert found["Box::Lid::label"].returns == {"type": "string", "x-type": "QString"}
    assert found["Box::Lid::depth"].returns == {"x-type": "const char[]"}
    assert found["Box::Lid::Side"].description.endswith("`Box::Left` | `0`")
    assert found["BOX_UNUSED"].parameters["properties"] == {"name": {}}


def test_obsolete_members_belong_to_their_class() -> None:
    markup = (
        '<h1 class="title">Obsolete Members for Lid</h1><p>Box::Lid</p><!-- $$$shut --><h3 class="fn" id="shut">'
        'void Lid::<span class="name">shut</span>()</h3><p>Shuts.</p>'
    )
    assert list(read(markup, "box/box-lid-obsolete.html")) == ["Box::Lid::shut()"]


def test_an_article_gives_nothing() -> None:
    assert read("<!-- $$$how.html --><h1 class='title'>How Boxes Work</h1><p>Well.</p>") == {}
    assert not qdoc.detects(Page("a.html", "<h3 class='fn' id='f'>f()</h3>"))


def test_every_heading_of_qtbase_is_found(settings: Settings) -> None:
    """By the headings in the raw text: at least 99 % found, and nothing else but one class a page."""
    source = settings.sources["qtbase"]
    if artifact_path(settings, source.artifact or "") is None:
        pytest.skip("artifact qtbase_doc is not unpacked")
    headings = found = classes = 0
    for item in list(list_items("qtbase", source, settings))[::4]:
        raw = Path("/" + item.locator["path"].lstrip("/")).read_text()
        stated = [
            "".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split())
            for text in re.findall(r'<h3 class="(?:fn[^"]*|flags)" id="[^"]*">(.*?)</h3>', raw, re.DOTALL)
        ]
        for entity in read_item(item, source, settings):
            assert isinstance(entity, ApiEntity)
            written = "".join(entity.declaration.split())
            if written in stated:
                stated.remove(written)
                headings += 1
                found += 1
            else:
                assert entity.entity_type == "class"
                classes += 1
        headings += len(stated)
    assert headings > 4000
    assert found >= 0.99 * headings
    assert classes > 100
