"""Canonical URIs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.crawl.urls import Site, canonical_uri, may_be_page


@pytest.mark.parametrize(
    ("reference", "base", "uri"),
    [
        ("HTTP://Example.ORG:80/%7euser/./a/../b#part", "", "http://example.org/~user/b"),
        ("https://example.org", "", "https://example.org/"),
        ("https://example.org:443/a?b=%c3%a9", "", "https://example.org/a?b=%C3%A9"),
        ("../x.html", "https://example.org/a/b/c.html", "https://example.org/a/x.html"),
        ("../../../../x", "https://example.org/a/", "https://example.org/x"),
        ("%2e%2e/x", "https://example.org/a/b", "https://example.org/x"),
        ("?q=1", "https://example.org/a", "https://example.org/a?q=1"),
        ("//other.org/x", "https://example.org/a", "https://other.org/x"),
        ("/\u00fcber uns", "https://example.org/", "https://example.org/%C3%BCber%20uns"),
        ("https://b\u00fccher.example/", "", "https://xn--bcher-kva.example/"),
        ("java\nscript:alert(1)", "https://example.org/", None),
        ("javascript:alert(1)", "https://example.org/", None),
        ("mailto:a@example.org", "https://example.org/", None),
        ("file:///etc/passwd", "https://example.org/", None),
        ("http://user:secret@example.org/", "", None),
        ("http://[::1", "", None),
        ("http://example.org:port/", "", None),
        ("x" * 3000, "https://example.org/", None),
    ],
)
def test_canonical_uri(reference: str, base: str, uri: str | None) -> None:
    assert canonical_uri(reference, base) == uri


@given(st.text(max_size=200))
def test_any_link_gives_a_canonical_uri_or_none_and_canonical_uris_stay(reference: str) -> None:
    found = canonical_uri(reference, "https://example.org/a/b")
    if found is not None:
        assert found.startswith(("http://", "https://"))
        assert found.isascii()
        assert canonical_uri(found) == found


def test_a_mirror_translates_between_its_two_addresses() -> None:
    site = Site("s", "https://docs.example/en/index.html", "https://docs.example/en/", "http://127.0.0.1:5000/", "s")
    assert site.fetch_url("https://docs.example/en/a/b.html") == "http://127.0.0.1:5000/a/b.html"
    assert site.canonical_uri("http://127.0.0.1:5000/a/b.html") == "https://docs.example/en/a/b.html"
    assert not site.contains("https://docs.example/de/a.html")
    assert not site.contains("https://docs.example.evil.org/en/")


def test_archives_and_images_are_no_pages() -> None:
    assert may_be_page("https://example.org/a.html")
    assert may_be_page("https://example.org/v1.2/guide")
    assert may_be_page("https://example.org/")
    assert not may_be_page("https://example.org/a.TAR.GZ")
    assert not may_be_page("https://example.org/logo.svg?v=2")
