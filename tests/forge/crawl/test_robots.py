"""RFC 9309."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.crawl.robots import MAX_ROBOTS_BYTES, Robots

AGENT = "HephaestusForge/0.1"


@pytest.mark.parametrize(
    ("status", "allowed"),
    [(404, True), (403, True), (410, True), (500, False), (503, False), (429, False), (None, False)],
)
def test_status_decides_when_there_are_no_rules(status: int | None, allowed: bool) -> None:
    assert Robots.of_response(status, b"User-agent: *\nDisallow: /").allows("https://a.example/x", AGENT) is allowed


def test_the_most_specific_group_and_the_longest_rule_win() -> None:
    text = b"User-agent: *\nDisallow: /\n\nUser-agent: HephaestusForge\nDisallow: /private\nAllow: /private/open$\n"
    text += b"Crawl-delay: 3\n"
    robots = Robots.of_response(200, text)
    assert robots.allows("https://a.example/x", AGENT)
    assert not robots.allows("https://a.example/private/x", AGENT)
    assert robots.allows("https://a.example/private/open", AGENT)
    assert not robots.allows("https://a.example/x", "Another/1.0")
    assert robots.delay_seconds(AGENT) == 3.0


def test_delays_are_bounded() -> None:
    for stated, delay in ((b"99999", 60.0), (b"-3", 0.0), (b"nan", 0.0), (b"soon", 0.0), (b"inf", 0.0)):
        assert Robots.of_response(200, b"User-agent: *\nCrawl-delay: " + stated).delay_seconds(AGENT) == delay


def test_what_lies_beyond_512_kib_is_not_parsed() -> None:
    text = b"User-agent: *\nDisallow: /first\n" + b"#" * MAX_ROBOTS_BYTES + b"\nDisallow: /late\n"
    robots = Robots.of_response(200, text)
    assert not robots.allows("https://a.example/first", AGENT)
    assert robots.allows("https://a.example/late", AGENT)


@given(st.binary(max_size=300))
def test_any_bytes_give_an_answer(text: bytes) -> None:
    robots = Robots.of_response(200, text)
    assert robots.allows("https://a.example/x", AGENT) in (True, False)
    assert 0.0 <= robots.delay_seconds(AGENT) <= 60.0
