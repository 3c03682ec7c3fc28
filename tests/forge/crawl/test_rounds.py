"""Crawls of a hostile web on loopback, round by round."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from forge.config import CrawlSettings
from forge.crawl.rounds import CrawlResult, crawl, crawl_fingerprint, earlier_fetches
from forge.crawl.shard import Shard
from forge.crawl.warc import read_response, scan_responses
from tests.forge.crawl.conftest import HostileWeb, endless, gzip_bomb, redirect, reply, slow

Run = Callable[[Sequence[Shard]], None]
NIGHT = "2026-11-21"


def links(*targets: str) -> bytes:
    return b"<html>" + b"".join(f'<a href="{target}">x</a>'.encode() for target in targets)


def by_item(result: CrawlResult) -> dict[str, dict[str, Any]]:
    return {
        row["item_id"].removeprefix("https://web.example"): row for row in result.rows if row["item_id"] is not None
    }


def reasons(result: CrawlResult) -> dict[str, str]:
    return {decision.item_id.removeprefix("https://web.example"): decision.reason for decision in result.decisions}


def test_rounds_follow_links_and_store_what_came_back(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(links("a.html", "a.html#part", "https://elsewhere.example/", "logo.png", "/b/"))
    web.answers["/a.html"] = reply(links("/deep.html"), ETag='"1"')
    web.answers["/b/"] = reply(gzip.compress(b"<base href='/c/'>" + links("d.html")), Content_Encoding="gzip")
    result = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    rows = by_item(result)
    assert {path: row["round"] for path, row in rows.items()} == {
        "/": 0, "/a.html": 1, "/b/": 1, "/deep.html": 2, "/c/d.html": 2,
    }  # fmt: skip
    assert web.paths == ["/robots.txt", "/", "/a.html", "/b/", "/c/d.html", "/deep.html"]
    assert rows["/a.html"]["etag"] == '"1"'
    stored = read_response(tmp_path / rows["/b/"]["warc_uri"], rows["/b/"]["warc_offset"], 10_000)
    assert stored.body == b"<base href='/c/'>" + links("d.html")
    assert stored.content_sha256 == rows["/b/"]["content_sha256"]
    assert reasons(result) == {"/deep.html": "http_error", "/c/d.html": "http_error"}
    assert "127.0.0.1" not in str(result)


def test_robots_rules_are_obeyed_for_pages_and_redirects(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/robots.txt"] = reply(b"User-agent: *\nDisallow: /private", media_type="text/plain")
    web.answers["/"] = reply(links("/private/a.html", "/moved.html"))
    web.answers["/moved.html"] = redirect("/private/b.html")
    result = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    assert reasons(result) == {"/private/a.html": "robots_disallowed", "/private/b.html": "robots_disallowed"}
    assert web.paths == ["/robots.txt", "/", "/moved.html"]


@pytest.mark.parametrize("answer", [reply(b"broken", 500), slow(5), redirect("file:///etc/passwd"), reply(b"", 404)])
def test_robots_that_cannot_be_had(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path, answer: Any, request: pytest.FixtureRequest
) -> None:
    web.answers.update({"/robots.txt": answer, "/": reply(b"<p>hello")})
    result = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    unreachable = request.node.callspec.indices["answer"] < 2
    assert reasons(result) == ({"/": "robots_unreachable"} if unreachable else {})


def test_robots_redirects_five_times_and_not_into_a_private_net(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(b"<p>hello")
    web.answers["/robots.txt"] = redirect("/robots-1")
    for hop in range(1, 5):
        web.answers[f"/robots-{hop}"] = redirect(f"/robots-{hop + 1}")
    web.answers["/robots-5"] = reply(b"User-agent: *\nDisallow: /")
    assert reasons(crawl([web.site()], limits, tmp_path, "1", {}, run)) == {"/": "robots_disallowed"}
    web.answers["/robots-5"] = redirect("/robots-6")
    assert reasons(crawl([web.site()], limits, tmp_path, "2", {}, run)) == {}
    web.answers["/robots.txt"] = redirect("http://127.0.0.2/robots.txt")
    assert reasons(crawl([web.site()], limits, tmp_path, "3", {}, run)) == {"/": "robots_unreachable"}


def test_redirects_stay_on_the_site_and_out_of_private_nets(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    targets = {
        "/to-loopback": "http://127.0.0.2:80/",
        "/to-mapped": "http://[::ffff:127.0.0.1]/",
        "/to-metadata": "http://169.254.169.254/latest/",
        "/to-file": "file:///etc/passwd",
        "/to-elsewhere": "https://elsewhere.example/x",
        "/to-itself": "/to-itself",
    }
    web.answers["/"] = reply(links(*targets, "/ring0"))
    web.answers.update({path: redirect(target) for path, target in targets.items()})
    web.answers.update({f"/ring{hop}": redirect(f"/ring{hop + 1}") for hop in range(10)})
    web.answers["/good"] = reply(b"<p>hello")
    result = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    assert reasons(result) == {
        "/to-loopback": "private_address", "/to-mapped": "private_address", "/to-metadata": "private_address",
        "/to-file": "bad_url", "/to-elsewhere": "redirect_off_site", "/to-itself": "redirect_loop",
        "/ring0": "redirect_loop",
    }  # fmt: skip


def test_a_page_that_is_redirected_is_known_by_where_it_ends(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers.update({"/": redirect("/home"), "/home": reply(links("/", "/home", "/old")), "/old": redirect("/home")})
    result = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    assert list(by_item(result)) == ["/home"]
    assert web.paths.count("/home") == 1


def test_bodies_are_bounded_before_and_after_decoding(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(links("/bomb", "/stated", "/endless", "/odd", "/cut", "/exact"))
    web.answers["/bomb"] = gzip_bomb(50_000_000)
    web.answers["/stated"] = reply(b"x" * 50_000_000)
    web.answers["/endless"] = endless(50_000_000)
    web.answers["/odd"] = reply(b"xx", Content_Encoding="br")
    web.answers["/cut"] = reply(gzip.compress(b"<p>hello" * 1000)[:-20], Content_Encoding="gzip")
    web.answers["/exact"] = reply(b"x" * limits.max_body_bytes)
    result = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    assert reasons(result) == {
        "/bomb": "too_large", "/stated": "too_large", "/endless": "too_large", "/odd": "bad_encoding",
        "/cut": "bad_encoding",
    }  # fmt: skip
    assert by_item(result)["/exact"]["body_bytes"] == limits.max_body_bytes


def test_slow_answers_time_out_and_a_dead_host_is_left_alone(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(links(*(f"/slow{number}" for number in range(8))))
    web.answers.update({f"/slow{number}": slow(30) for number in range(8)})
    quick = limits.model_copy(update={"timeout_seconds": 0.2})
    found = reasons(crawl([web.site()], quick, tmp_path, NIGHT, {}, run))
    assert [found[f"/slow{number}"] for number in range(8)] == ["timeout"] * 5 + ["host_unreachable"] * 3


def test_private_hosts_must_be_named(web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path) -> None:
    web.answers["/"] = reply(b"<p>hello")
    strict = limits.model_copy(update={"private_hosts": ()})
    assert reasons(crawl([web.site()], strict, tmp_path, NIGHT, {}, run)) == {"/": "robots_unreachable"}
    assert web.requests == []


def test_a_name_that_resolves_to_loopback_is_refused_at_the_socket(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    real = socket.getaddrinfo

    def rebound(host: Any, *arguments: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == "rebound.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    site = web.site()
    public = type(site)(
        "web", "http://rebound.example/", "http://rebound.example/", "http://rebound.example/", "rebound"
    )
    result = crawl([public], limits, tmp_path, NIGHT, {}, run)
    assert [decision.reason for decision in result.decisions] == ["robots_unreachable"]
    assert "private_address" in result.decisions[0].detail
    assert web.requests == []


def test_limits_are_reported_and_deterministic(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(links(*(f"/page{number}.html" for number in (5, 3, 1, 4, 2))))
    few = limits.model_copy(update={"max_pages_per_host": 4})
    result = crawl([web.site()], few, tmp_path, NIGHT, {}, run)
    assert web.paths[2:] == ["/page1.html", "/page2.html", "/page3.html"]
    assert {path for path, row in by_item(result).items() if row["error"] == "page_limit"} == {
        "/page4.html",
        "/page5.html",
    }
    assert [d.detail for d in result.decisions if d.reason == "page_limit"] == ["2 pages were found but not fetched"]
    one_round = limits.model_copy(update={"rounds": 1})
    assert reasons(crawl([web.site()], one_round, tmp_path, NIGHT, {}, run)) == {"web#unfetched": "round_limit"}


def test_an_unchanged_page_is_asked_about_and_not_fetched_again(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(links("/a.html"), ETag='"home"')
    web.answers["/a.html"] = reply(b"<p>a", ETag='"a"', Last_Modified="Sat, 21 Nov 2026 00:00:00 GMT")
    first = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    table = pa.Table.from_pylist([{**row, "partition_key": NIGHT} for row in first.rows])
    earlier = earlier_fetches(table, tmp_path)
    assert set(earlier) == {("web", "https://web.example/"), ("web", "https://web.example/a.html")}
    web.requests.clear()
    web.answers["/"] = reply(status=304)
    web.answers["/a.html"] = reply(b"<p>changed", ETag='"b"')
    second = by_item(crawl([web.site()], limits, tmp_path, "2026-11-22", earlier, run))
    asked = {path: headers.get("If-None-Match") for path, headers, _ in web.requests}
    assert asked == {"/robots.txt": None, "/": '"home"', "/a.html": '"a"'}
    # The page that did not change keeps its content, and its links are followed from the archive.
    same = by_item(first)["/"]
    for column in ("content_sha256", "warc_uri", "warc_offset", "etag", "media_type"):
        assert second["/"][column] == same[column]
    assert (second["/"]["status"], second["/a.html"]["status"]) == (304, 200)
    (tmp_path / same["warc_uri"]).unlink()
    assert ("web", "https://web.example/") not in earlier_fetches(table, tmp_path)


def test_a_crawl_that_was_killed_goes_on_where_it_was(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(links("/a.html", "/b.html"))
    web.answers.update({"/a.html": reply(links("/c.html")), "/b.html": reply(b"<p>b"), "/c.html": reply(b"<p>c")})
    rounds_done = 0

    def killed(shards: Sequence[Shard]) -> None:
        nonlocal rounds_done
        if rounds_done == 2:
            raise KeyboardInterrupt
        rounds_done += 1
        run(shards)

    with pytest.raises(KeyboardInterrupt):
        crawl([web.site()], limits, tmp_path, NIGHT, {}, killed)
    assert web.paths == ["/robots.txt", "/", "/a.html", "/b.html"]
    # What a kill leaves behind in the folder must not matter either.
    folder = next((tmp_path / "warc" / NIGHT).iterdir())
    (folder / ".r02-web.warc.gz.1.partial").write_bytes(b"half a record")
    resumed = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    assert web.paths == ["/robots.txt", "/", "/a.html", "/b.html", "/c.html"]
    again = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    assert len(web.requests) == 5
    assert again == resumed
    archives = sorted({row["warc_uri"] for row in resumed.rows if row["warc_uri"]})
    urls = [response.url for archive in archives for response in scan_responses(tmp_path / archive, 10_000)]
    assert len(urls) == len(set(urls)) == 4


def test_a_changed_setting_starts_a_crawl_of_its_own(web: HostileWeb, limits: CrawlSettings) -> None:
    site = web.site()
    moved = type(site)(site.source, site.start, site.public_base, "http://127.0.0.1:1/", site.shard)
    assert crawl_fingerprint([site], limits) == crawl_fingerprint([moved], limits)
    assert crawl_fingerprint([site], limits) != crawl_fingerprint(
        [site], limits.model_copy(update={"max_pages_per_host": 7})
    )


def test_the_delay_lies_between_requests_and_429_is_given_time(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(links("/busy"))
    web.answers["/busy"] = reply(b"", 429, Retry_After="1")
    polite = limits.model_copy(update={"delay_seconds": 0.4})
    result = crawl([web.site()], polite, tmp_path, NIGHT, {}, run)
    times = [moment for _, _, moment in web.requests]
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps[:1]) >= 0.3  # the server sees requests a little late, now and then
    assert gaps[-1] >= 1.0
    assert web.paths == ["/robots.txt", "/", "/busy", "/busy"]
    assert reasons(result) == {"/busy": "http_error"}


def test_binary_answers_and_wrong_bytes_do_not_stop_a_crawl(
    web: HostileWeb, limits: CrawlSettings, run: Run, tmp_path: Path
) -> None:
    web.answers["/"] = reply(links("/binary", "/nonsense", "/b"))
    web.answers["/binary"] = reply(bytes(range(256)) * 20, media_type="text/html; charset=utf-16")
    web.answers["/nonsense"] = lambda handler: handler.wfile.write(b"SMTP 220 hello\r\n\r\n")  # no HTTP at all
    web.answers["/b"] = reply(b"<p>fine")
    found = crawl([web.site()], limits, tmp_path, NIGHT, {}, run)
    assert by_item(found)["/b"]["error"] == ""
    assert reasons(found) == {"/nonsense": "protocol_error"}
