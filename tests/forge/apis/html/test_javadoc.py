"""Pages of javadoc: 17's markup, that of 11, and the anchors of 8."""

from __future__ import annotations

import json
import re
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as fuzz_settings
from hypothesis import strategies as st

from forge.apis.html import javadoc
from forge.apis.html.page import Page
from forge.apis.html.reader import entities, list_items, read_item
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiError

BARE = ApiEntity(
    provider="java", service="box", name="", version="1", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="https://box.test/org/box/Lid.Hinge.html",
)  # fmt: skip

NEW = """<!DOCTYPE HTML><html><head><meta name="generator" content="javadoc/ClassWriterImpl"></head><body>
<main role="main"><div class="header">
<div class="sub-title"><span class="module-label-in-type">Module</span>&nbsp;<a href="m.html">box.core</a></div>
<div class="sub-title"><span class="package-label-in-type">Package</span>&nbsp;<a href="p.html">org.box</a></div>
<h1 title="Interface Lid.Hinge" class="title">Interface Lid.Hinge&lt;E&gt;</h1></div>
<section class="class-description" id="class-description">
<dl class="notes"><dt>Type Parameters:</dt><dd><code>E</code> - what it holds</dd></dl>
<dl class="notes"><dt>All Superinterfaces:</dt><dd><code>Closeable</code></dd></dl><hr>
<div class="type-signature"><span class="annotations">@FunctionalInterface
</span><span class="modifiers">public static interface </span><span class="element-name">Lid.Hinge&lt;E&gt;</span>
<span class="extends-implements">extends Closeable</span></div>
<div class="block">Turns a <code>Lid</code>. It needs oil.<p>Now and then.</div>
<dl class="notes"><dt>Since:</dt><dd>1.2</dd><dt>See Also:</dt><dd><ul><li>Lid</li></ul></dd></dl></section>
<section class="summary"><div class="col-last"><div class="block">Turns.</div></div></section>
<section class="details"><ul><li><section class="field-details">
<section class="detail" id="MAX"><h3>MAX</h3><div class="member-signature"><span class="modifiers">static final</span>
&nbsp;<span class="return-type">int</span>&nbsp;<span class="element-name">MAX</span></div>
<div class="block">How far.</div></section></section></li>
<li><section class="constructor-details"><section class="detail" id="&lt;init&gt;(E[])"><h3>Hinge</h3>
<div class="member-signature"><span class="modifiers">public</span>&nbsp;<span class="element-name">Hinge</span><wbr>
<span class="parameters">(<a href="x">E</a>[]&nbsp;parts)</span></div></section></section></li>
<li><section class="method-details"><section class="detail" id="turn(int,E...)"><h3 id="turn(int,Object...)">turn</h3>
<div class="member-signature"><span class="annotations">@Deprecated(since="2, (or 3)")
</span><span class="modifiers">static</span>&nbsp;<span class="type-parameters">&lt;T&gt;</span>&nbsp;<span
class="return-type">List&lt;E&gt;</span>&nbsp;<span class="element-name">turn</span><wbr><span
class="parameters">(int&nbsp;by,
 E...&nbsp;parts)</span>
 throws <span class="exceptions">StuckException</span></div>
<div class="deprecation-block"><span class="deprecated-label">Deprecated.</span>
<div class="deprecation-comment">Pull it.</div></div>
<div class="block">Turns it:<pre>
  Hinge.turn(1,
      part);
</pre></div>
<dl class="notes"><dt>Specified by:</dt><dd><code>turn</code> in interface <code>X</code></dd>
<dt>Parameters:</dt><dd><code>by</code> - the angle;
 see <code>MAX</code></dd><dd><code>parts</code> - what turns</dd>
<dt>Returns:</dt><dd><code>parts</code>, turned</dd>
<dt>Throws:</dt><dd><code><a href="y">StuckException</a></code> - if stuck</dd><dd><code>Oil</code></dd>
<dt>Implementation Note:</dt><dd>Slow.</dd></dl></section>
<section class="detail" id="requires(E)"><div class="member-signature"><span class="return-type">void</span>&nbsp;<span
class="element-name">requires</span>(E&nbsp;part)</div></section>
<section class="detail" id="unit()"><div class="member-signature"><span class="return-type">String</span>&nbsp;<span
class="element-name">unit</span></div><dl class="notes"><dt>Default:</dt><dd><code>"degree"</code></dd></dl></section>
</section></li></ul></section></main></body></html>"""

OLD = """<!DOCTYPE HTML><!-- NewPage --><html><body><main role="main"><div class="header">
<div class="subTitle"><span class="packageLabelInType">Package</span>&nbsp;<a href="p.html">org.box</a></div>
<h2 title="Class Box" class="title">Class Box</h2></div>
<div class="description"><ul class="blockList"><li class="blockList">
<dl><dt>Enclosing class:</dt><dd>none</dd></dl><hr>
<pre>public class <a href="s">Box</a>
extends java.lang.Object</pre><div class="block">A box.</div></li></ul></div>
<div class="details"><ul class="blockList"><li class="blockList"><section role="region"><ul class="blockList">
<li class="blockList"><a id="field.detail"></a><h3>Field Detail</h3>
<a id="count"><!--   --></a><ul class="blockListLast"><li class="blockList"><h4>count</h4>
<pre>protected static final&nbsp;int[] count</pre><div class="block">How many.</div></li></ul></li></ul></section>
<section role="region"><ul class="blockList"><li class="blockList"><a id="constructor.detail"></a><h3>Constructors</h3>
<a id="&lt;init&gt;(int)"><!--   --></a><ul class="blockListLast"><li class="blockList"><h4>Box</h4>
<pre>public&nbsp;<a href="s">Box</a>&#8203;(int&nbsp;size)</pre></li></ul></li></ul></section>
<section role="region"><ul class="blockList"><li class="blockList"><a id="method.detail"></a><h3>Method Detail</h3>
<a id="put(java.lang.Object)"><!--   --></a><a id="put(E)"><!--   --></a>
<ul class="blockList"><li class="blockList"><h4>put</h4>
<pre class="methodSignature">public&nbsp;boolean&nbsp;<a href="s">put</a>&#8203;(E&nbsp;thing)</pre>
<div class="block"><span class="descfrmTypeLabel">Description copied from interface:&nbsp;Bag</span></div>
<div class="block">Puts it in.<h4>Care</h4>Gently.</div>
<dl><dt><span class="paramLabel">Parameters:</span></dt><dd><code>thing</code> - what</dd>
<dt><span class="returnLabel">Returns:</span></dt><dd>whether it fits</dd>
<dt><span class="throwsLabel">Throws:</span></dt><dd><code>Full</code> - if not</dd></dl></li></ul>
</li></ul></section></li></ul></div></main></body></html>"""

EIGHT = (
    OLD.replace('id="put(java.lang.Object)"', 'name="put-java.lang.Object-"')
    .replace('id="put(E)"', 'name="put-E:A-int-"')
    .replace('id="&lt;init&gt;(int)"', 'name="Box-int-"')
    .replace("E&nbsp;thing", "E[]&nbsp;thing, int&nbsp;at")
    .replace("<main", "<div")
)


def read(html: str, path: str) -> dict[str, ApiEntity]:
    page = Page(path, html)
    assert javadoc.detects(page)
    found = list(javadoc.entities(page, BARE))
    assert len({entity.entity_key for entity in found}) == len(found)
    return {entity.name: entity for entity in found}


def test_types_and_members_in_the_order_of_the_page() -> None:
    assert [(name, entity.entity_type) for name, entity in read(NEW, "box.core/org/box/Lid.Hinge.html").items()] == [
        ("org.box.Lid.Hinge", "type"),
        ("org.box.Lid.Hinge.MAX", "attribute"),
        ("org.box.Lid.Hinge(E[])", "method"),
        ("org.box.Lid.Hinge.turn(int, E...)", "method"),
        ("org.box.Lid.Hinge.requires(E)", "method"),
        ("org.box.Lid.Hinge.unit()", "method"),
    ]
    assert [(name, entity.entity_type) for name, entity in read(OLD, "org/box/Box.html").items()] == [
        ("org.box.Box", "class"),
        ("org.box.Box.count", "attribute"),
        ("org.box.Box(int)", "method"),
        ("org.box.Box.put(E)", "method"),
    ]


def test_a_type() -> None:
    hinge = read(NEW, "box.core/org/box/Lid.Hinge.html")["org.box.Lid.Hinge"]
    assert hinge.declaration == "@FunctionalInterface public static interface Lid.Hinge<E> extends Closeable"
    assert hinge.summary == "Turns a `Lid`."
    assert hinge.description == (
        "Turns a `Lid`. It needs oil.\n\nNow and then.\n\nType Parameters: `E` - what it holds\n\nSince: 1.2"
    )
    assert hinge.source_uri == BARE.source_uri


def test_a_method() -> None:
    turn = read(NEW, "box.core/org/box/Lid.Hinge.html")["org.box.Lid.Hinge.turn(int, E...)"]
    assert turn.parameters == {
        "type": "object",
        "properties": {
            "by": {"type": "integer", "x-type": "int", "description": "the angle; see `MAX`"},
            "parts": {"x-type": "E...", "description": "what turns"},
        },
        "required": ["by"],
    }
    assert turn.returns == {"x-type": "List<E>", "description": "`parts`, turned"}
    assert turn.errors == (ApiError("StuckException", "if stuck"), ApiError("Oil", ""))
    assert turn.description == (
        "Deprecated. Pull it.\n\nTurns it:\n\n  Hinge.turn(1,\n      part);\n\nImplementation Note: Slow."
    )
    assert turn.summary == "Turns it:"
    assert turn.declaration == (
        '@Deprecated(since="2, (or 3)") static <T> List<E> turn(int by, E... parts) throws StuckException'
    )
    assert turn.source_uri == f"{BARE.source_uri}#turn(int,E...)"


def test_constructors_fields_and_elements() -> None:
    found = read(NEW, "box.core/org/box/Lid.Hinge.html")
    made = found["org.box.Lid.Hinge(E[])"]
    assert (made.returns, made.parameters["properties"]) == ({}, {"parts": {"x-type": "E[]"}})
    assert made.source_uri == f"{BARE.source_uri}#%3Cinit%3E(E%5B%5D)"
    assert found["org.box.Lid.Hinge.MAX"].returns == {"type": "integer", "x-type": "int"}
    assert found["org.box.Lid.Hinge.requires(E)"].parameters["required"] == ["part"]
    unit = found["org.box.Lid.Hinge.unit()"]
    assert (unit.returns, unit.description) == ({"type": "string", "x-type": "String"}, 'Default: `"degree"`')


def test_the_older_markup() -> None:
    found = read(OLD, "org/box/Box.html")
    assert found["org.box.Box"].declaration == "public class Box extends java.lang.Object"
    assert found["org.box.Box"].description == "A box."
    assert found["org.box.Box.count"].returns == {"x-type": "int[]"}
    put = found["org.box.Box.put(E)"]
    assert put.declaration == "public boolean put(E thing)"
    assert put.description == "Puts it in.\n\nCare\n\nGently."
    assert put.parameters["properties"] == {"thing": {"x-type": "E", "description": "what"}}
    assert put.returns == {"type": "boolean", "x-type": "boolean", "description": "whether it fits"}
    assert put.errors == (ApiError("Full", "if not"),)


def test_the_anchors_of_java_8() -> None:
    found = read(EIGHT, "org/box/Box.html")
    assert list(found) == ["org.box.Box", "org.box.Box.count", "org.box.Box(int)", "org.box.Box.put(E[], int)"]
    assert found["org.box.Box.put(E[], int)"].source_uri.endswith("#put-E:A-int-")


def test_pages_without_a_type_give_nothing() -> None:
    uses = '<html><meta name="generator" content="javadoc/ClassUseWriter"><section class="class-uses"></section>'
    assert read(uses, "org/box/class-use/Box.html") == {}
    assert not javadoc.detects(Page("a.html", "<html><section class='detail' id='a()'></section>"))


@pytest.mark.parametrize(
    ("name", "step"), [("openjdk", 40), ("ant_javadoc", 4), ("jfreechart_javadoc", 4)]
)  # every 40th of 10,000 pages
def test_the_search_index_lists_what_the_pages_give(name: str, step: int, settings: Settings) -> None:
    """At least 99 % of the members and types that the site's own index lists. The index leaves out what a type
    inherits from one that is not public and shows as its own: such names must be anchors of the page."""
    source = settings.sources[name]
    folder = artifact_path(settings, source.artifact or "")
    if folder is None:
        pytest.skip(f"artifact {source.artifact} is not unpacked")
    root = folder / source.options["root"]
    items = [item for item in list_items(name, source, settings) if "/class-use/" not in item.item_id][::step]
    texts = {item.item_id: Path("/" + item.locator["path"].lstrip("/")).read_text() for item in items}
    paths = {item_id.partition(f"{source.options['root']}/")[2].removesuffix(".html") for item_id in texts}
    paths |= {path.partition("/")[2] for path in paths}  # without the module's folder
    wanted = {name for path, names in _index(root).items() if path in paths for name in names}
    found = [entity for item in items for entity in read_item(item, source, settings)]
    names = {entity.name: entity for entity in found if isinstance(entity, ApiEntity)}
    assert len(names) == len(found)
    assert len(wanted) > 1000
    assert len(wanted & set(names)) >= 0.99 * len(wanted)
    for name_, entity in names.items():
        if name_ not in wanted:
            anchor = urllib.parse.unquote(entity.source_uri.partition("#")[2])
            assert f'id="{anchor.replace("<", "&lt;").replace(">", "&gt;")}"' in texts[entity.item_id], name_


def _index(root: Path) -> dict[str, set[str]]:
    """The names of each type and its members, by the path of its page, from the site's ``*-search-index.js``."""
    decode = json.JSONDecoder().raw_decode
    types, members = (
        decode((root / f"{kind}-search-index.js").read_text().partition("=")[2].strip())[0]
        for kind in ("type", "member")
    )
    found = {f"{row['p'].replace('.', '/')}/{row['l']}": {f"{row['p']}.{row['l']}"} for row in types if "p" in row}
    for row in members:
        names = found.get(f"{row['p'].replace('.', '/')}/{row['c']}", set())
        owner = f"{row['p']}.{row['c']}"
        anchor = urllib.parse.unquote(row.get("u") or row.get("url") or row["l"])
        name, parenthesis, parameters = anchor.partition("(")
        names.add((owner if name == "<init>" else f"{owner}.{name}") + parenthesis + parameters.replace(",", ", "))
    return found


SPOILERS = (
    "<dl>", "</dl>", "<dt>Parameters:</dt>", "<section class='detail' id='(('>", "</section>", "<pre>", "(", "<",
    "\x00", "&#0;", "&#xD800;", "\u2028", "<h4>", "<dd>", "<ul class='blockList'>", "<a id='-'>", "@A(", "[", '"', ",",
)  # fmt: skip


@given(
    page=st.sampled_from([NEW, OLD, EIGHT]),
    cuts=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 300), st.sampled_from(SPOILERS)), max_size=5),
)
@fuzz_settings(max_examples=200, deadline=None)
def test_no_mutation_breaks_the_reader(page: str, cuts: list[tuple[int, int, str]]) -> None:
    for at, length, spoiler in cuts:
        page = page[:at] + spoiler + page[at + length :]
    for found in entities(page.encode(), "org/box/Box.html", BARE, "javadoc"):
        assert isinstance(found, ApiEntity)
        assert found.row("2026-01-01")["entity_key"]
        assert not re.search("[\x00\ud800-\udfff\u2028]", f"{found.name}{found.description}{found.declaration}")
