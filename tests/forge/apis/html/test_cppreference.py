"""Pages of cppreference.com."""

from __future__ import annotations

import html as entities_of_html
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as fuzz_settings
from hypothesis import strategies as st

from forge.apis.html import cppreference
from forge.apis.html.page import Page
from forge.apis.html.reader import entities, list_items, read_item
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiError, ApiExample

GOLDEN = Path(__file__).parents[1] / "golden" / "cppreference"
FIND, BOX = ((GOLDEN / name).read_text() for name in ("find.html", "box.html"))
BARE = ApiEntity(
    provider="cpp", service="std", name="", version="2017", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="cpp/box/find.html",
)  # fmt: skip


def read(html: str, path: str = "cpp/box/find.html") -> dict[str, ApiEntity]:
    page = Page(path, html)
    assert cppreference.detects(page)
    return {entity.name: entity for entity in cppreference.entities(page, BARE)}


def test_each_function_of_a_page_has_its_own_declarations() -> None:
    found = read(FIND)
    assert {name: entity.declaration for name, entity in found.items()} == {
        "std::box::find": "// Defined in header <box>\nint find( const T& value, int from = 0 ) const;  // (1)\n"
        "int find( T&& value );  // (1)",
        "std::box::find_if": "// Defined in header <box>\ntemplate< class P > bool find_if( P p );  "
        "// (2) (since C++11) (deprecated in C++17)",
    }
    assert {entity.entity_type for entity in found.values()} == {"method"}


def test_parameters_of_all_overloads() -> None:
    found = read(FIND)
    assert found["std::box::find"].parameters == {
        "type": "object",
        "properties": {
            "value": {"x-type": "const T &", "description": "what to find"},
            "from": {"type": "integer", "x-type": "int", "x-default": "0"},
        },
        "required": ["value"],
        "x-order": ["value", "from"],
    }
    assert found["std::box::find"].returns == {"type": "integer", "x-type": "int", "description": "Where it is."}
    assert found["std::box::find_if"].parameters["properties"] == {"p": {"x-type": "P", "description": "what to ask"}}


def test_the_text_in_parts() -> None:
    found = read(FIND)["std::box::find"]
    assert found.summary == "Finds `value`."
    assert found.description == (
        "Finds `value`. Is slow.\n\nType requirements\n- T must be equal to itself.\n\nComplexity\n\nLinear."
    )
    assert found.errors == (
        ApiError("std::out_of_range", "if it is not"),
        ApiError("std::bad_alloc", "if there is no room"),
    )
    assert found.examples == (ApiExample("", "int main()\n{\n    box.find(39);\n}", "3"),)


def test_what_is_deprecated_altogether_says_so() -> None:
    assert read(FIND)["std::box::find_if"].description.startswith("Deprecated in C++17.\n\nFinds")
    assert read(FIND)["std::box::find"].description.startswith("Finds")
    found = read(BOX)["std::box"]
    assert found.description == (
        "Deprecated in C++11, removed in C++17.\n\nHolds things.\n\nMember functions\n\n- `find, find_if`: finds"
    )
    assert found.summary == "Holds things."
    assert found.entity_type == "class"
    assert found.declaration.startswith("template< class T, class A = std::allocator<T> > class box;")


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("std::sin, sinf", ["std::sin", "std::sinf"]),
        ("std::swap (std::box)", ["std::swap(std::box)"]),
        ("std::box::end(int), std::box::cend(int)", ["std::box::end(int)", "std::box::cend(int)"]),
        ("operator==,!=,<(std::box)", ["operator==,!=,<(std::box)"]),
    ],
)
def test_titles_name_one_or_several(title: str, names: list[str]) -> None:
    heading = f'<h1 id="firstHeading">{entities_of_html.escape(title)}</h1>'
    assert list(read(re.sub(r"<h1.*?</h1>", heading, BOX))) == names


def test_c_has_a_provider_of_its_own() -> None:
    assert {entity.provider for entity in read(FIND, "c/box/find.html").values()} == {"c"}
    assert {entity.provider for entity in read(FIND, "cpp/box/c/find.html").values()} == {"cpp"}


def test_pages_without_declarations() -> None:
    assert read(FIND.replace("t-dcl-begin", "t-sdsc-begin")) == {}
    assert not cppreference.detects(Page("a.html", FIND.replace("cppreference.com", "example.org")))


def test_endless_pages_are_bounded() -> None:
    names = FIND.replace("find_if</h1>", "find_if" + ", x" * 50_000 + "</h1>")
    rows = names.replace("<tbody>", "<tbody>" + '<tr class="t-dcl"><td>int find( int a<br></td></tr>' * 20_000)
    started = time.process_time()
    assert 0 < len(list(entities(rows.encode(), "cpp/box/find.html", BARE, "cppreference"))) <= 100
    assert time.process_time() - started < 10


@fuzz_settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(FIND)), st.integers(0, 300), st.sampled_from(["", "<", "</table>", "<td>", "(", "\x00", "&lt;"])
)
def test_mutilated_pages_are_read(start: int, length: int, put: str) -> None:
    for html in (FIND[:start] + put + FIND[start + length :], FIND[:start]):
        for found in entities(html.encode(), "cpp/box/find.html", BARE, "cppreference"):
            assert found.name if isinstance(found, ApiEntity) else "inside of" in found.detail


def test_every_page_with_declarations_is_found(settings: Settings) -> None:
    """The pages of a sample that have declarations, each under the names of its title, and their examples."""
    source = settings.sources["cppreference"]
    if artifact_path(settings, source.artifact or "") is None:
        pytest.skip(f"artifact {source.artifact} is not unpacked")
    expected: dict[str, str] = {}
    found: dict[str, list[ApiEntity]] = {}
    examples: set[str] = set()
    for item in list(list_items("cppreference", source, settings))[::11]:
        path = item.item_id.removeprefix(f"{source.options['root']}/")
        html = Path("/" + item.locator["path"].lstrip("/")).read_text()
        if '<table class="t-dcl-begin"' in html:
            title = re.search(r"<title>(.*) - cppreference\.com</title>", html)
            assert title is not None
            expected[path] = entities_of_html.unescape(title[1])
            if '<div class="t-example">' in html:
                examples.add(path)
        for entity in read_item(item, source, settings):
            assert isinstance(entity, ApiEntity)
            found.setdefault(path, []).append(entity)
    assert len(expected) > 300
    assert len(set(expected) & set(found)) >= 0.99 * len(expected)
    assert set(found) - set(expected) == set()
    for path, told in found.items():
        assert told[0].name.replace(" ", "") in expected[path].replace(" ", "")
        assert told[0].provider == path.partition("/")[0]
        assert all(re.sub(r"\(.*", "", entity.name).rpartition("::")[2] in expected[path] for entity in told)
    assert len({path for path in examples if found[path][0].examples}) >= 0.99 * len(examples)
