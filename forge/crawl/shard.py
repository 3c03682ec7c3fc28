"""One round of one host: the unit that a Spark task fetches, and the file in which its result is kept.

A shard's WARC file and its result file are both written aside and renamed, the result last. A result that exists is the
truth: whoever runs the shard again (a Spark retry, a crawl that was killed) gets it without a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from forge.config import CrawlSettings
from forge.crawl.guard import refusal
from forge.crawl.http import Exchange, HttpClient
from forge.crawl.links import page_links
from forge.crawl.robots import MAX_ROBOTS_BYTES, Robots
from forge.crawl.urls import Site, canonical_uri, host_of
from forge.crawl.warc import WarcError, WarcFile, read_response
from forge.schema import content_hash

MAX_CONSECUTIVE_FAILURES = 5
MAX_RETRY_AFTER_SECONDS = 60.0
ROBOTS_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier night fetched from the same URI: enough to ask "has it changed?" and to use the stored body."""

    etag: str
    last_modified: str
    content_sha256: str
    media_type: str
    body_bytes: int
    warc_uri: str
    warc_offset: int


@dataclass(frozen=True, slots=True)
class Request:
    source: str
    uri: str
    earlier: Earlier | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """All requests of one round to one host. ``folder`` is relative to the home folder; ``seen`` are URIs of earlier
    rounds, which a redirect must not fetch again."""

    name: str
    round: int
    folder: str
    sites: Sequence[Site]
    requests: Sequence[Request]
    seen: Sequence[str]
    robots: Mapping[str, Robots]
    settings: CrawlSettings

    @property
    def _file_stem(self) -> str:
        readable = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in self.name)[:60]
        return f"r{self.round:02d}-{readable}-{content_hash(self.name)[:8]}"

    @property
    def warc_uri(self) -> str:
        return f"{self.folder}/{self._file_stem}.warc.gz"

    @property
    def result_uri(self) -> str:
        return f"{self.folder}/{self._file_stem}.json"

    def to_json(self) -> str:
        tree = asdict(self)
        tree["settings"] = self.settings.model_dump(mode="json")
        return orjson.dumps(tree).decode()

    @classmethod
    def from_json(cls, text: str) -> Shard:
        tree = orjson.loads(text)
        return cls(
            name=tree["name"],
            round=tree["round"],
            folder=tree["folder"],
            sites=[Site(**site) for site in tree["sites"]],
            requests=[
                Request(each["source"], each["uri"], Earlier(**each["earlier"]) if each["earlier"] else None)
                for each in tree["requests"]
            ],
            seen=tree["seen"],
            robots={base: Robots(**robots) for base, robots in tree["robots"].items()},
            settings=CrawlSettings.model_validate(tree["settings"]),
        )


@dataclass(frozen=True, slots=True)
class ShardResult:
    """``rows`` are rows of `fetches` without the night; ``links`` are (source, uri) found on the pages that came back;
    ``details`` explain errors by (source, item)."""

    requested: list[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    details: list[tuple[str, str, str]] = field(default_factory=list)
    robots: dict[str, dict[str, str]] = field(default_factory=dict)


def load_result(shard: Shard, home: Path) -> ShardResult | None:
    """The committed result of a shard, or None when it has none for these requests."""
    try:
        tree = orjson.loads((home / shard.result_uri).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    if tree.get("requested") != [request.uri for request in shard.requests]:
        return None
    return ShardResult(
        requested=tree["requested"],
        rows=tree["rows"],
        links=[(source, uri) for source, uri in tree["links"]],
        details=[(source, item, detail) for source, item, detail in tree["details"]],
        robots=tree["robots"],
    )


async def fetch_shard(shard: Shard, home: Path) -> ShardResult:
    """Fetch all requests of a shard, one after the other, and commit WARC and result; at once when it was
    done before."""
    done = load_result(shard, home)
    if done is not None:
        return done
    crawl = shard.settings
    result = ShardResult(requested=[request.uri for request in shard.requests])
    with WarcFile(home / shard.warc_uri, crawl.user_agent) as warc:
        async with HttpClient(crawl.user_agent, crawl.timeout_seconds, crawl.private_hosts) as client:
            await _HostFetch(shard, home, client, warc, result).run()
    path = home / shard.result_uri
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with temporary.open("wb") as file:
        file.write(orjson.dumps(asdict(result)))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return result


class _HostFetch:
    def __init__(self, shard: Shard, home: Path, client: HttpClient, warc: WarcFile, result: ShardResult) -> None:
        self.shard = shard
        self.settings = shard.settings
        self.home = home
        self.client = client
        self.warc = warc
        self.result = result
        self.sites = {site.source: site for site in shard.sites}
        self.robots: dict[str, Robots] = dict(shard.robots)
        self.taken = {*shard.seen, *(request.uri for request in shard.requests)}
        self.last_request_at = float("-inf")
        self.back_off = 1.0
        self.failures = 0

    async def run(self) -> None:
        for request in self.shard.requests:
            if self.failures >= MAX_CONSECUTIVE_FAILURES:
                self._refuse(request, request.uri, "host_unreachable", f"{self.failures} failures one after the other")
                continue
            await self._fetch(request)
        self.result.robots.update({base: asdict(robots) for base, robots in self.robots.items()})

    async def _fetch(self, request: Request) -> None:
        site = self.sites[request.source]
        uri = request.uri
        earlier = request.earlier
        for _ in range(self.settings.max_redirects + 1):
            url = site.fetch_url(uri)
            robots = await self._robots_of(site, url)
            if not robots.allows(url, self.settings.user_agent):
                reason = "robots_unreachable" if robots.access == "deny_all" else "robots_disallowed"
                self._refuse(request, uri, reason, robots.reason)
                return
            exchange = await self._exchange(url, earlier, robots.delay_seconds(self.settings.user_agent))
            if exchange.status in _REDIRECTS and not exchange.error:
                target = self._redirect_target(request, site, uri, url, exchange)
                if target is None:
                    return
                uri, earlier = target, None
                continue
            self._keep(request, site, uri, url, exchange, earlier)
            return
        self._refuse(request, request.uri, "redirect_loop", f"more than {self.settings.max_redirects} redirects")

    async def _exchange(self, url: str, earlier: Earlier | None, site_delay_seconds: float) -> Exchange:
        headers = {}
        if earlier is not None and earlier.etag:
            headers["If-None-Match"] = earlier.etag
        if earlier is not None and earlier.last_modified:
            headers["If-Modified-Since"] = earlier.last_modified
        exchange = Exchange(None)
        for _ in range(2):
            await self._pace(site_delay_seconds)
            exchange = await self.client.get(url, self.settings.max_body_bytes, headers)
            if exchange.status not in {429, 503}:
                break
            self.back_off = min(self.back_off * 2, 32.0)
            stated = exchange.header("Retry-After")
            if stated.isdecimal():
                if int(stated) > MAX_RETRY_AFTER_SECONDS:
                    break
                await asyncio.sleep(int(stated))
        self.failures = self.failures + 1 if exchange.error in {"timeout", "connection_error"} else 0
        return exchange

    async def _pace(self, site_delay_seconds: float) -> None:
        """Wait until the delay since the last answer has passed: the larger of ours and the site's, more after 429."""
        loop = asyncio.get_running_loop()
        delay = max(self.settings.delay_seconds, site_delay_seconds) * self.back_off
        await asyncio.sleep(max(0.0, self.last_request_at + delay - loop.time()))
        self.last_request_at = loop.time()

    async def _robots_of(self, site: Site, url: str) -> Robots:
        start = canonical_uri("/robots.txt", url) or url
        robots_uri, target = site.canonical_uri(start), start
        if robots_uri in self.robots:
            return self.robots[robots_uri]
        robots = Robots.of_response(None, b"", "robots.txt could not be fetched")
        for _ in range(ROBOTS_REDIRECTS + 1):
            await self._pace(0.0)
            exchange = await self.client.get(target, MAX_ROBOTS_BYTES, keep_beginning=True)
            self._row(site.source, None, robots_uri, exchange)
            if exchange.status in _REDIRECTS and not exchange.error:
                following = canonical_uri(exchange.header("Location"), target)
                if following is None:
                    robots = Robots("allow_all")
                    break
                target = following
                continue
            if exchange.error:
                robots = Robots.of_response(None, b"", f"robots.txt: {exchange.error}")
            else:
                robots = Robots.of_response(exchange.status, exchange.body)
            break
        else:
            robots = Robots("allow_all")  # RFC 9309 section 2.3.1.2: after five redirects "unavailable"
        self.robots[robots_uri] = robots
        return robots

    def _redirect_target(self, request: Request, site: Site, uri: str, url: str, exchange: Exchange) -> str | None:
        self._row(request.source, None, uri, exchange)
        location = canonical_uri(exchange.header("Location"), url)
        if location is None:
            self._reject(request, uri, "bad_url", "the redirect names no http(s) address")
            return None
        reason = refusal(location, self.settings.private_hosts)
        target = site.canonical_uri(location)
        if reason is None and not site.contains(target):
            reason = "redirect_off_site"
        if reason is not None:
            self._reject(request, uri, reason, f"redirect to {target}")
            return None
        if target == uri:
            self._reject(request, uri, "redirect_loop", "redirect to itself")
            return None
        if target in self.taken:
            return None
        self.taken.add(target)
        return target

    def _keep(
        self, request: Request, site: Site, uri: str, url: str, exchange: Exchange, earlier: Earlier | None
    ) -> None:
        if exchange.error:
            self._row(request.source, uri, uri, exchange, error=exchange.error)
            self.result.details.append((request.source, uri, exchange.detail))
        elif exchange.status == 304 and earlier is not None:
            try:
                body = read_response(
                    self.home / earlier.warc_uri, earlier.warc_offset, self.settings.max_body_bytes
                ).body
            except (WarcError, OSError) as error:
                self._row(request.source, uri, uri, exchange, error="archive_lost")
                self.result.details.append((request.source, uri, type(error).__name__))
                return
            self._row(request.source, uri, uri, exchange, stored=earlier)
            self._follow(site, uri, earlier.media_type, body or b"")
        elif exchange.status == 200:
            fetched_at = _now()
            offset = self.warc.write_response(url, 200, exchange.headers, exchange.body, fetched_at)
            stored = Earlier(
                etag=exchange.header("ETag"),
                last_modified=exchange.header("Last-Modified"),
                content_sha256=hashlib.sha256(exchange.body).hexdigest(),
                media_type=exchange.media_type,
                body_bytes=len(exchange.body),
                warc_uri=self.shard.warc_uri,
                warc_offset=offset,
            )
            self._row(request.source, uri, uri, exchange, stored=stored, fetched_at=fetched_at)
            self._follow(site, uri, exchange.media_type, exchange.body)
        else:
            self._row(request.source, uri, uri, exchange, error="http_error")
            self.result.details.append((request.source, uri, f"status {exchange.status}"))

    def _follow(self, site: Site, uri: str, media_type: str, body: bytes) -> None:
        for link in page_links(body, media_type, uri):
            if site.contains(link):
                self.result.links.append((site.source, link))

    def _refuse(self, request: Request, uri: str, reason: str, detail: str) -> None:
        """No request was made: a row of its own says why."""
        self._row(request.source, uri, uri, Exchange(None), error=reason)
        self.result.details.append((request.source, uri, detail))

    def _reject(self, request: Request, uri: str, reason: str, detail: str) -> None:
        """A redirect that is not followed: its row becomes the item's."""
        self.result.rows[-1].update(item_id=uri, error=reason)
        self.result.details.append((request.source, uri, detail))

    def _row(
        self,
        source: str,
        item_id: str | None,
        uri: str,
        exchange: Exchange,
        error: str = "",
        stored: Earlier | None = None,
        fetched_at: str = "",
    ) -> None:
        self.result.rows.append(
            {
                "source": source,
                "item_id": item_id,
                "url": uri,
                "host": host_of(uri),
                "round": self.shard.round,
                "status": exchange.status,
                "media_type": stored.media_type if stored else exchange.media_type,
                "etag": (stored.etag if stored else exchange.header("ETag"))[:1024],
                "last_modified": (stored.last_modified if stored else exchange.header("Last-Modified"))[:100],
                "content_sha256": stored.content_sha256 if stored else None,
                "body_bytes": stored.body_bytes if stored else len(exchange.body),
                "warc_uri": stored.warc_uri if stored else None,
                "warc_offset": stored.warc_offset if stored else None,
                "error": error or exchange.error,
                "fetched_at": fetched_at or _now(),
            }
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
