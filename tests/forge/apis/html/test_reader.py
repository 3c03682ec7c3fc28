"""Items and decisions of reference sites, whatever their pages hold."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz_settings
from hypothesis import strategies as st

from forge.apis.html import reader
from forge.apis.html.page import Page
from forge.apis.html.reader import GENERATORS, Generator, entities, generator_of, list_items, read_item
from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import ApiEntity, Decision
from forge.stored_files import Problem

PAGES: dict[Generator, str] = {
    "sphinx": "<html><head><script src='_static/doctools.js'></script></head><body><dl class='py function'>"
    "<dt class='sig sig-object py' id='box.open'>box.open(lid, *, key=None)</dt><dd><p>Opens it:</p><pre>&gt;&gt;&gt; "
    "box.open(lid)\n1</pre><dl class='field-list'><dt>Parameters:</dt><dd><p><b>lid</b> (Lid) -- what</p></dd></dl>"
    "</dd></dl></body></html>",
    "gtk_doc": '<html><head><meta name=\'generator\' content="GTK-Doc V1"></head><body><div class="refsect2">'
    "<a name='box-open'></a><h3>box_open ()</h3><pre class='programlisting'>int box_open (Lid *lid);</pre><p>Opens.</p>"
    "<div class='refsect3'><a name='box-open.parameters'></a><table><tr><td class='parameter_name'>lid</td></tr>"
    "</table></div></div></body></html>",
    "qdoc": "<html><h1 class='title'>Box Class</h1><!-- $$$Box-brief --><p>A box.</p><h3 class='fn' id='open'>int "
    "Box::<span class='name'>open</span>(Lid *<i>lid</i> = nullptr) const</h3><p>Opens.</p></html>",
    "generic": "<html><h3 id='open'>box.open(lid[, key])</h3><p>Opens the lid of a box.</p>"
    "<pre>box.open(lid)</pre></html>",
}
BARE = ApiEntity(
    provider="c", service="box", name="", version="1", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i", source_uri="u",
)  # fmt: skip


def site(folder: Path, **options: object) -> SourceSettings:
    stated = {"paths": [f"{folder}/**/*"], "provider": "python", "service": "box", "generator": "sphinx", **options}
    return SourceSettings(type="html_reference", license="MIT", options=stated)


def read(folder: Path, settings: Settings, **options: object) -> list[ApiEntity | Decision]:
    source = site(folder, **options)
    return [found for item in list_items("site", source, settings) for found in read_item(item, source, settings)]


def test_an_entity_says_where_it_comes_from(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "v1" / "core").mkdir(parents=True)
    (tmp_path / "v1" / "core" / "open.html").write_text(PAGES["sphinx"])
    found = read(tmp_path, settings, root="v1", service="{folder}", version="1.5", public_uri="https://box.test/")
    assert len(found) == 1
    entity = found[0]
    assert isinstance(entity, ApiEntity)
    assert entity.entity_key == "python/core/box.open"
    assert (entity.version, entity.license, entity.item_id) == ("1.5", "MIT", "v1/core/open.html")
    assert entity.source_uri == "https://box.test/core/open.html#box.open"


def test_each_file_that_cannot_be_read_is_one_decision(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.html").write_text(PAGES["sphinx"])
    (tmp_path / "b.html").write_bytes(b"")
    (tmp_path / "c.html").write_text("<div>" * 10_000)
    (tmp_path / "d.html.gz").write_bytes(gzip.compress(PAGES["sphinx"].encode())[:-20])
    (tmp_path / "e.html").write_bytes(b"<html>" + b" " * reader.MAX_PAGE_BYTES)
    (tmp_path / "objects.inv").write_bytes(b"# Sphinx inventory version 1\n")
    found = read(tmp_path, settings)
    assert [(entry.item_id, entry.reason) for entry in found if isinstance(entry, Decision)] == [
        ("b.html", "empty_file"),
        ("c.html", "too_deeply_nested"),
        ("d.html.gz", "truncated_container"),
        ("e.html", "oversized"),
        ("objects.inv", "malformed_inventory"),
    ]
    assert [entry.name for entry in found if isinstance(entry, ApiEntity)] == ["box.open"]


def test_encodings(tmp_path: Path, settings: Settings) -> None:
    text = PAGES["sphinx"].replace("Opens it", "Öffnet es")
    (tmp_path / "bom.html").write_bytes(text.replace("box.", "bom.").encode("utf-8-sig"))
    (tmp_path / "wide.html").write_bytes(text.replace("box.", "wide.").encode("utf-16"))
    (tmp_path / "z.html.gz").write_bytes(gzip.compress(text.replace("box.", "z.").encode()))
    found = read(tmp_path, settings)
    assert [entry.name for entry in found if isinstance(entry, ApiEntity)] == ["bom.open", "wide.open", "z.open"]
    assert all("Öffnet es" in entry.examples[0].description for entry in found if isinstance(entry, ApiEntity))


def test_unknown_options_are_errors(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "a.html").write_text("x")
    with pytest.raises(ConfigurationError, match="generator"):
        read(tmp_path, settings, generator="mkdocs")
    with pytest.raises(ConfigurationError, match="colour"):
        read(tmp_path, settings, colour="red")


def test_a_name_is_told_once_a_page_and_never_with_control_characters() -> None:
    page = PAGES["sphinx"].replace("</body>", "<dl class='py function'><dt id='box.open'>box.open()</dt></dl></body>")
    found = list(entities(page.encode(), "a.html", BARE, "sphinx"))
    assert [entry.name for entry in found if isinstance(entry, ApiEntity)] == ["box.open"]
    odd = PAGES["sphinx"].replace("id='box.open'", "id='box\nopen'")
    assert list(entities(odd.encode(), "a.html", BARE, "sphinx")) == []


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_generator_is_known_by_its_markup(name: Generator) -> None:
    page = Page("a.html", PAGES[name])
    assert [other for other in GENERATORS if other in PAGES and other != "generic"
            and reader.generator_of(page, other).detects(page)] == [name][: name != "generic"]  # type: ignore[union-attr]  # fmt: skip
    found = generator_of(page)
    assert found is not None
    assert found.__name__ == f"forge.apis.html.{name}"
    assert [entry for entry in entities(PAGES[name].encode(), "a.html", BARE) if isinstance(entry, Problem)] == []


def test_a_page_without_api_gives_nothing() -> None:
    assert list(entities(b"<html><h1>How to</h1><p>Read this (first).</p>", "a.html", BARE)) == []


SPOILERS = (
    "<dl>", "</dl>", "<dt id='x'>", "<dd>", "</dd></dl>", "<h3 class='fn'>", "<pre>", "(", ")", "<", "\x00", "\ud800",
    "&#0;", "&#xD800;", "\u2028", "<div class='refsect2'>", "<table><tr>", "operator<", "template<", ">>> ",
    "=" * 50, "[", "'", '"',
)  # fmt: skip


@given(
    name=st.sampled_from(sorted(PAGES)),
    cuts=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 200), st.sampled_from(SPOILERS)), max_size=4),
)
@fuzz_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_mutation_breaks_a_reader(name: Generator, cuts: list[tuple[int, int, str]]) -> None:
    html = PAGES[name]
    for at, length, spoiler in cuts:
        html = html[:at] + spoiler + html[at + length :]
    for found in entities(html.encode("utf-8", "surrogatepass"), "a.html", BARE, name):
        if isinstance(found, Problem):
            assert found.reason == "unknown_encoding"
            continue
        assert found.name
        assert found.row("2026-01-01")["parameters"]
        told = f"{found.name}{found.description}{found.summary}{found.declaration}{found.examples}"
        assert not any("\ud800" <= character <= "\udfff" or character == "\x00" for character in told)


@pytest.mark.parametrize("name", sorted(PAGES))
@pytest.mark.parametrize("times", [3000])
def test_many_entries_nested_or_in_a_row_take_linear_time(name: Generator, times: int) -> None:
    body = PAGES[name].partition("<body>")[2].partition("</body>")[0] or PAGES[name].removeprefix("<html>")
    head = PAGES[name].partition("<body>")[0] if "<body>" in PAGES[name] else "<html>"
    for html in (head + body * times, head + body.replace("</dd></dl>", "").replace("</div></div>", "") * times):
        started = time.process_time()
        list(entities(html.encode(), "a.html", BARE, name))
        assert time.process_time() - started < 5
