"""Pages of Sphinx, in its newer and older markup."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from forge.apis.html import sphinx
from forge.apis.html.inventory import read_inventory
from forge.apis.html.page import Page
from forge.apis.html.reader import list_items, read_item
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiError, ApiExample

BARE = ApiEntity(
    provider="python", service="shop", name="", version="1.0", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="https://shop.test/api.html",
)  # fmt: skip

NEW = """<html><head><script id="documentation_options" src="_static/documentation_options.js"></script></head><body>
<dl class="py class">
<dt class="sig sig-object py" id="shop.Cart">
<em class="property"><span class="pre">class</span><span class="w"> </span></em><span
class="sig-prename descclassname"><span class="pre">shop.</span></span><span class="sig-name descname"><span
class="pre">Cart</span></span><span class="sig-paren">(</span><em class="sig-param"><span class="n">owner</span></em>,
<em class="sig-param"><span class="n">limit</span><span class="o">=</span><span class="default_value">10</span
></em><span class="sig-paren">)</span><a class="headerlink" href="#shop.Cart" title="Link">¶</a></dt>
<dd><p>What a customer wants. It is not yet paid.</p>
<dl class="py method">
<dt class="sig sig-object py" id="shop.Cart.add"><span class="sig-name descname">add</span><span
class="sig-paren">(</span><em class="sig-param">item: Item</em>, <em class="sig-param">count: int = 1</em><span
class="sig-paren">)</span> <span class="sig-return">&#x2192; int</span><a class="headerlink" href="#x">¶</a></dt>
<dd><p>Puts an <code class="xref py"><span class="pre">Item</span></code> in.</p>
<dl class="field-list simple">
<dt class="field-odd">Parameters<span class="colon">:</span></dt>
<dd class="field-odd"><ul class="simple">
<li><p><strong>item</strong> (<a href="#Item"><em>Item</em></a>) – what is bought</p></li>
<li><p><strong>count</strong> – how many</p></li></ul></dd>
<dt class="field-even">Returns<span class="colon">:</span></dt><dd class="field-even"><p>how many are in it</p></dd>
<dt class="field-odd">Raises<span class="colon">:</span></dt>
<dd class="field-odd"><p><strong>shop.Full</strong> – above the limit</p></dd>
<dt class="field-even">Platform<span class="colon">:</span></dt><dd class="field-even"><p>Windows</p></dd>
</dl>
<div class="versionadded"><p><span class="versionmodified added">New in version 2: </span>count.</p></div>
<p>So:</p>
<div class="highlight-python3"><div class="highlight"><pre>&gt;&gt;&gt; cart.add(tea)
1
</pre></div></div>
</dd></dl>
<dl class="py attribute"><dt class="sig sig-object py" id="shop.Cart.total"><span class="descname">total</span></dt>
<dd><p>The sum.</p></dd></dl>
</dd></dl>
<dl class="py function">
<dt class="sig sig-object py" id="shop.span">shop.span(stop)</dt>
<dt class="sig sig-object py">shop.span(start, stop[, step])</dt>
<dt class="sig sig-object py" id="shop.reach">shop.reach(stop)</dt>
<dd><p>Numbers.</p></dd></dl>
<dl class="py function"><dt class="sig sig-object py">shop.elsewhere()</dt><dd><p>Told on another page.</p></dd></dl>
<dl class="c function"><dt class="sig sig-object c" id="c.shop_open"><span class="n">Shop</span> <span
class="p">*</span><span class="sig-name descname">shop_open</span>(const <span class="kt">char</span> *name, int
flags)</dt><dd><p>Opens it.</p></dd></dl>
<dl class="cpp function"><dt class="sig sig-object cpp" id="_CPPv4N4shop4Cart3addEi">int <span
class="sig-name descname">add</span>(int count)</dt><dd><p>Adds.</p></dd></dl>
<dl class="simple"><dt>No API</dt><dd>A definition.</dd></dl>
<span id="module-shop"></span><span id="module-_shop"></span>
<dl class="py function"><dt class="sig sig-object py" id="shop.lock"><span class="descclassname">_shop.</span><span
class="descname">lock</span>()</dt><dd><p>Of a private module.</p></dd></dl>
</body></html>"""

OLD = """<html><head><script>var DOCUMENTATION_OPTIONS = {};</script></head><body>
<dl class="staticmethod">
<dt id="shop.Cart.load"><em class="property">static </em><tt class="descname">load</tt><big>(</big><em>path</em>,
<em>strict=True</em><big>)</big><a class="headerlink" href="#x">¶</a></dt>
<dd>Reads one.<table class="docutils field-list">
<tr class="field"><th class="field-name">Parameters:</th><td class="field-body"><ul><li><strong>path</strong> (<em>str
</em>) -- the file</li><li><strong>strict</strong> (<em>bool</em>) -- no mistakes</li></ul></td></tr>
<tr class="field"><th class="field-name">Return type:</th><td class="field-body">dict</td></tr>
</table></dd></dl>
<dl class="function"><dt id="c.shop_close">void <tt class="descname">shop_close</tt><big>(</big>Shop<em>
*shop</em><big>)</big></dt><dd>Shuts.</dd></dl>
</body></html>"""


def read(html: str) -> dict[str, ApiEntity]:
    page = Page("api.html", html)
    assert sphinx.detects(page)
    found = list(sphinx.entities(page, BARE))
    assert len({entity.entity_key for entity in found}) == len(found)
    return {entity.name: entity for entity in found}


def test_every_object_with_an_id_in_the_order_of_the_page() -> None:
    assert [(entity.provider, entity.entity_type, name) for name, entity in read(NEW).items()] == [
        ("python", "class", "shop.Cart"),
        ("python", "method", "shop.Cart.add"),
        ("python", "attribute", "shop.Cart.total"),
        ("python", "function", "shop.span"),
        ("python", "function", "shop.reach"),
        ("c", "function", "shop_open"),
        ("cpp", "function", "shop::Cart::add(int)"),
        ("python", "function", "_shop.lock"),
    ]


def test_the_text_of_a_class_is_without_its_members() -> None:
    cart = read(NEW)["shop.Cart"]
    assert cart.description == "What a customer wants. It is not yet paid."
    assert cart.summary == "What a customer wants."
    assert cart.declaration == "class shop.Cart(owner, limit=10)"
    assert cart.parameters["properties"] == {"owner": {}, "limit": {"default": 10}}
    assert cart.parameters["required"] == ["owner"]
    assert cart.source_uri == "https://shop.test/api.html#shop.Cart"


def test_fields_become_parameters_result_and_errors_what_is_left_is_text() -> None:
    add = read(NEW)["shop.Cart.add"]
    assert add.parameters["properties"] == {
        "item": {"x-type": "Item", "description": "what is bought", "x-annotation": "Item"},
        "count": {"type": "integer", "description": "how many", "default": 1},
    }
    assert add.returns == {"type": "integer", "description": "how many are in it"}
    assert add.errors == (ApiError("shop.Full", "above the limit"),)
    assert add.examples == (ApiExample("So:", ">>> cart.add(tea)", "1"),)
    assert add.description == "Puts an `Item` in.\n\nPlatform:\n  Windows\n\nNew in version 2: count."


def test_headings_over_one_text_are_names_or_signatures() -> None:
    found = read(NEW)
    assert found["shop.span"].declaration == "shop.span(stop)\nshop.span(start, stop[, step])"
    assert found["shop.span"].parameters["required"] == ["stop"]
    assert found["shop.reach"].description == found["shop.span"].description == "Numbers."


def test_types_of_c_are_its_own() -> None:
    opened = read(NEW)["shop_open"]
    assert opened.parameters["properties"] == {
        "name": {"type": "string", "x-type": "const char *"},
        "flags": {"type": "integer", "x-type": "int"},
    }
    assert opened.returns == {"x-type": "Shop *"}


def test_the_older_markup() -> None:
    found = read(OLD)
    load = found["shop.Cart.load"]
    assert load.entity_type == "method"
    assert load.description == "Reads one."
    assert load.parameters["properties"] == {
        "path": {"type": "string", "x-type": "str", "description": "the file"},
        "strict": {"type": "boolean", "x-type": "bool", "description": "no mistakes", "default": True},
    }
    assert load.returns == {"type": "object", "x-type": "dict"}
    assert (found["shop_close"].provider, found["shop_close"].parameters["required"]) == ("c", ["shop"])


def test_a_private_module_keeps_its_underscore() -> None:
    page = (
        "<html><script src='_static/doctools.js'></script><span id='module-_lock'></span>"
        "<dl class='py method'><dt class='sig' id='lock.Lock.take'><span class='descname'>take</span>()</dt></dl>"
        "<dl class='py function'><dt class='sig' id='import__'><span class='descname'>__import__</span>()</dt></dl>"
    )
    assert list(read(page)) == ["_lock.Lock.take", "__import__"]


def test_a_page_without_objects_gives_nothing() -> None:
    assert read("<html><head><script src='_static/doctools.js'></script></head><h1>Tutorial</h1>") == {}
    assert not sphinx.detects(Page("a.html", "<html><dl class='py function'><dt id=a>a()</dt></dl>"))


def test_the_inventory_of_the_python_documentation_is_what_its_pages_give(settings: Settings) -> None:
    """At least 99 % of the API names of the inventory that lie on the read pages, none that it does not list."""
    source = settings.sources["python_library"]
    if artifact_path(settings, source.artifact or "") is None:
        pytest.skip("artifact python_doc is not unpacked")
    items = list(list_items("python_library", source, settings))
    inventory = next(item for item in items if item.item_id.endswith("objects.inv"))
    entries = read_inventory(Path("/" + inventory.locator["path"].lstrip("/")).read_bytes())
    pages = [item for item in items if item.item_id.endswith(".html")][::3]
    read_paths = {re.sub(r".*/html/", "", item.item_id) for item in pages}
    listed = {
        ("c" if entry.role.startswith("c:") else "python", entry.name)
        for entry in entries
        if entry.role.startswith(("py:", "c:")) and entry.role not in {"py:module", "c:functionParam"}
        if entry.uri.partition("#")[0] in read_paths
    }
    found = [entity for item in pages for entity in read_item(item, source, settings)]
    assert all(isinstance(entity, ApiEntity) for entity in found)
    names = Counter((entity.provider, entity.name) for entity in found if isinstance(entity, ApiEntity))
    assert len(listed) > 2000
    assert len(listed & set(names)) >= 0.99 * len(listed)
    assert set(names) - listed == set()
    assert max(names.values()) == 1
