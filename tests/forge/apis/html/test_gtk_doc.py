"""Pages of GTK-Doc."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from forge.apis.html import gtk_doc
from forge.apis.html.page import Page
from forge.apis.html.reader import list_items, read_item
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiExample

BARE = ApiEntity(
    provider="c", service="box", name="", version="1.0", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="box/BoxLid.html",
)  # fmt: skip

HEAD = '<html><head><meta name="generator" content="GTK-Doc V1.33 (XML mode)"></head><body>'
PAGE = f"""{HEAD}<div class="refentry">
<div class="refsect1"><a name="BoxLid.description"></a><h2>Description</h2><p>A lid shuts a box. It is flat.</p>
<div class="refsect2"><a name="id-1"></a><h3>Lids at large</h3><p>Prose that only has a heading.</p></div></div>
<div class="refsect1"><a name="BoxLid.functions_details"></a><h2>Functions</h2>
<div class="refsect2">
<a name="box-lid-open"></a><h3>box_lid_open ()</h3>
<pre class="programlisting"><a href="#gboolean"><span class="returnvalue">gboolean</span></a>
box_lid_open (<em class="parameter"><code><a href="#BoxLid"><span class="type">BoxLid</span></a> *lid</code></em>,
              <em class="parameter"><code>const char *key</code></em>);</pre>
<p>Opens the lid, with <em class="parameter"><code>key</code></em>.</p>
<div class="informalexample"><table class="listing_frame"><tr><td class="listing_lines"><pre>1</pre></td>
<td class="listing_code"><pre>box_lid_open (lid, NULL);</pre></td></tr></table></div>
<div class="refsect3"><a name="box-lid-open.parameters"></a><h4>Parameters</h4><table>
<tr><td class="parameter_name"><p>lid</p></td><td class="parameter_description"><p>a lid</p></td>
<td class="parameter_annotations"> </td></tr>
<tr><td class="parameter_name"><p>key</p></td><td class="parameter_description"><p>its key.</p></td>
<td class="parameter_annotations">[<acronym>nullable</acronym>][<acronym>in</acronym>]</td></tr></table></div>
<div class="refsect3"><a name="box-lid-open.returns"></a><h4>Returns</h4><p>whether it is open</p></div>
<p class="since">Since: 2.12</p>
</div><hr>
<div class="refsect2"><a name="BOX-AREA:CAPS"></a><h3>BOX_AREA()</h3>
<pre class="programlisting">#define BOX_AREA( width, height ) ((width) * (height))</pre><p>Of a side.</p></div>
<div class="refsect2"><a name="BOX-MAX:CAPS"></a><h3>BOX_MAX</h3>
<pre class="programlisting">#define BOX_MAX (29 + 10)
</pre><p>The most boxes.</p></div>
<div class="refsect2"><a name="BoxFunc"></a><h3>BoxFunc ()</h3>
<pre class="programlisting">void
<span class="c_punctuation">(</span>*BoxFunc<span class="c_punctuation">)</span> (gpointer data);</pre>
<p>What to call.</p></div>
<div class="refsect2"><a name="BoxLid-struct"></a><h3>struct BoxLid</h3><pre class="programlisting">struct BoxLid;</pre>
</div>
<div class="refsect2"><a name="BoxSide"></a><h3>enum BoxSide</h3><p>Where.</p>
<div class="refsect3"><a name="BoxSide.members"></a><h4>Members</h4><table>
<tr><td class="enum_member_name"><p>BOX_LEFT</p></td><td><p>at the left</p></td><td> </td></tr>
<tr><td class="enum_member_name"><p>BOX_TOP</p></td><td> </td><td> </td></tr></table></div></div>
<div class="refsect2"><a name="box-count"></a><h3>box_count</h3>
<pre class="programlisting">extern const guint box_count;</pre><p>How many.</p></div>
<div class="refsect2"><a name="BoxLid--label"></a><h3>The <code>“label”</code> property</h3>
<pre class="programlisting">  “label”      const char *</pre><p>Its text.</p></div>
<div class="refsect2"><a name="BoxLid-opened"></a><h3>The <code>“opened”</code> signal</h3>
<pre class="programlisting"><span class="returnvalue">void</span>
user_function (BoxLid *lid, gpointer user_data)</pre><p>It was opened.</p></div>
</div></div></body></html>"""


def read() -> dict[str, ApiEntity]:
    page = Page("box/BoxLid.html", PAGE)
    assert gtk_doc.detects(page)
    return {entity.name: entity for entity in gtk_doc.entities(page, BARE)}


def test_what_is_an_entry_and_of_which_type() -> None:
    assert {name: entity.entity_type for name, entity in read().items()} == {
        "box_lid_open": "function",
        "BOX_AREA": "macro",
        "BOX_MAX": "macro",
        "BoxFunc": "type",
        "BoxLid": "class",
        "BoxSide": "type",
        "box_count": "attribute",
        "BoxLid:label": "attribute",
        "BoxLid::opened": "attribute",
    }


def test_a_function() -> None:
    found = read()["box_lid_open"]
    assert found.parameters["properties"] == {
        "lid": {"x-type": "BoxLid *", "description": "a lid"},
        "key": {"type": "string", "x-type": "const char *", "description": "its key. [nullable, in]"},
    }
    assert found.returns == {"type": "boolean", "x-type": "gboolean", "description": "whether it is open"}
    assert found.description == "Opens the lid, with `key`.\n\nSince: 2.12"
    assert found.examples == (ApiExample("", "box_lid_open (lid, NULL);", ""),)
    assert found.declaration.startswith("gboolean\nbox_lid_open (BoxLid *lid,\n ")
    assert found.source_uri == "box/BoxLid.html#box-lid-open"


def test_macros_take_names_only_where_they_are_called() -> None:
    found = read()
    assert found["BOX_AREA"].parameters["required"] == ["width", "height"]
    assert found["BOX_MAX"].parameters["properties"] == {}


def test_types_members_and_signals() -> None:
    found = read()
    assert found["BoxLid"].description.startswith("A lid shuts a box. It is flat.")
    assert found["BoxSide"].description == "Where.\n\nMembers:\n- BOX_LEFT: at the left\n- BOX_TOP"
    assert found["BoxFunc"].parameters["properties"] == {"data": {"x-type": "gpointer"}}
    assert found["BoxLid:label"].returns == {"type": "string", "x-type": "const char *"}
    assert list(found["BoxLid::opened"].parameters["properties"]) == ["lid", "user_data"]


def test_pages_of_others_and_indexes() -> None:
    assert not gtk_doc.detects(Page("a.html", PAGE.replace("GTK-Doc", "DocBook")))
    assert list(gtk_doc.entities(Page("index.html", f"{HEAD}<p>GTK-Doc index</p>"), BARE)) == []


@pytest.mark.parametrize("name", ["glib", "gtk3"])
def test_the_devhelp_index_lists_what_the_pages_give(name: str, settings: Settings) -> None:
    """At least 99 % of the keywords of the index of each library, by place; nothing that it does not list."""
    source = settings.sources[name]
    if artifact_path(settings, source.artifact or "") is None:
        pytest.skip(f"artifact {source.artifact} is not unpacked")
    items = list(list_items(name, source, settings))[:: 3 if name == "glib" else 4]
    files = [Path("/" + item.locator["path"].lstrip("/")) for item in items]
    read_pages = {f"{file.parent.name}/{file.name}" for file in files}
    listed: dict[str, str] = {}
    for index in sorted({path for file in files for path in file.parent.glob("*.devhelp2")}):
        for kind, keyword, link in re.findall(
            r'<keyword type="([^"]*)" name="([^"]*)" link="([^"]*)"', index.read_text()
        ):
            place = f"{index.parent.name}/{link}"
            if kind not in {"constant", "member"} and place.partition("#")[0] in read_pages:
                listed[place] = html.unescape(keyword)
    found = [entity for item in items for entity in read_item(item, source, settings)]
    places = {
        entity.source_uri.removeprefix(source.options["public_uri"]): entity
        for entity in found
        if isinstance(entity, ApiEntity)
    }
    assert len(places) == len(found)
    assert len(listed) > 1000
    assert len(set(listed) & set(places)) >= 0.99 * len(listed)
    assert set(places) - set(listed) == set()
    for place, keyword in listed.items():
        plain = re.sub(r"^(?:struct|enum|union) |[\s()]+$", "", keyword)
        if place in places and plain.isidentifier():
            assert places[place].name == plain
