"""Pages of Haddock."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as fuzz_settings
from hypothesis import strategies as st

from forge.apis.html import haddock
from forge.apis.html.haskell_types import split_type
from forge.apis.html.page import Page
from forge.apis.html.reader import entities, list_items, read_item
from forge.artifacts import artifact_path
from forge.config import Settings
from forge.schema import ApiEntity, ApiExample
from forge.stored_files import Problem

PAGE = (Path(__file__).parents[1] / "golden" / "haddock" / "Box-Lid.html").read_text()
BARE = ApiEntity(
    provider="haskell", service="ghc", name="", version="9", entity_type="function", summary="", description="",
    parameters={"type": "object", "properties": {}}, returns={}, license="MIT", source="s", item_id="i",
    source_uri="boxes-1.2.0/Box-Lid.html",
)  # fmt: skip


def read(html: str = PAGE, path: str = "boxes-1.2.0/Box-Lid.html") -> dict[str, ApiEntity]:
    page = Page(path, html)
    assert haddock.detects(page)
    return {entity.name: entity for entity in haddock.entities(page, BARE)}


def test_names_are_those_of_the_module_that_defines_unless_it_is_internal() -> None:
    assert {name: entity.entity_type for name, entity in read().items()} == {
        "Box.Lid.open": "function",
        "Box.Lid.++": "function",  # of GHC.Base, from where nobody takes it
        "Box.Shutting.shut": "function",  # of another module for everybody
        "Box.Lid.Lid": "type",  # of Box.Lid.Internal
        "Box.Lid.NoLid": "function",
        "Box.Lid.Lid (constructor)": "function",
        "Box.Lid.side": "attribute",
        "Box.Lid.name": "attribute",
        "Box.Lid.Shuts": "type",
        "Box.Lid.Noise": "type",
        "Box.Lid.slam": "method",
        "Box.Lid.ease": "method",
    }


def test_a_function_and_its_package() -> None:
    found = read()["Box.Lid.open"]
    assert (found.entity_key, found.version) == ("haskell/boxes/Box.Lid.open", "1.2.0")
    assert found.declaration == "open :: forall m a. (Shuts m, Eq a) => (a -> Bool) -> Int -> m [a]"
    assert found.parameters == {
        "type": "object",
        "properties": {
            "arg1": {"x-type": "(a -> Bool)", "x-unnamed": True},
            "arg2": {"type": "integer", "x-type": "Int", "x-unnamed": True},
        },
        "required": ["arg1", "arg2"],
    }
    assert found.returns == {"x-type": "m [a]"}
    assert (found.summary, found.description) == ("Opens a lid.", "O(n). Opens a lid.")
    assert found.examples == (ApiExample("Basic usage:", ">>> open even 2", "[2]"),)
    assert found.source_uri == "boxes-1.2.0/Box-Lid.html#v:open"


def test_an_operator() -> None:
    assert read()["Box.Lid.++"].declaration == "(++) :: [a] -> [a] -> [a]\ninfixr 5"


def test_described_arguments() -> None:
    found = read()["Box.Shutting.shut"]
    assert found.parameters["properties"] == {
        "arg1": {"x-type": "Lid", "x-unnamed": True, "description": "what to shut"}
    }
    assert found.returns == {"x-type": "m ()", "description": "afterwards"}
    assert found.declaration == "shut\n  :: Monad m\n  => Lid\n  -> m ()"


def test_a_type_shows_its_constructors_and_fields() -> None:
    found = read()
    assert found["Box.Lid.Lid"].declaration == "data Lid\n  = NoLid\n  | Lid { side :: Int, name :: String }"
    assert found["Box.Lid.NoLid"].description == "None."
    assert found["Box.Lid.side"].returns == {"type": "integer", "x-type": "Int"}


def test_methods_that_share_a_text() -> None:
    found = read()
    assert found["Box.Lid.slam"].description == found["Box.Lid.ease"].description == "Shuts."
    assert found["Box.Lid.slam"].returns == {"x-type": "Noise m"}


def test_pages_that_are_no_modules() -> None:
    assert read(PAGE, "boxes-1.2.0/doc-index-A.html") == {}
    assert read(PAGE, "boxes-1.2.0/index.html") == {}
    assert not haddock.detects(Page("src/Box-Lid.html", "<html><head><title>Box</title></head></html>"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Int", ["Int"]),
        ("(a -> b) -> [a] -> [b]", ["(a -> b)", "[a]", "[b]"]),
        ("forall a b. Show a => (forall c. c -> b) -> a %1 -> b", ["(forall c. c -> b)", "a", "b"]),
        ("Eq a => Show b => a -> b", ["a", "b"]),
        ("(:->) a b -> a", ["(:->) a b", "a"]),
        ("", []),
        ("a -> " * 5000, []),
    ],
)
def test_types(text: str, expected: list[str]) -> None:
    assert split_type(text) == expected


def test_entries_inside_of_each_other_are_refused() -> None:
    """Each would be read once more for every one around it."""
    html = PAGE.replace('<div class="top">', '<div class="top"><p class="src"><a class="def" id="v:a">a</a></p>' * 12)
    path = "boxes-1.2.0/Box-Lid.html"
    assert [
        (type(found), getattr(found, "reason", "")) for found in entities(html.encode(), path, BARE, "haddock")
    ] == [(Problem, "malformed_page")]


@fuzz_settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(PAGE)),
    st.integers(0, 300),
    st.sampled_from(["", "<", "</table>", "<p class='src'>", "&gt;", "\x00"]),
)
def test_mutilated_pages_are_read(start: int, length: int, put: str) -> None:
    for html in (PAGE[:start] + put + PAGE[start + length :], PAGE[:start]):
        for found in entities(html.encode(), "boxes-1.2.0/Box-Lid.html", BARE, "haddock"):
            assert found.name if isinstance(found, ApiEntity) else "inside of" in found.detail


def test_every_definition_is_found(settings: Settings) -> None:
    """The anchors of all definitions of a sample of modules, but for those inside of instances."""
    source = settings.sources["ghc_libraries"]
    if artifact_path(settings, source.artifact or "") is None:
        pytest.skip(f"artifact {source.artifact} is not unpacked")
    expected: set[str] = set()
    found: set[str] = set()
    for item in list(list_items("ghc_libraries", source, settings))[::16]:
        path = item.item_id.removeprefix(f"{source.options['root']}/")
        html = Path("/" + item.locator["path"].lstrip("/")).read_text()
        anchors = re.findall(r'<a id="([tv]:[^"]+)" class="def">', html) if "/doc-index" not in path else []
        expected |= {f"{path}#{anchor}" for anchor in anchors}
        for entity in read_item(item, source, settings):
            assert isinstance(entity, ApiEntity)
            assert entity.service != "ghc" or path.startswith("ghc-9") or "/ghc-9" in html
            found.add(entity.source_uri.removeprefix(str(source.options["public_uri"])))
    assert len(expected) > 1500
    assert len(expected & found) >= 0.99 * len(expected)
    assert found - expected == set()
