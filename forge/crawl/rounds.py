"""A crawl as rounds: each gives every host to one shard; the links that come back become the next round (D8).

The order of pages, what the limits cut and what a row says depend on the sites and the settings only: not on time,
ports, the number of tasks or which of them were killed on the way. Results of shards are kept (see
:mod:`forge.crawl.shard`), so a crawl that starts again with the same sites and settings goes on where the last whole
shard was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from forge.config import CrawlSettings
from forge.crawl.robots import Robots
from forge.crawl.shard import Earlier, Request, Shard, ShardResult, load_result
from forge.crawl.urls import Site, host_of
from forge.schema import Decision, canonical_json, content_hash

STEP = "crawl"
MAX_UNFETCHED_ROWS = 1000
"""Rows written a source for pages that were found but lie beyond the limits."""
LIMITS = frozenset({"round_limit", "page_limit"})
_VERSION = 1

RunShards = Callable[[Sequence[Shard]], None]
"""Runs :func:`forge.crawl.shard.fetch_shard` for each shard, anywhere that shares the home folder."""


@dataclass(frozen=True, slots=True)
class CrawlResult:
    rows: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


def crawl_fingerprint(sites: Sequence[Site], settings: CrawlSettings) -> str:
    """Names a crawl by what decides its result; ports and the order of sources do not."""
    named = sorted([site.source, site.start, site.public_base, site.shard, site.version] for site in sites)
    return content_hash(canonical_json([_VERSION, settings.model_dump(mode="json"), named]))


def earlier_fetches(fetches: pa.Table, home: Path) -> dict[tuple[str, str], Earlier]:
    """The newest whole fetch of each (source, uri) that can be asked about again and whose archive still exists.

    ``fetches`` holds rows of earlier nights only.
    """
    newest: dict[tuple[str, str], Earlier] = {}
    present: dict[str, bool] = {}
    for row in fetches.sort_by("partition_key").to_pylist():
        if row["item_id"] is None or row["warc_uri"] is None or row["error"]:
            continue
        uri = row["warc_uri"]
        if uri not in present:
            present[uri] = (home / uri).is_file()
        key = (row["source"], row["item_id"])
        newest.pop(key, None)
        if present[uri] and (row["etag"] or row["last_modified"]):
            newest[key] = Earlier(
                etag=row["etag"],
                last_modified=row["last_modified"],
                content_sha256=row["content_sha256"],
                media_type=row["media_type"],
                body_bytes=row["body_bytes"],
                warc_uri=uri,
                warc_offset=row["warc_offset"],
            )
    return newest


def crawl(
    sites: Sequence[Site],
    settings: CrawlSettings,
    home: Path,
    night: str,
    earlier: Mapping[tuple[str, str], Earlier],
    run_shards: RunShards,
) -> CrawlResult:
    """Crawl the sites breadth first, for at most ``settings.rounds`` rounds and ``max_pages_per_host`` pages a host.

    Archives and results go to ``<home>/warc/<night>/<fingerprint>/``. Raises RuntimeError when a shard has no result
    after it was run.
    """
    folder = f"warc/{night}/{crawl_fingerprint(sites, settings)[:12]}"
    shards = {
        name: sorted((site for site in sites if site.shard == name), key=lambda site: site.source)
        for name in sorted({site.shard for site in sites})
    }
    waiting: dict[str, set[tuple[str, str]]] = {
        name: {(site.source, site.start) for site in members} for name, members in shards.items()
    }
    seen: dict[str, set[tuple[str, str]]] = {name: set() for name in shards}
    robots: dict[str, Mapping[str, Robots]] = {name: {} for name in shards}
    result = CrawlResult()
    for number in range(settings.rounds):
        this_round = []
        for name, members in shards.items():
            room = settings.max_pages_per_host - len(seen[name])
            chosen = sorted(waiting[name])[: max(0, room)]
            if not chosen:
                continue
            waiting[name].difference_update(chosen)
            this_round.append(
                Shard(
                    name=name,
                    round=number,
                    folder=folder,
                    sites=members,
                    requests=[Request(source, uri, earlier.get((source, uri))) for source, uri in chosen],
                    seen=sorted(uri for _, uri in seen[name]),
                    robots=robots[name],
                    settings=settings,
                )
            )
            seen[name].update(chosen)
        if not this_round:
            break
        for shard, done in zip(this_round, _results(this_round, home, run_shards), strict=True):
            _collect(result, done)
            reached = {(row["source"], row["item_id"]) for row in done.rows if row["item_id"] is not None}
            seen[shard.name] |= reached
            waiting[shard.name] = (waiting[shard.name] | set(done.links)) - seen[shard.name]
            robots[shard.name] = _portable(done.robots)
    _report_unfetched(result, waiting, seen, settings)
    return result


def _results(shards: Sequence[Shard], home: Path, run_shards: RunShards) -> list[ShardResult]:
    missing = [shard for shard in shards if load_result(shard, home) is None]
    if missing:
        run_shards(missing)
    results = []
    for shard in shards:
        done = load_result(shard, home)
        if done is None:
            raise RuntimeError(
                f"crawl of {shard.name}, round {shard.round}: the task left no result below {shard.folder}"
            )
        results.append(done)
    return results


def _portable(robots: Mapping[str, Mapping[str, str]]) -> dict[str, Robots]:
    return {
        base: Robots(access, kept["text"], kept["reason"])
        for base, kept in robots.items()
        for access in ("rules", "allow_all", "deny_all")
        if kept["access"] == access
    }


def _collect(result: CrawlResult, done: ShardResult) -> None:
    details = {(source, item): detail for source, item, detail in done.details}
    for row in done.rows:
        result.rows.append(row)
        if row["item_id"] is not None and row["error"]:
            result.decisions.append(
                Decision(
                    source=row["source"],
                    item_id=row["item_id"],
                    step=STEP,
                    reason=row["error"],
                    detail=details.get((row["source"], row["item_id"]), ""),
                )
            )


def _report_unfetched(
    result: CrawlResult,
    waiting: Mapping[str, Collection[tuple[str, str]]],
    seen: Mapping[str, Collection[tuple[str, str]]],
    settings: CrawlSettings,
) -> None:
    """One row for each page that was found but not fetched, and one decision a source that says how many."""
    for shard, left in waiting.items():
        reason = "page_limit" if len(seen[shard]) >= settings.max_pages_per_host else "round_limit"
        for source in sorted({source for source, _ in left}):
            uris = sorted(uri for owner, uri in left if owner == source)
            result.decisions.append(
                Decision(source, f"{source}#unfetched", STEP, reason, f"{len(uris)} pages were found but not fetched")
            )
            result.rows.extend(
                {
                    "source": source,
                    "item_id": uri,
                    "url": uri,
                    "host": host_of(uri),
                    "round": settings.rounds,
                    "status": None,
                    "media_type": "",
                    "etag": "",
                    "last_modified": "",
                    "content_sha256": None,
                    "body_bytes": 0,
                    "warc_uri": None,
                    "warc_offset": None,
                    "error": reason,
                    "fetched_at": None,
                }
                for uri in uris[:MAX_UNFETCHED_ROWS]
            )
