"""Pages of scaladoc."""

from __future__ import annotations

import html as markup
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as fuzz_settings
from hypothesis import strategies as st

from forge.apis.html import scaladoc
from forge.apis.html.page import Page
from forge.apis.html.reader import entities, list_items, read_item
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiError

BARE = ApiEntity(
    provider="scala", service="box", name="", version="1", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="https://box.test/box/Lid.html",
)  # fmt: skip

HEAD = '<!DOCTYPE html ><html><head><link href="../lib/template.css" rel="stylesheet" /></head><body class="type">'


def signature(kind: str, symbol: str, modifier: str = "", identity: str = "") -> str:
    return (
        f'<h4 {identity}class="signature">\n<span class="modifier_kind">\n<span class="modifier">{modifier}</span>\n'
        f'<span class="kind">{kind}</span>\n</span>\n<span class="symbol">\n{symbol}\n</span>\n</h4>'
    )


TRAIT = (
    HEAD
    + '<div id="definition"><p id="owner"><a href="p.html">org</a>.<a href="p.html">box</a></p><h1>Lid</h1></div>'
    + signature(
        "trait",
        '<span class="name">Lid</span><span class="tparams">[<span name="A">+A</span>]</span><span class="result"> '
        "extends <a>Cover</a></span>",
        "sealed ",
        'id="signature" ',
    )
    + """<div id="comment" class="fullcommenttop"><div class="comment cmt"><p>Shuts a <code>Box</code>. Tightly.</p>
<pre><span class="kw">val</span> lid =
  box.lid</pre></div><dl class="attributes block"><dt>Source</dt><dd>Lid.scala</dd>
<dt>Since</dt><dd><p>2.8</p></dd></dl></div>
<div id="template"><div id="allMembers"><div id="types" class="types members"><h3>Types</h3><ol>"""
    + '<li name="org.box.Lid.Hinge">'
    + signature("class", '<span class="name"><a href="x">Hinge</a></span>')
    + '</li><li name="org.box.Lid.Side"><a id="Side=Int"></a>'
    + signature("type", '<span class="name">Side</span><span class="result"> = Int</span>')
    + '</li></ol></div><div class="values members"><ol><li name="org.box.Lid#fold" visbl="pub">'
    '<a id="fold[B](by:=&gt;Int)(f:A=&gt;B)(implicite:Ease):B"></a><a id="fold[B](Int)"></a>'
    + signature(
        "def",
        '<span class="name">fold</span><span class="tparams">[<span name="B">B</span>]</span><span class="params">('
        '<span name="by">by: ⇒ <a>Int</a> = <span class="symbol">90</span></span>, <span name="n">n: Int</span>, <span'
        ' name="s">s: <a>A</a>*</span>)</span><span class="params">(<span class="implicit">implicit </span><span '
        'name="e">e: Ease</span>)</span><span class="result">: <a>B</a></span>',
        "final ",
    )
    + """<p class="shortcomment cmt">Folds it.</p><div class="fullcomment"><div class="comment cmt"><p>Folds it.
Or not.</p></div><dl class="paramcmts block"><dt class="tparam">B</dt><dd class="cmt"><p>what comes out</p></dd>
<dt class="param">n</dt><dd class="cmt"><p>how often</p></dd><dt>returns</dt><dd class="cmt"><p>what is left</p></dd>
</dl><dl class="attributes block"><dt>Definition Classes</dt><dd><a href="">Lid</a> → <a href="c">Cover</a></dd>
<dt>Exceptions thrown</dt><dd><span class="cmt"><p>
<code>StuckException</code> if it is stuck</p></span></dd>
<dt>Note</dt><dd><span class="cmt"><p>Slow.</p></span></dd></dl>
</div></li>"""
    + '<li name="org.box.Lid#open"><a id="open"></a>'
    + signature("val", '<span class="name">open</span><span class="result">: Boolean</span>')
    + '<p class="shortcomment cmt">Whether it is open.</p></li>'
    + '<li name="org.box.Lid#key" visbl="prt">'
    + signature("val", '<span class="name">key</span>', "private[box] ")
    + '</li><li name="org.box.Cover#weight">'
    + signature("def", '<span class="name">weight</span>')
    + "</li></ol></div></div></div></body></html>"
)

OBJECT = (
    HEAD
    + '<div id="definition"><p id="owner"><a href="p.html">org.box</a></p><h1>Box</h1></div>'
    + signature("object", '<span class="name">Box</span>', "", 'id="signature" ')
    + '<div id="template"><div class="values members"><ol><li name="org.box.Box#apply">'
    + signature(
        "def", '<span class="name">apply</span><span class="params">()</span><span class="result">: Unit</span>'
    )
    + '</li><li name="org.box.Box#of_its_trait">'
    + signature("def", '<span class="name">of_its_trait</span>')
    + '<dl class="attributes block"><dt>Definition Classes</dt><dd><a href="Box.html">Box</a></dd></dl>'
    + "</li></ol></div></div></body></html>"
)


def read(page_html: str) -> dict[str, ApiEntity]:
    page = Page("org/box/Lid.html", page_html)
    assert scaladoc.detects(page)
    found = list(scaladoc.entities(page, BARE))
    assert len({entity.entity_key for entity in found}) == len(found)
    return {entity.name: entity for entity in found}


FOLD = "org.box.Lid#fold(⇒ Int, Int, A*)(implicit Ease)"


def test_a_page_tells_what_its_type_defines() -> None:
    assert {name: entity.entity_type for name, entity in read(TRAIT).items()} == {
        "org.box.Lid": "type",
        "org.box.Lid#Side": "type",
        FOLD: "method",
        "org.box.Lid#open": "attribute",
    }


def test_members_of_objects_and_packages() -> None:
    assert {name: entity.entity_type for name, entity in read(OBJECT).items()} == {
        "org.box.Box$": "class",
        "org.box.Box.apply()": "method",
    }
    package = OBJECT.replace('"kind">object<', '"kind">package<').replace("<h1>Box", "<h1>Box").replace("Unit", "Int")
    assert list(read(package)) == ["org.box.Box.apply()"]
    assert read(package)["org.box.Box.apply()"].returns == {"type": "integer", "x-type": "Int"}


def test_constructors_are_named_like_their_type() -> None:
    made = (
        '<li name="org.box.Box#&lt;init&gt;"><a id="&lt;init&gt;(size:Int)"></a>'
        + signature(
            "new", '<span class="name">Box</span><span class="params">(<span name="size">size: Int</span>)</span>'
        )
        + "</li>"
    )
    page = OBJECT.replace('"kind">object<', '"kind">class<').replace("<ol>", f"<ol>{made}")
    found = read(page)
    assert list(found) == ["org.box.Box", "org.box.Box(Int)", "org.box.Box#apply()"]
    assert found["org.box.Box(Int)"].source_uri.endswith("#%3Cinit%3E(size:Int)")
    assert found["org.box.Box(Int)"].declaration == "new Box(size: Int)"


def test_a_type() -> None:
    lid = read(TRAIT)["org.box.Lid"]
    assert lid.declaration == "sealed trait Lid[+A] extends Cover"
    assert lid.summary == "Shuts a `Box`."
    assert lid.description == "Shuts a `Box`. Tightly.\n\nval lid =\n  box.lid\n\nSince: 2.8"


def test_a_method() -> None:
    fold = read(TRAIT)[FOLD]
    assert fold.parameters == {
        "type": "object",
        "properties": {
            "by": {"x-type": "⇒ Int", "x-default": "90"},
            "n": {"type": "integer", "x-type": "Int", "description": "how often"},
            "s": {"x-type": "A*"},
            "e": {"x-type": "Ease", "x-implicit": True},
        },
        "required": ["n"],
        "x-order": ["by", "n", "s", "e"],
    }
    assert fold.returns == {"x-type": "B", "description": "what is left"}
    assert fold.errors == (ApiError("StuckException", "if it is stuck"),)
    assert fold.description == "Folds it. Or not.\n\nType parameters:\n- `B` - what comes out\n\nNote: Slow."
    assert fold.declaration == "final def fold[B](by: ⇒ Int = 90, n: Int, s: A*)(implicit e: Ease): B"
    assert fold.source_uri == f"{BARE.source_uri}#fold%5BB%5D(by:=%3EInt)(f:A=%3EB)(implicite:Ease):B"


def test_other_pages_give_nothing() -> None:
    assert read(f'{HEAD}<div id="template"><ol><li name="a#b"></li></ol></div>') == {}
    assert not scaladoc.detects(Page("index.html", "<html><div id='template'></div></html>"))


def test_the_index_of_the_library_lists_what_its_pages_give(settings: Settings) -> None:
    """At least 99 % of the names that the index gives the read pages, and no name that it does not give."""
    source = settings.sources["scala_library"]
    folder = artifact_path(settings, source.artifact or "")
    if folder is None:
        pytest.skip("artifact scala_doc is not unpacked")
    root = folder / source.options["root"]
    items = [item for item in list_items("scala_library", source, settings) if "/scala/" in item.item_id][::12]
    found = [entity for item in items for entity in read_item(item, source, settings)]
    names = [entity.name for entity in found if isinstance(entity, ApiEntity)]
    assert len(names) == len(found)
    assert len(set(names)) >= len(names) - 3  # a class and a type alias or a value of one name
    titles = {path.relative_to(root).as_posix(): _title(path) for path in root.glob("scala/**/*.html")}
    pages = {item.item_id.removeprefix(f"{source.options['root']}/") for item in items}
    with_pages = set(titles.values())  # types and packages: told on their own pages
    listed = {
        f"{titles[path]}{'.' if path.endswith(('$.html', 'package.html')) else '#'}{name}"
        for path, name in _index(root)
        if path in pages and f"{titles[path]}.{name}" not in with_pages
    }
    types = {f"{titles[path]}$" if path.endswith("$.html") else titles[path] for path in pages if "package" not in path}
    assert len(listed) > 300
    assert types - set(names) == set()
    # Without their parameters, a constructor is its type. A name that has "(" in it is an operator's.
    told = {name.partition("(")[0] for name in names} | set(names)
    assert len(listed & told) >= 0.99 * len(listed)
    # The index leaves out a name that an object and its class share: its page must still define it.
    texts = {item.item_id: Path("/" + item.locator["path"].lstrip("/")).read_text() for item in items}
    for entity in found:
        assert isinstance(entity, ApiEntity)
        plain = entity.name.partition("(")[0]
        if plain not in listed | types and entity.name not in listed:
            owner, _, member = plain.rpartition(".")
            assert f'<li name="{owner}#{member}"' in texts[entity.item_id], entity.name


def _title(path: Path) -> str:
    """The qualified name that the page's title ends with."""
    match = re.search(r" - (\S+)</title>", path.read_text()[:2000])
    return markup.unescape(match[1]) if match else ""


def _index(root: Path) -> set[tuple[str, str]]:
    """Page and name of each entry of the alphabetical index."""
    found = set()
    for file in sorted((root / "index").glob("*.html")):
        entries = re.findall(
            r'<div class="name">(.*?)</div>\s*<div class="occurrences">(.*?)</div>', file.read_text(), re.DOTALL
        )
        for name, places in entries:
            plain = markup.unescape(re.sub("<[^>]*>", "", name)).strip()
            found |= {(path, plain) for path in re.findall(r'<a href="\.\./([^"#]*)"', places)}
    return found


SPOILERS = (
    "<dl>", "</dl>", "<dd>", "<dt class='param'>", "<li name='org.box.Lid#'>", "<ol>", "<span name=''>", "(", "<", "$",
    "\x00", "&#0;", "&#xD800;", "\u2028", "<h4 class='signature'>", "<span class='params'>", "[", "'", '"', " = ", ":",
)  # fmt: skip


@given(
    page=st.sampled_from([TRAIT, OBJECT]),
    cuts=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 300), st.sampled_from(SPOILERS)), max_size=5),
)
@fuzz_settings(max_examples=200, deadline=None)
def test_no_mutation_breaks_the_reader(page: str, cuts: list[tuple[int, int, str]]) -> None:
    for at, length, spoiler in cuts:
        page = page[:at] + spoiler + page[at + length :]
    for found in entities(page.encode(), "org/box/Lid.html", BARE, "scaladoc"):
        assert isinstance(found, ApiEntity)
        assert found.row("2026-01-01")["entity_key"]
        assert not re.search("[\x00\ud800-\udfff\u2028]", f"{found.name}{found.description}{found.declaration}")
