"""Pages of Doxygen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as fuzz_settings
from hypothesis import strategies as st

from forge.apis.html import doxygen
from forge.apis.html.page import Page
from forge.apis.html.reader import entities, list_items, read_item
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiError, ApiExample
from forge.stored_files import Problem

GOLDEN = Path(__file__).parents[1] / "golden" / "doxygen"
CLASS, HEADER = ((GOLDEN / name).read_text() for name in ("classBox.html", "box_8h.html"))
BARE = ApiEntity(
    provider="cpp", service="boxes", name="", version="1.0", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="classBox.html",
)  # fmt: skip


def read(html: str, path: str) -> dict[str, ApiEntity]:
    page = Page(path, html)
    assert doxygen.detects(page)
    return {entity.name: entity for entity in doxygen.entities(page, BARE)}


def test_names_are_qualified_and_tell_overloads_apart() -> None:
    assert {name: entity.entity_type for name, entity in read(CLASS, "classBox.html").items()} == {
        "ns::Box": "class",
        "ns::Box::open(const char *, int) const": "method",
        "ns::Box::open()": "method",
        "ns::Box::operator()(T &&)": "method",
        "ns::Box::value_type": "type",
        "ns::Box::Side": "type",
        "ns::Box::count": "attribute",
        "swap(ns::Box<T> &, ns::Box<T> &)": "function",
        "ns::Base<T, bool>::at(unsigned long)": "method",
        "ns::Box::begin(int) const": "method",
    }


def test_a_method() -> None:
    found = read(CLASS, "classBox.html")["ns::Box::open(const char *, int) const"]
    assert found.parameters == {
        "type": "object",
        "properties": {
            "key": {"type": "string", "x-type": "const char *", "description": "What fits."},
            "tries": {"type": "integer", "x-type": "int", "description": "How often.", "x-default": "3"},
        },
        "required": ["key"],
    }
    assert found.returns == {"type": "boolean", "x-type": "bool", "description": "whether it is open."}
    assert found.errors == (ApiError("ns::Stuck", "when it is."),)
    assert found.description == "Opens the box.\n\nNote\n  Takes long."
    assert found.declaration == (
        "template<typename T>\nvirtual bool ns::Box<T>::open(const char * key, int tries = 3) const noexcept"
    )
    assert found.source_uri == "classBox.html#a01"


def test_a_class_with_its_code() -> None:
    found = read(CLASS, "classBox.html")["ns::Box"]
    assert found.description == "Holds things.\n\nBox<int> box(1);\n  box.open();\n\nNever leaks."
    assert found.declaration == "template<typename T> class ns::Box<T>"
    assert found.source_uri == "classBox.html"


def test_enumerators_are_listed() -> None:
    assert read(CLASS, "classBox.html")["ns::Box::Side"].description == "Where.\n\n- `LEFT`: At the left.\n- `TOP`"


def test_types_of_what_is_no_call() -> None:
    found = read(CLASS, "classBox.html")
    assert found["ns::Box::count"].returns == {"type": "integer", "x-type": "std::size_t"}
    assert found["ns::Box::value_type"].returns == {}
    assert found["ns::Box::operator()(T &&)"].parameters["properties"] == {
        "arg1": {"x-type": "T &&", "x-unnamed": True}
    }


def test_arguments_that_only_the_contents_tell() -> None:
    found = read(CLASS, "classBox.html")["ns::Box::begin(int) const"]
    assert found.parameters["properties"] == {"from": {"type": "integer", "x-type": "int", "x-default": "0"}}
    assert found.declaration == "Box<T>::iterator ns::Box<T>::begin(int from=0) const"
    assert found.returns == {"x-type": "Box<T>::iterator"}


def test_a_header_of_c() -> None:
    found = read(HEADER, "box_8h.html")
    assert list(found) == ["BOX_AREA", "box_open(box_t *)"]
    assert found["BOX_AREA"].entity_type == "macro"
    assert found["BOX_AREA"].parameters["required"] == ["width", "height"]
    assert found["BOX_AREA"].declaration == "#define BOX_AREA(width, height) ((width) * (height))"
    assert found["box_open(box_t *)"].entity_type == "function"
    assert found["box_open(box_t *)"].examples == (ApiExample("", "if (ok) {\n    box_open(box);\n}", ""),)
    assert found["box_open(box_t *)"].description == "Opens one. Like so:"


def test_specialisations_keep_their_arguments() -> None:
    page = HEADER.replace("box.h File Reference", "ns::Box&lt; bool &gt; Struct Reference").replace(
        "int box_open ", "int ns::Box&lt; bool &gt;::box_open "
    )
    assert "ns::Box<bool>::box_open(box_t *)" in read(page, "structBox.html")


def test_pages_without_members() -> None:
    assert read(CLASS, "box_8h_source.html") == {}
    assert read(CLASS, "classBox-members.html") == {}
    assert not doxygen.detects(Page("a.html", CLASS.replace("Doxygen", "Oxygen")))


def test_entries_inside_of_each_other_are_refused() -> None:
    """Each would be read once more for every one around it."""
    html = CLASS.replace('<div class="memitem">', '<div class="memitem">' * 12)
    path = "classBox.html"
    assert [
        (type(found), getattr(found, "reason", "")) for found in entities(html.encode(), path, BARE, "doxygen")
    ] == [(Problem, "malformed_page")]


@fuzz_settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(CLASS)), st.integers(0, 300), st.sampled_from(["", "<", "</table>", "<td>", "&lt;", "\x00", ">"])
)
def test_mutilated_pages_are_read(start: int, length: int, put: str) -> None:
    for html in (CLASS[:start] + put + CLASS[start + length :], CLASS[:start]):
        for found in entities(html.encode(), "classBox.html", BARE, "doxygen"):
            assert found.name if isinstance(found, ApiEntity) else "inside of" in found.detail


@pytest.mark.parametrize(("name", "step", "least"), [("gtkmm", 15, 400), ("libstdcxx", 19, 700), ("eigen", 3, 400)])
def test_every_member_is_found(name: str, step: int, least: int, settings: Settings) -> None:
    """The anchors of all members of a sample of pages, and nothing else but the classes themselves."""
    source = settings.sources[name]
    if artifact_path(settings, source.artifact or "") is None:
        pytest.skip(f"artifact {source.artifact} is not unpacked")
    expected: set[str] = set()
    found: set[str] = set()
    for item in list(list_items(name, source, settings))[::step]:
        path = item.item_id.removeprefix(f"{source.options['root']}/")
        html = Path("/" + item.locator["path"].lstrip("/")).read_text(errors="replace")
        heads = re.findall(
            r'<a id="([^"]+)" name="[^"]+"></a>\s*<h2 class="memtitle">(?:(?!</h2>|anonymous).)*</h2>\s*<div', html
        )
        expected |= {f"{path}#{anchor}" for anchor in heads}
        for entity in read_item(item, source, settings):
            assert isinstance(entity, ApiEntity)
            found.add(entity.source_uri.removeprefix(str(source.options["public_uri"])))
    assert len(expected) > least
    assert len(expected & found) >= 0.99 * len(expected)
    assert {uri for uri in found - expected if "#" in uri} == set()
