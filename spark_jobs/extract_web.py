"""The readable text of pages: those of the night's crawl, and those of archives that users bring (``warc`` sources)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, functions
from pyspark.sql.types import StructField, StructType

from forge.config import Settings
from forge.crawl.pages import StoredPage, file_digest, sightings, warc_files
from forge.crawl.warc import WarcError, read_response, scan_responses
from forge.fingerprint import code_hash, value_hash
from forge.ledger import Delta, ledger_delta, ledger_rows
from forge.schema import TABLES, Decision, Item, WebPage, content_hash, table_of
from forge.text.html import Rejection, extract_page
from spark_jobs.job import Context, Data, Job
from spark_jobs.session import spark_schema

STEP = "extract_web"
_BATCH_ROWS = 100  # pages are fat
_SCANNED = (
    "source string, archive string, uri string, content_sha256 string, offset bigint, status bigint, error string"
)
_TEXT: pa.DataType = pa.string()
_INT: pa.DataType = pa.int64()
_SCANNED_ARROW = pa.schema(
    {
        "source": _TEXT,
        "archive": _TEXT,
        "uri": _TEXT,
        "content_sha256": _TEXT,
        "offset": _INT,
        "status": _INT,
        "error": _TEXT,
    }
)


def _settings(settings: Settings) -> object:
    return {
        "max_body_bytes": settings.corpus.crawl.max_body_bytes,
        "sources": settings.enabled_sources("website", "warc"),
    }


def _archives(settings: Settings) -> dict[str, list[Path]]:
    return {name: warc_files(name, source) for name, source in settings.enabled_sources("warc").items()}


def _external(context: Context) -> object:
    return {
        name: [[path.name, file_digest(path)] for path in paths] for name, paths in _archives(context.settings).items()
    }


def _run(context: Context) -> Mapping[str, Data]:
    settings, night = context.settings, context.partition_key
    columns = ["source", "item_id", "status", "error", "content_sha256", "warc_uri", "warc_offset"]
    crawled = sightings(context.arrow("fetches", columns, scope="night").to_pylist())
    archived, decisions = _scan(context)
    pages = {(page.source, page.uri): page for page in (*crawled.pages, *archived)}
    bases = {
        name: code_hash("forge.text.html") + value_hash(source.license)
        for name, source in settings.enabled_sources("website", "warc").items()
    }
    items = [
        Item(source, uri, content_hash(page.content_sha256, bases[source]))
        for (source, uri), page in sorted(pages.items())
        if source in bases
    ]
    earlier = context.lake.read("source_items", step=STEP)
    earlier = earlier.filter(pc.less(earlier["partition_key"], pa.scalar(night)))
    complete = crawled.complete | set(_archives(settings))
    delta = ledger_delta(earlier, items, sources_complete=complete)
    delta = _with_gone(delta, ledger_delta(earlier, items, sources_complete=bases), crawled.gone)
    counts = f"{len(delta.changed):,} to extract, {delta.unchanged:,} unchanged, {len(delta.removed):,} gone"
    context.say(f"{len(items):,} pages: {counts}")
    rejected = table_of("decisions", [decision.row(night) for decision in decisions])
    ledger = ledger_rows(delta, STEP, night)
    if not delta.changed:
        return {"decisions": rejected, "source_items": ledger, "web_pages": TABLES["web_pages"].empty_table()}
    extracted = _extracted(context, [pages[item.source, item.item_id] for item in delta.changed])
    found = extracted.where("decision IS NOT NULL").select("decision.*")
    if rejected.num_rows:
        found = found.unionByName(context.frame("decisions", rejected))
    return {
        "decisions": found,
        "source_items": ledger,
        "web_pages": extracted.where("page IS NOT NULL").select("page.*"),
    }


def _with_gone(delta: Delta, unlisted: Delta, gone: frozenset[tuple[str, str]]) -> Delta:
    """Pages that said themselves that they are gone are removed although their site was not seen whole."""
    removed = {*delta.removed, *(key for key in unlisted.removed if key in gone)}
    return Delta(delta.changed, tuple(sorted(removed)), delta.unchanged)


def _scan(context: Context) -> tuple[list[StoredPage], list[Decision]]:
    """What lies in the archives of ``warc`` sources. Of several responses for one URI the last counts."""
    files = [(name, str(path)) for name, paths in _archives(context.settings).items() for path in paths]
    if not files:
        return [], []
    frame = context.spark.createDataFrame(files, "source string, archive string").repartition(len(files))
    rows = frame.mapInArrow(_scanner(context.settings.corpus.crawl.max_body_bytes), _SCANNED).collect()
    order = {key: place for place, key in enumerate(files)}
    rows.sort(key=lambda row: (order[row["source"], row["archive"]], row["offset"]))
    pages: dict[tuple[str, str], StoredPage] = {}
    decisions = []
    for row in rows:
        archive = Path(row["archive"]).name
        if row["error"]:
            decisions.append(Decision(row["source"], archive, STEP, "malformed_archive", row["error"]))
        elif row["status"] != 200:
            decisions.append(
                Decision(row["source"], row["uri"], STEP, "http_error", f"{archive} holds a status {row['status']}")
            )
        else:
            page = StoredPage(row["source"], row["uri"], row["content_sha256"], row["archive"], row["offset"])
            pages[page.source, page.uri] = page
    decisions = [each for each in decisions if (each.source, each.item_id) not in pages]
    return list(pages.values()), decisions


def _scanner(max_body_bytes: int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def scan(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for work in batch.to_pylist():
                rows: list[dict[str, Any]] = []
                empty = {"uri": "", "content_sha256": "", "offset": 0, "status": 0, "error": ""}
                try:
                    for response in scan_responses(Path(work["archive"]), max_body_bytes):
                        size = f"too large: {response.body_bytes} bytes"
                        rows.append(
                            {
                                **work,
                                "uri": response.url,
                                "content_sha256": response.content_sha256 if response.body is not None else size,
                                "offset": response.offset,
                                "status": response.status,
                                "error": "",
                            }
                        )
                except (WarcError, OSError) as error:
                    rows.append({**work, **empty, "error": str(error) or type(error).__name__})
                yield pa.RecordBatch.from_pylist(rows, schema=_SCANNED_ARROW)

    return scan


def _extracted(context: Context, pages: list[StoredPage]) -> DataFrame:
    settings = context.settings
    work = [
        (page.source, page.uri, page.content_sha256, page.archive, page.offset)
        for page in sorted(pages, key=lambda page: (page.archive, page.offset))
    ]
    frame = context.spark.createDataFrame(
        work, "source string, uri string, content_sha256 string, archive string, offset bigint"
    )
    outcome = StructType(
        [StructField("page", spark_schema("web_pages")), StructField("decision", spark_schema("decisions"))]
    )
    licenses = {name: source.license or "" for name, source in settings.enabled_sources("website", "warc").items()}
    tasks = min(len(work), 4 * context.spark.sparkContext.defaultParallelism)
    extract = _extractor(str(settings.home_path), settings.corpus.crawl.max_body_bytes, licenses, context.partition_key)
    return frame.repartition(tasks, functions.xxhash64("source", "uri")).mapInArrow(extract, outcome).persist()


def _extractor(
    home: str, max_body_bytes: int, licenses: Mapping[str, str], night: str
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    schema = pa.schema(
        [
            pa.field("page", pa.struct(list(TABLES["web_pages"]))),
            pa.field("decision", pa.struct(list(TABLES["decisions"]))),
        ]
    )

    def extract(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pending: list[dict[str, Any]] = []
        for batch in batches:
            for work in batch.to_pylist():
                page = StoredPage(**work)
                outcome = read_page(page, Path(home), max_body_bytes, licenses[page.source])
                row = outcome.row(night)
                is_page = isinstance(outcome, WebPage)
                pending.append({"page": row if is_page else None, "decision": None if is_page else row})
                if len(pending) >= _BATCH_ROWS:
                    yield pa.RecordBatch.from_pylist(pending, schema=schema)
                    pending = []
        if pending:
            yield pa.RecordBatch.from_pylist(pending, schema=schema)

    return extract


def read_page(page: StoredPage, home: Path, max_body_bytes: int, license_expression: str) -> WebPage | Decision:
    """Extract one stored page, or say why not. Never raises for what the archive holds."""

    def reject(reason: str, detail: str) -> Decision:
        return Decision(page.source, page.uri, STEP, reason, detail)

    try:
        response = read_response(home / page.archive, page.offset, max_body_bytes)
    except (WarcError, OSError) as error:
        return reject("extraction_failed", f"{type(error).__name__}: its archive cannot be read")
    if response.body is None:
        return reject("too_large", f"{response.body_bytes} bytes, at most {max_body_bytes} are parsed")
    extracted = extract_page(response.body, response.media_type, response.charset, max_body_bytes)
    if isinstance(extracted, Rejection):
        return reject(extracted.reason, extracted.detail)
    return WebPage(
        uri=page.uri,
        title=extracted.title,
        text=extracted.text,
        license=license_expression,
        language="",
        source=page.source,
        item_id=page.uri,
        content_sha256=response.content_sha256,
    )


JOB = Job(
    name="extract_web",
    writes=("decisions", "source_items", "web_pages"),
    reads=("fetches",),
    run=_run,
    settings=_settings,
    external=_external,
)
