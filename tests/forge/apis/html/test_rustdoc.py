"""Pages of rustdoc."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as fuzz_settings
from hypothesis import strategies as st

from forge.apis.html import rustdoc
from forge.apis.html.page import Page
from forge.apis.html.reader import entities, list_items, read_item
from forge.apis.html.rust_signatures import RustSignature, parse_rust_signature, self_type
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiError, ApiExample
from forge.stored_files import Problem

BARE = ApiEntity(
    provider="rust", service="boxes", name="", version="1.0", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="boxes/lid/struct.Lid.html",
)  # fmt: skip

GOLDEN = Path(__file__).parents[1] / "golden" / "rustdoc"
STRUCT, TRAIT, ENUM = ((GOLDEN / name).read_text() for name in ("struct.Lid.html", "trait.Open.html", "enum.Side.html"))
HEAD = '<html><head><meta name="generator" content="rustdoc"></head><body><section id="main-content">'


def read(html: str, path: str) -> dict[str, ApiEntity]:
    page = Page(path, html)
    assert rustdoc.detects(page)
    return {entity.name: entity for entity in rustdoc.entities(page, BARE)}


def test_what_a_type_defines_itself_is_read_and_what_it_repeats_is_not() -> None:
    assert {name: entity.entity_type for name, entity in read(STRUCT, "boxes/lid/struct.Lid.html").items()} == {
        "boxes::lid::Lid": "type",
        "boxes::lid::Lid::side": "attribute",
        "boxes::lid::Lid::open": "method",
        "boxes::lid::Lid::MAX": "attribute",
        "boxes::lid::Lid<u8>::dup": "method",
        "boxes::lid::Lid<&T>::dup": "method",
    }


def test_the_type() -> None:
    found = read(STRUCT, "boxes/lid/struct.Lid.html")["boxes::lid::Lid"]
    assert found.summary == "Shuts a box."
    assert found.description == "Shuts a box. Is flat.\n\nNotes\n\nNone."
    assert found.examples == (ApiExample("Make one:", "let lid = Lid::new(1);\nlid.open();", ""),)
    assert found.declaration == "pub struct Lid<T> where\n T: Copy,\n{\n    pub side: u8,\n}"


def test_a_method() -> None:
    found = read(STRUCT, "boxes/lid/struct.Lid.html")["boxes::lid::Lid::open"]
    assert found.parameters == {
        "type": "object",
        "properties": {"how": {"x-type": "F"}, "key": {"type": "string", "x-type": "&str"}},
        "required": ["how", "key"],
    }
    assert found.returns == {"x-type": "Result<(), Stuck>"}
    assert found.errors == (ApiError("Err", "When it is `Stuck`."), ApiError("panic", "Never."))
    assert found.description == "Opens it."
    assert found.declaration == ("pub fn open<F: Fn(u8) -> T>(&mut self, how: F, key: &str) -> Result<(), Stuck>")
    assert found.source_uri == "boxes/lid/struct.Lid.html#method.open"


def test_fields_and_constants_have_types() -> None:
    found = read(STRUCT, "boxes/lid/struct.Lid.html")
    assert found["boxes::lid::Lid::side"].returns == {"type": "integer", "x-type": "u8"}
    assert found["boxes::lid::Lid::MAX"].returns == {"type": "integer", "x-type": "usize"}


def test_a_trait() -> None:
    found = read(TRAIT, "boxes/trait.Open.html")
    assert list(found) == ["boxes::Open", "boxes::Open::Key", "boxes::Open::open", "boxes::Open::shut"]
    assert found["boxes::Open::Key"].entity_type == "type"
    assert found["boxes::Open::open"].parameters["required"] == ["key"]
    assert found["boxes::Open::open"].returns == {"type": "boolean", "x-type": "bool"}


def test_an_enumeration_and_its_end() -> None:
    found = read(ENUM, "boxes/enum.Side.html")
    assert found["boxes::Side"].description == "Where.\n\nDeprecated since 1.2: use ends"
    assert found["boxes::Side::Left"].description == "At the left."
    assert list(found) == ["boxes::Side", "boxes::Side::Left"]


@pytest.mark.parametrize(
    ("path", "name", "entity_type"),
    [
        ("boxes/fn.pack.html", "boxes::pack", "function"),
        ("boxes/macro.pack.html", "boxes::pack!", "macro"),
        ("boxes/constant.MAX.html", "boxes::MAX", "attribute"),
        ("boxes/primitive.f64.html", "f64", "type"),
        ("boxes/keyword.fn.html", "keyword fn", "macro"),
    ],
)
def test_names_follow_from_the_place(path: str, name: str, entity_type: str) -> None:
    page = f'{HEAD}<details class="top-doc"><div class="docblock"><p>Text.</p></div></details></section>'
    found = read(page, path)
    assert [(entity.name, entity.entity_type, entity.summary) for entity in found.values()] == [
        (name, entity_type, "Text.")
    ]


def test_pages_without_an_item() -> None:
    redirect = '<html><head><meta http-equiv="refresh" content="0;URL=macro.pack.html"></head></html>'
    assert not rustdoc.detects(Page("boxes/macro.pack!.html", redirect))
    assert read(STRUCT, "boxes/lid/index.html") == {}
    assert read(HEAD.replace("main-content", "other"), "boxes/fn.f.html") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fn f()", RustSignature("f", ())),
        ("pub const unsafe fn r#in(self, n: usize)", RustSignature("r#in", (("n", "usize"),), "", "self")),
        ("fn f(self: Pin<&Self>, a: [u8; 4],) -> !", RustSignature("f", (("a", "[u8; 4]"),), "!", "self: Pin<&Self>")),
        (
            "pub fn fold<B, F: Fn(B, T) -> B>(&'a self, init: B, f: F) -> B where F: Copy,",
            RustSignature("fold", (("init", "B"), ("f", "F")), "B", "&'a self"),
        ),
        (
            "fn f((a, b): (u8, u8), _: impl Fn(u8) -> u8)",
            RustSignature("f", (("", "(u8, u8)"), ("_", "impl Fn(u8) -> u8"))),
        ),
        ("struct Lid;", None),
        ("fn f" + "(" * 20_000, None),
        ("fn f(a: u8", RustSignature("f", (("a", "u"),))),
    ],
)  # fmt: skip
def test_signatures(text: str, expected: RustSignature | None) -> None:
    assert parse_rust_signature(text) == expected


def test_the_type_of_an_implementation() -> None:
    assert self_type("impl<T: Fn() -> u8, const N: usize> Lid<T, [u8; N]> where T: Copy") == "Lid<T, [u8; N]>"


def test_entries_inside_of_each_other_are_refused() -> None:
    """Each would be read once more for every one around it."""
    inner = STRUCT[STRUCT.index('<div class="impl-items">') :]
    html = STRUCT.replace('<div class="impl-items">', '<div class="impl-items">' * 60) + inner * 20
    path = "boxes/lid/struct.Lid.html"
    assert [
        (type(found), getattr(found, "reason", "")) for found in entities(html.encode(), path, BARE, "rustdoc")
    ] == [(Problem, "malformed_page")]


@fuzz_settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(STRUCT)), st.integers(0, 300), st.sampled_from(["", "<", "</div>", "<details>", "\x00", "<p>"])
)
def test_mutilated_pages_are_read(start: int, length: int, put: str) -> None:
    for html in (STRUCT[:start] + put + STRUCT[start + length :], STRUCT[:start]):
        for found in entities(html.encode(), "boxes/lid/struct.Lid.html", BARE, "rustdoc"):
            assert found.name if isinstance(found, ApiEntity) else "inside of" in found.detail


_AFTER = re.compile(
    'id="(?:deref-methods|trait-implementations"|synthetic-implementations"|blanket-implementations"|foreign-impls"'
    '|implementors")'
)
_ANCHOR = re.compile(r'id="((?:method|tymethod|structfield|variant|associatedtype|associatedconstant)\.\w+(?:-\d+)?)"')


def test_the_anchors_of_the_standard_library(settings: Settings) -> None:
    """Every item page of a sample, and every member before its pages begin to repeat traits."""
    source = settings.sources["rust_std"]
    if artifact_path(settings, source.artifact or "") is None:
        pytest.skip(f"artifact {source.artifact} is not unpacked")
    items = list(list_items("rust_std", source, settings))[::6]
    found: set[str] = set()
    expected: set[str] = set()
    root = str(source.options["root"]) + "/"
    for item in items:
        html = Path("/" + item.locator["path"].lstrip("/")).read_text()
        path = item.item_id.removeprefix(root)
        start = html.find('id="main-content"')
        if start >= 0 and re.search(r"/[a-z]+\.\w+\.html$", path):
            end = _AFTER.search(html, start)
            expected.add(path)
            expected |= {
                f"{path}#{anchor}" for anchor in _ANCHOR.findall(html, start, end.start() if end else len(html))
            }
        for entity in read_item(item, source, settings):
            assert isinstance(entity, ApiEntity)
            found.add(entity.source_uri.removeprefix(str(source.options["public_uri"])))
    assert len(expected) > 700
    assert len(expected & found) >= 0.99 * len(expected)
    assert found - expected == set()
