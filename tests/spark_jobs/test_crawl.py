"""Crawl and extraction as Spark jobs: two nights of one small site, beside an archive that a user brought."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from forge.config import ArtifactSettings, Settings, SourceSettings
from forge.crawl.warc import WarcFile
from forge.lake import Lake
from spark_jobs import crawl, extract_web
from spark_jobs.job import Context, execute

pytestmark = pytest.mark.spark
FIRST, SECOND = "2026-11-21", "2026-11-22"
PIN = "0" * 64
PROSE = "This page describes how a connection is opened, used and closed again. " * 4


def page(*links: str, text: str = PROSE) -> str:
    anchors = "".join(f'<a href="{link}">next</a>' for link in links)
    return f"<html><head><title>A page</title></head><body><nav>{anchors}</nav><main><p>{text}</p></main></body></html>"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    site = tmp_path / "own" / "artifacts" / "site" / "site-1.0" / "doc"
    site.mkdir(parents=True)
    (tmp_path / "own" / "artifacts" / "site" / ".complete").write_text(PIN)
    (site / "index.html").write_text(page("a.html", "b.html", "missing.html"))
    (site / "a.html").write_text(page("index.html", "deep/c.html", text="a: " + PROSE))
    (site / "b.html").write_text(page(text="b: " + PROSE))
    (site / "deep").mkdir()
    (site / "deep" / "c.html").write_text(page("../index.html", text=""))
    return tmp_path / "own"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "brought.warc.gz"
    html = [("Content-Type", "text/html; charset=utf-8")]
    with WarcFile(path, "test") as warc:
        for url, status, headers, body in (
            ("https://brought.example/good", 200, html, page(text="g: " + PROSE).encode()),
            ("https://brought.example/odd", 200, html, b"<html>" + bytes(range(256)) * 30),
            ("https://brought.example/huge", 200, html, b"<html>" + b"<p>x" * 2_000_000),
            ("https://brought.example/data", 200, [("Content-Type", "application/json")], b"{}" * 100),
            ("https://brought.example/gone", 404, html, b"<html>gone"),
        ):
            warc.write_response(url, status, headers, body, "2026-11-20T00:00:00Z")
    content = path.read_bytes()
    (tmp_path / "cut.warc.gz").write_bytes(content[: len(content) - 30])
    return path


def context(settings: Settings, home: Path, lake: Lake, spark: SparkSession, night: str, archive: Path) -> Context:
    sources = {
        "docs": SourceSettings(
            type="website",
            license="MIT",
            artifact="site",
            options={"folder": "site-*/doc", "public_uri": "https://docs.example/en/"},
        ),
        "brought": SourceSettings(type="warc", license="CC0-1.0", options={"paths": [str(archive)]}),
        "absent": SourceSettings(type="warc", required=False, options={"paths": ["no/such/*.warc.gz"]}),
        "not_here": SourceSettings(
            type="website", artifact="other", required=False, options={"public_uri": "https://other.example/"}
        ),
    }
    pins = {
        "site": ArtifactSettings(kind="deb", package="site", version="1.0", sha256=PIN, license="MIT"),
        "other": ArtifactSettings(kind="deb", package="o", version="1", sha256=PIN, license="MIT", optional=True),
    }
    own = settings.model_copy(update={"home": str(home), "sources": sources, "artifacts": pins})
    return Context(lake, own, night, "test", lambda: spark)


def test_two_nights(
    settings: Settings, home: Path, lake: Lake, spark: SparkSession, archive: Path, tmp_path: Path
) -> None:
    first = context(settings, home, lake, spark, FIRST, archive)
    assert execute(crawl.JOB, first)
    assert execute(extract_web.JOB, first)
    fetches = lake.read("fetches").to_pylist()
    assert Counter((row["status"], row["error"]) for row in fetches) == {
        (200, ""): 4, (404, "http_error"): 1, (404, ""): 1,
    }  # fmt: skip
    assert {row["url"] for row in fetches if row["item_id"] is None} == {"https://docs.example/en/robots.txt"}
    assert "127.0.0.1" not in str(fetches)
    assert str(tmp_path) not in str(fetches)
    pages = {row["uri"]: row for row in lake.read("web_pages").to_pylist()}
    assert set(pages) == {
        "https://docs.example/en/index.html", "https://docs.example/en/a.html", "https://docs.example/en/b.html",
        "https://brought.example/good",
    }  # fmt: skip
    found = pages["https://docs.example/en/a.html"]
    assert (found["title"], found["text"]) == ("A page", ("a: " + PROSE).strip())
    assert (found["license"], found["source"], found["item_id"]) == ("MIT", "docs", found["uri"])
    decisions = {(row["step"], row["item_id"]): row["reason"] for row in lake.read("decisions").to_pylist()}
    assert decisions == {
        ("crawl", "https://docs.example/en/missing.html"): "http_error",
        ("crawl", "not_here"): "source_not_available",
        ("extract_web", "https://docs.example/en/deep/c.html"): "empty_page",
        ("extract_web", "https://brought.example/odd"): "unknown_encoding",
        ("extract_web", "https://brought.example/huge"): "too_large",
        ("extract_web", "https://brought.example/data"): "not_html",
        ("extract_web", "https://brought.example/gone"): "http_error",
    }
    # A second run of the night has nothing to do; nothing is fetched for it either.
    assert not execute(crawl.JOB, first)
    assert not execute(extract_web.JOB, first)

    site = home / "artifacts" / "site" / "site-1.0" / "doc"
    (site / "index.html").write_text(page("a.html", "new.html"))
    (site / "a.html").write_text(page(text="changed: " + PROSE))
    (site / "b.html").unlink()
    (site / "new.html").write_text(page(text="new: " + PROSE))
    second = context(settings, home, lake, spark, SECOND, tmp_path / "brought.warc.gz")
    assert execute(crawl.JOB, second)
    assert execute(extract_web.JOB, second)
    tonight = {row["uri"] for row in lake.read("web_pages", partition_key=SECOND).to_pylist()}
    # The front page's own text is what it was, but its bytes changed, so it is extracted again.
    assert tonight == {f"https://docs.example/en/{name}.html" for name in ("index", "a", "new")}
    ledger = lake.read("source_items", partition_key=SECOND).to_pylist()
    removed = {row["item_id"] for row in ledger if row["state"] == "removed"}
    assert removed == {"https://docs.example/en/b.html", "https://docs.example/en/deep/c.html"}
    current = {row["uri"] for row in second.arrow("web_pages", scope="current").to_pylist()}
    assert current == tonight | {"https://brought.example/good"}
    third = context(settings, home, lake, spark, "2026-11-23", archive)
    assert execute(crawl.JOB, third)
    assert execute(extract_web.JOB, third)
    again = lake.read("fetches", partition_key="2026-11-23").to_pylist()
    assert {row["status"] for row in again if row["item_id"]} == {304}
    assert lake.read("web_pages", partition_key="2026-11-23").num_rows == 0
    assert lake.read("source_items", partition_key="2026-11-23").num_rows == 0


def test_an_incomplete_crawl_removes_nothing_that_it_did_not_see(
    settings: Settings, home: Path, lake: Lake, spark: SparkSession, archive: Path
) -> None:
    first = context(settings, home, lake, spark, FIRST, archive)
    execute(crawl.JOB, first)
    execute(extract_web.JOB, first)
    limits = settings.corpus.crawl.model_copy(update={"max_pages_per_host": 2})
    few = settings.model_copy(update={"corpus": settings.corpus.model_copy(update={"crawl": limits})})
    (home / "artifacts" / "site" / "site-1.0" / "doc" / "a.html").unlink()
    second = context(few, home, lake, spark, SECOND, archive)
    execute(crawl.JOB, second)
    execute(extract_web.JOB, second)
    removed = [
        row["item_id"]
        for row in lake.read("source_items", partition_key=SECOND).to_pylist()
        if row["state"] == "removed"
    ]
    # a.html answered 404; b.html and c.html lay beyond the limit.
    assert removed == ["https://docs.example/en/a.html"]


def test_an_archive_that_breaks_off_keeps_its_whole_records(
    settings: Settings, home: Path, lake: Lake, spark: SparkSession, archive: Path, tmp_path: Path
) -> None:
    cut = context(settings, home, lake, spark, FIRST, tmp_path / "*.warc.gz")
    execute(extract_web.JOB, cut)
    reasons = {row["item_id"]: row["reason"] for row in lake.read("decisions").to_pylist()}
    assert reasons["cut.warc.gz"] == "malformed_archive"
    assert lake.read("web_pages").num_rows == 1
