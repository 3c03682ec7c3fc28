"""Pages of a web site or of WARC files for a preview: a real crawl, cut short, into a temporary folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.crawl.pages import sightings, warc_files
from forge.crawl.rounds import LIMITS, crawl
from forge.crawl.shard import Shard, fetch_shard
from forge.crawl.sites import open_sites
from forge.crawl.warc import WarcError, WarcResponse, read_response, scan_responses
from forge.schema import Decision, WebPage
from forge.text.html import Rejection, extract_page

MAX_PAGES = 30
_ROUNDS = 3
_STEP = "extract_web"


def preview_pages(name: str, source: SourceSettings, settings: Settings) -> Iterator[WebPage | Decision]:
    """What a source of type ``website`` or ``warc`` gives: at most ``MAX_PAGES`` pages of a site, all of an archive.

    A site that is served from an artifact is crawled on loopback, a real one over the network, with its robots.txt and
    the configured delay. Raises :class:`forge.config.ConfigurationError` for options that cannot be used.
    """
    if source.type == "warc":
        yield from _archived(name, source, settings)
    else:
        yield from _crawled(name, source, settings)


def _archived(name: str, source: SourceSettings, settings: Settings) -> Iterator[WebPage | Decision]:
    for path in warc_files(name, source):
        try:
            for response in scan_responses(path, settings.corpus.crawl.max_body_bytes):
                if response.status == 200:
                    yield _page(name, source, response.url, response)
        except (WarcError, OSError) as error:
            yield Decision(name, path.name, _STEP, "malformed_archive", str(error) or type(error).__name__)


def _crawled(name: str, source: SourceSettings, settings: Settings) -> Iterator[WebPage | Decision]:
    only = settings.model_copy(update={"sources": {name: source.model_copy(update={"enabled": True})}})
    pages = min(MAX_PAGES, settings.corpus.crawl.max_pages_per_host)
    limits = settings.corpus.crawl.model_copy(update={"rounds": _ROUNDS, "max_pages_per_host": pages})
    with tempfile.TemporaryDirectory(prefix="forge-preview-") as scratch, open_sites(only) as sites:
        if not sites:
            raise ConfigurationError(
                f"source {name!r}: artifact {source.artifact!r} is not here; run: python -m forge.artifacts"
            )
        home = Path(scratch)

        def run_shards(shards: Sequence[Shard]) -> None:
            for shard in shards:
                asyncio.run(fetch_shard(shard, home))

        result = crawl(sites, limits, home, "preview", {}, run_shards)
        yield from (decision for decision in result.decisions if decision.reason not in LIMITS)
        for stored in sightings(result.rows).pages:
            response = read_response(home / stored.archive, stored.offset, limits.max_body_bytes)
            yield _page(name, source, stored.uri, response)


def _page(name: str, source: SourceSettings, uri: str, response: WarcResponse) -> WebPage | Decision:
    if response.body is None:
        return Decision(name, uri, _STEP, "too_large", f"{response.body_bytes} bytes")
    found = extract_page(response.body, response.media_type, response.charset)
    if isinstance(found, Rejection):
        return Decision(name, uri, _STEP, found.reason, found.detail)
    return WebPage(
        uri=uri,
        title=found.title,
        text=found.text,
        license=source.license or "",
        language="",
        source=name,
        item_id=uri,
        content_sha256=response.content_sha256,
    )
