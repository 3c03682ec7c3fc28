"""The check of a page before it is parsed."""

from __future__ import annotations

import time

import pytest

from forge.apis.html.page import Page
from forge.text.nesting import HARMLESS_TAGS, MAX_NESTED_TAGS

FLAT = "<p>One <b>two</b> <code>three</code>.<br><ul><li>four<li>five</ul>"


def reason(html: str) -> str | None:
    started = time.process_time()
    refusal = Page("a.html", html).refusal()
    assert time.process_time() - started < 5
    return refusal[0] if refusal else None


@pytest.mark.parametrize("times", [1, HARMLESS_TAGS])
def test_flat_pages_are_read_however_long(times: int) -> None:
    assert reason("<!DOCTYPE html><html><body><div>" + FLAT * times + "</div></body></html>") is None


@pytest.mark.parametrize("depth", [10_000, 60_000])
@pytest.mark.parametrize(
    "opening",
    ["<div>", "<DIV>", "<ul><li>", "<dl><dt>x<dd>", "<table><tr><td>", "<b><div>", "<a href=x><div>", "<svg><g>"],
)
def test_deep_pages_are_refused(opening: str, depth: int) -> None:
    assert reason(FLAT + opening * depth) == "too_deeply_nested"


def test_end_tags_that_close_nothing_do_not_count() -> None:
    """``</span>`` is ignored while the div is open: the depth grows by one each time."""
    assert reason("<span><div></span></div>" * 20_000) == "too_deeply_nested"
    assert reason("".join(f"<div><font color={number}></div>" for number in range(20_000))) == "too_deeply_nested"


def test_the_limit_is_the_one_of_the_tree() -> None:
    assert reason("<div>" * (MAX_NESTED_TAGS - 2) + "x") is None
    assert reason("<div>" * (MAX_NESTED_TAGS + 1) + "x") == "too_deeply_nested"


def test_tags_in_scripts_and_comments_open_nothing() -> None:
    hidden = "<script>" + "'<div>'+" * 400 + "</script><!--" + "<div>" * 400 + "-->"
    assert reason(hidden + FLAT * HARMLESS_TAGS) is None


@pytest.mark.parametrize("attribute", [" a{}=1", " a{}='1'", ' a{}=">"', " a{}"])
def test_a_tag_of_very_many_attributes_is_refused(attribute: str) -> None:
    html = "<div class='x' id=\"y\"" + "".join(attribute.format(number) for number in range(100_000)) + ">"
    assert reason(html) == "malformed_page"
    assert reason("<div" + "".join(attribute.format(number) for number in range(10_000)) + ">") is None
    assert reason(f"<p title='{'x' * 1_000_000}'>long</p>") is None
