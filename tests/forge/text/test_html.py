"""Main text of documentation pages; no input makes the extractor raise."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.text.html import MAX_PAGE_BYTES, Page, Rejection, extract_page

PROSE = "This function opens a connection and returns it; closing it is the caller's duty. " * 5


def page(body: bytes | str, **options: object) -> Page:
    found = extract_page(body.encode() if isinstance(body, str) else body, "text/html", **options)  # type: ignore[arg-type]
    assert isinstance(found, Page), found
    return found


def reason(body: bytes, media_type: str = "text/html", **options: object) -> str:
    found = extract_page(body, media_type, **options)  # type: ignore[arg-type]
    assert isinstance(found, Rejection), found
    return found.reason


SPHINX = f"""<!DOCTYPE html><html><head><title> connect() &mdash;
 Library 1.0 documentation</title><style>p {{}}</style></head><body>
<div class="related" role="navigation"><ul><li>index</li><li>modules</li></ul></div>
<div class="document"><div class="documentwrapper"><div class="bodywrapper"><div class="body" role="main">
<h1>connect()<a class="headerlink" href="#connect">¶</a></h1><p>{PROSE}</p>
<div class="highlight"><pre><span></span><span class="k">def</span> <span class="nf">connect</span>(host):
    <span class="k">if</span> host:

        <span class="k">return</span> Connection(host)  <span class="c1"># &lt;open&gt;</span>
</pre></div><ul><li>first</li><li>second</li></ul></div></div></div>
<div class="sphinxsidebar" role="navigation"><h3>Navigation</h3><p>Quick search</p></div></div>
<div class="footer">&copy; Copyright 2026, the authors. Created using Sphinx.</div>
<script>alert(1)</script></body></html>"""

JAVADOC = f"""<!DOCTYPE HTML><html lang="en"><head><title>Connection (API)</title></head><body>
<div class="flex-box"><header role="banner" class="flex-header"><nav role="navigation"><div class="top-nav">
<ul><li>Overview</li><li>Package</li><li>Deprecated</li></ul></div><div class="sub-nav">SEARCH:</div></nav></header>
<div class="flex-content"><main role="main"><h1 class="title">Class Connection</h1>
<div class="block">{PROSE}</div><pre>public final class <b>Connection</b>
extends Object</pre></main><footer role="contentinfo">Report a bug</footer></div></div></body></html>"""


def test_sphinx_keeps_code_and_drops_navigation() -> None:
    found = page(SPHINX)
    assert found.title == "connect() — Library 1.0 documentation"
    code = "def connect(host):\n    if host:\n\n        return Connection(host)  # <open>"
    assert code in found.text
    assert found.text.startswith("connect()\n")
    for noise in ("¶", "Navigation", "Quick search", "modules", "Copyright", "alert", "p {"):
        assert noise not in found.text
    assert "• first" in found.text


def test_javadoc_keeps_the_class_and_drops_its_bars() -> None:
    found = page(JAVADOC)
    assert "public final class Connection\nextends Object" in found.text
    for noise in ("Overview", "Deprecated", "SEARCH", "Report a bug"):
        assert noise not in found.text


def test_pages_without_a_known_container_keep_their_text() -> None:
    found = page(f"<title>x</title><body><nav>home</nav><div><h2>Title</h2><p>{PROSE}</p></div><footer>foot</footer>")
    assert PROSE.strip() in found.text
    assert "foot" not in found.text.replace("footnote", "")


def test_a_decorative_container_does_not_win() -> None:
    found = page(f"<article>Teaser of another story</article><div><p>{PROSE * 20}</p></div>")
    assert PROSE.strip() in found.text


@pytest.mark.parametrize(
    ("body", "charset", "encoding"),
    [
        ("<p>Grüße aus München, ausführlich erzählt für alle Zuhörer</p>".encode("latin-1"), "iso-8859-1", "cp1252"),
        ("<p>Grüße aus München, ausführlich erzählt für alle Zuhörer</p>".encode("latin-1"), "utf-8", "cp1252"),
        ("<p>Grüße aus München, ausführlich erzählt für alle Zuhörer</p>".encode(), "iso-8859-1", "utf-8"),
        (
            '<meta charset="windows-1251"><p>Функция возвращает соединение с сервером базы данных</p>'.encode("cp1251"),
            None,
            "cp1251",
        ),
        ("\ufeff<p>Grüße aus München, ausführlich erzählt für alle</p>".encode("utf-16-le"), None, "utf-16-le"),
        (
            "<p>データベースへの接続を返します。閉じるのは呼び出し側の責任です。関数は接続です。</p>".encode("shift_jis"),
            "shift_jis",
            "shift_jis",
        ),
    ],
)  # fmt: skip
def test_encodings(body: bytes, charset: str | None, encoding: str) -> None:
    found = page(body, charset=charset)
    assert found.encoding.replace("_", "-").lower() in {encoding, encoding.replace("_", "-"), "cp932"}
    assert "\ufffd" not in found.text
    assert any(word in found.text for word in ("Grüße", "Функция", "データベース"))


def test_reasons() -> None:
    assert reason(b"\x89PNG\r\n\x1a\n" + bytes(200), "image/png") == "not_html"
    assert reason(b"%PDF-1.4", "application/octet-stream") == "not_html"
    assert reason(b"<html>" + bytes(range(256)) * 50) == "unknown_encoding"
    assert reason(b"") == "empty_page"
    assert reason(b"<html><body><script>only()</script></body></html>") == "empty_page"
    assert reason(b"<html>hello", "application/json") == "not_html"
    assert reason(b"<div>" + PROSE.encode(), "text/plain") == "not_html"
    assert isinstance(extract_page(b"<!doctype html><p>" + PROSE.encode(), "text/plain"), Page)
    assert isinstance(extract_page(b"<div class=x>" + PROSE.encode(), ""), Page)


def test_a_page_of_50_mb_is_refused_without_being_parsed() -> None:
    body = b"<html>" + b"<div>" * 10_000_000
    started = time.perf_counter()
    assert reason(body) == "too_large"
    assert time.perf_counter() - started < 1
    assert MAX_PAGE_BYTES == 5 * 1024 * 1024


@pytest.mark.parametrize("tag", ["<div>", "<b>", "<table>", "<p>", "<a href=x>", "<ul><li>", "<main>", "<svg>"])
def test_deep_nesting_takes_no_long_time(tag: str) -> None:
    started = time.perf_counter()
    extract_page((tag * 50_000 + PROSE).encode(), "text/html")
    assert time.perf_counter() - started < 30


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=500), st.sampled_from(["text/html", "", "application/xhtml+xml"]), st.text(max_size=10))
def test_any_bytes_give_a_page_or_a_reason(body: bytes, media_type: str, charset: str) -> None:
    assert isinstance(extract_page(body, media_type, charset), Page | Rejection)


TAGS = [
    "div",
    "p",
    "main",
    "pre",
    "table",
    "tr",
    "td",
    "ul",
    "li",
    "nav",
    "article",
    "svg",
    "template",
    "title",
    "select",
]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TAGS), st.booleans(), st.text(max_size=8)), max_size=60))
def test_any_soup_of_tags_gives_a_page_or_a_reason(soup: list[tuple[str, bool, str]]) -> None:
    body = "".join(f"<{'/' if closing else ''}{tag}>{text}" for tag, closing, text in soup)
    assert isinstance(extract_page(body.encode("utf-8", "surrogatepass"), "text/html"), Page | Rejection)


def test_pages_of_sqlalchemy_keep_nearly_all_their_words() -> None:
    folder = Path(__file__).parents[3] / ".forge" / "artifacts" / "sqlalchemy_docs"
    files = sorted(folder.glob("sqlalchemy-*/doc/core/selectable.html"))
    if not files:
        pytest.skip("the SQLAlchemy documentation is not unpacked here")
    found = page(files[0].read_bytes())
    assert found.title == "SELECT and Related Constructs — SQLAlchemy 2.1 Documentation"
    assert len(found.text) > 300_000
    assert "Quick search" not in found.text
