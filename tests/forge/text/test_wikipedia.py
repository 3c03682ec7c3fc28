"""Articles of a dump, and wikitext to prose."""

from __future__ import annotations

import bz2
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.config import ConfigurationError, Settings, SourceSettings, load_settings
from forge.schema import Decision, Item, Text
from forge.text.wikipedia import list_items, read_item
from forge.text.wikitext import plain_text

PROSE = "'''Bees''' are [[insect]]s that make [[honey|sweet honey]]. " * 8


def dump(*pages: tuple[str, str, str]) -> bytes:
    body = "".join(
        f"<page><title>{title}</title><ns>{ns}</ns><id>1</id><revision><id>2</id><text>{text}</text></revision></page>"
        for title, ns, text in pages
    )
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{body}</mediawiki>'.encode()


def read(path: Path) -> list[Text | Decision]:
    source = SourceSettings(type="wikipedia_dump", license="CC-BY-SA-4.0", options={"path": path.name})
    item = Item("wiki", path.name, "0" * 32, {"path": str(path)})
    return [found for found in read_item(item, source, load_settings("demo", environment={})) if found]  # type: ignore[misc]


def test_articles_redirects_and_short_pages(tmp_path: Path) -> None:
    path = tmp_path / "dump.xml.bz2"
    pages = [
        ("Bee &amp; me", "0", PROSE),
        ("Old", "0", "#REDIRECT [[Bee]]"),
        ("Talk:Bee", "1", PROSE),
        ("Stub", "0", "x"),
    ]
    # Real dumps are several bz2 streams one after the other.
    content = dump(*pages)
    path.write_bytes(bz2.compress(content[:200]) + bz2.compress(content[200:]))
    article, rejected = read(path)
    assert isinstance(article, Text)
    assert article.uri == "https://en.wikipedia.org/wiki/Bee_%26_me"
    assert article.text.startswith("Bee & me\n\nBees are insects that make sweet honey.")
    assert (article.kind, article.license) == ("text", "CC-BY-SA-4.0")
    assert isinstance(rejected, Decision)
    assert (rejected.reason, rejected.item_id) == ("too_short", "dump.xml.bz2#Stub")


def test_broken_dumps_keep_what_came_before(tmp_path: Path) -> None:
    import random

    noise = random.Random(1)
    words = " ".join(str(noise.random()) for _ in range(200_000))  # several bz2 blocks
    content = bz2.compress(dump(("A", "0", PROSE), ("B", "0", words)))
    for name, broken, reason in (
        ("cut.bz2", content[: len(content) * 2 // 3], "truncated"),
        ("bad.bz2", content[: len(content) // 2] + b"\0" * 5000, "malformed_dump"),
        ("open.xml", dump(("A", "0", PROSE))[:-20], "malformed_dump"),
        ("none.xml", b"hello", "malformed_dump"),
        ("empty.xml", b"", "malformed_dump"),
    ):
        path = tmp_path / name
        path.write_bytes(broken)
        *articles, last = read(path)
        assert isinstance(last, Decision)
        assert last.reason == reason, name
        assert all(isinstance(found, Text) for found in articles)


def test_entities_are_not_resolved(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    path = tmp_path / "dump.xml"
    head = f'<!DOCTYPE m [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>'.encode()
    path.write_bytes(head + dump(("A", "0", PROSE + "&x;")))
    assert "SECRET" not in str(read(path))


def test_listing_needs_the_dump(settings: Settings) -> None:
    source = SourceSettings(type="wikipedia_dump", options={"path": "no/such/dump.bz2"})
    with pytest.raises(ConfigurationError, match="no file"):
        list(list_items("wiki", source, settings))


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("{{Infobox|a={{b|{{c}}}}|d=}}Text", "Text"),
        ("{{a|x={{{1|}}}|}}Text", "Text"),
        ("{|\n! h\n|-\n| {{x}} || [[a]]\n|}\nText", "Text"),
        ("A<ref name=x>{{cite}}</ref>, b<ref name='x' />.", "A, b."),
        ("[[File:a.png|thumb|A [[bee]] (x)]]Text [[Category:Bees]]", "Text"),
        ("See [[a#b|c]], [[d (e)]] and [http://x.example y].", "See c, d (e) and y."),
        ("'''''Bold''''' &amp; ''it''&nbsp;<!-- no --><br/>x", "Bold & it\n\nx"),
        ("== One ==\n{{gone}}\n== Two ==\nText\n== References ==\nx\n=== y ===\nz", "Two\n\nText"),
        ("* a\n** b\n# c", "- a\n  - b\n- c"),
        ("{{unclosed\nText stays", "unclosed\n\nText stays"),
    ],
)
def test_wikitext(wikitext: str, text: str) -> None:
    assert plain_text(wikitext) == text


@given(st.text(alphabet="{}[]|=<>'!*#refcomnath/ \n-", max_size=200))
def test_any_wikitext_gives_text(wikitext: str) -> None:
    assert isinstance(plain_text(wikitext), str)


@pytest.mark.parametrize("unit", ["{{", "[[", "{|", "}}", "<ref>", "<!--", "[[a|", "{{a|}}", "'''", "<", "=="])
def test_time_is_bounded(unit: str) -> None:
    started = time.perf_counter()
    plain_text(unit * 100_000)
    assert time.perf_counter() - started < 30
