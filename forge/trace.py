"""From a document to everything known about it: :mod:`forge.checkpoint_trace` goes the other way.

Nothing here reads a whole table of texts: files are searched by one column, row group by row group, and statistics say
which row groups cannot hold an id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forge.lake import Lake, partition_filter, with_partition_columns
from forge.ledger import newest_sightings
from forge.release import releases
from forge.removals import applies_to, removals
from forge.schema import TABLES
from forge.training_record import STAGES, run_summary

HEAD_CHARACTERS = 1200
MIN_PREFIX_CHARACTERS = 4
MAX_LISTED = 20


class UnknownDocument(Exception):
    """No document, or more than one, has this id; or a checkpoint says nothing about its data."""


def rows_matching(
    lake: Lake,
    table: str,
    column: str,
    values: Collection[str],
    *,
    columns: Sequence[str] | None = None,
    version: int | None = None,
    partition_key: str | None = None,
) -> pa.Table:
    """Rows of a table whose ``column`` is one of ``values``, in file order; none when it does not exist yet."""
    names = TABLES[table].names if columns is None else list(columns)
    found: list[pa.Table] = []
    wanted = pa.array(sorted(values), pa.string())
    filesystem = lake.filesystem(table)
    for file in lake.files(table, version=version, where=partition_filter(partition_key)) if values else []:
        stored = [name for name in names if name not in file.partition_values]
        with filesystem.open_input_file(file.path) as source:
            parquet = pq.ParquetFile(source)
            position = parquet.schema_arrow.get_field_index(column)
            for group in range(parquet.num_row_groups):
                if not _may_hold(parquet.metadata.row_group(group), parquet, column, values):
                    continue
                keys = parquet.read_row_group(group, columns=[column], use_threads=False)[column]
                mask = pc.is_in(keys, value_set=wanted)
                if position < 0 or not pc.any(mask).as_py():
                    continue
                rows = parquet.read_row_group(group, columns=stored, use_threads=False).filter(mask)
                found.append(with_partition_columns(table, rows, file.partition_values, names))
    schema = pa.schema([TABLES[table].field(name) for name in names])
    return pa.concat_tables(found) if found else schema.empty_table()


def _may_hold(group: Any, parquet: pq.ParquetFile, column: str, values: Collection[str]) -> bool:
    index = parquet.schema.names.index(column) if column in parquet.schema.names else -1
    statistics = group.column(index).statistics if index >= 0 and group.column(index).path_in_schema == column else None
    if statistics is None or not statistics.has_min_max:
        return True
    low, high = statistics.min, statistics.max
    return any(low <= value <= high for value in values)


def document_id(lake: Lake, prefix: str) -> str:
    """The one doc_id that begins with ``prefix``. Raises :class:`UnknownDocument`."""
    prefix = prefix.strip().lower()
    if len(prefix) < MIN_PREFIX_CHARACTERS:
        raise UnknownDocument(f"{prefix!r}: give at least {MIN_PREFIX_CHARACTERS} characters of a document's id")
    ids: Any = lake.read("documents", ["doc_id"])["doc_id"]
    found: list[str] = sorted(set(ids.filter(pc.starts_with(ids, prefix)).to_pylist()))
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownDocument(f"no document's id begins with {prefix!r}; {len(ids):,} documents are in {lake.root}")
    shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    raise UnknownDocument(f"{len(found)} documents begin with {prefix!r}: {shown}")


def trace_document(lake: Lake, runs: Path, prefix: str) -> dict[str, Any]:
    """Everything that the lake and the training runs below ``runs`` know about a document.

    Keys: ``document`` (with ``head``, the beginning of the text), ``sources``, ``items``, ``decisions`` (its own and
    those of its items, newest night first), ``signals``, ``duplicates``, ``contamination``, ``neighbours``,
    ``versions`` (of the document's API), ``releases``, ``checkpoints``, ``removals``. Raises :class:`UnknownDocument`.
    """
    doc_id = document_id(lake, prefix)
    only = {doc_id}
    document = rows_matching(lake, "documents", "doc_id", only).to_pylist()[0]
    text = document.pop("text")
    places = rows_matching(lake, "document_sources", "doc_id", only).to_pylist()
    items = {(place["source"], place["item_id"]) for place in places}
    return {
        "document": {**document, "head": text[:HEAD_CHARACTERS], "head_is_whole": len(text) <= HEAD_CHARACTERS},
        "sources": sorted(places, key=lambda place: (place["source"], place["item_id"], place["uri"] or "")),
        "items": _item_states(lake, items),
        "decisions": _decisions(lake, doc_id, items),
        "signals": [
            {**row, "quality": {entry["name"]: entry["value"] for entry in row["quality"] or ()}}
            for row in rows_matching(lake, "signals", "doc_id", only).to_pylist()
        ],
        "duplicates": _duplicates(lake, doc_id),
        "contamination": rows_matching(lake, "contamination", "doc_id", only).to_pylist(),
        "neighbours": _neighbours(lake, doc_id),
        "versions": _versions(lake, document["entity_key"]),
        "releases": _releases(lake, doc_id),
        "checkpoints": _checkpoints(runs, doc_id),
        "removals": [removal.row() for removal in removals(lake) if applies_to(removal, doc_id, places)],
    }


def _item_states(lake: Lake, items: Collection[tuple[str, str]]) -> list[dict[str, Any]]:
    sightings = rows_matching(lake, "source_items", "item_id", {item_id for _, item_id in items})
    newest = newest_sightings(sightings)
    return [
        {
            "source": source,
            "item_id": item_id,
            "state": newest[source, item_id]["state"] if (source, item_id) in newest else "unknown",
            "since": newest[source, item_id]["partition_key"] if (source, item_id) in newest else None,
        }
        for source, item_id in sorted(items)
    ]


def _decisions(lake: Lake, doc_id: str, items: Collection[tuple[str, str]]) -> list[dict[str, Any]]:
    own = rows_matching(lake, "decisions", "doc_id", {doc_id}).to_pylist()
    of_items = [
        row
        for row in rows_matching(lake, "decisions", "item_id", {item_id for _, item_id in items}).to_pylist()
        if row["doc_id"] is None and (row["source"], row["item_id"]) in items
    ]
    ordered = sorted([*own, *of_items], key=lambda row: (row["step"], row["reason"]))
    return sorted(ordered, key=lambda row: str(row["partition_key"]), reverse=True)


def _duplicates(lake: Lake, doc_id: str) -> dict[str, Any] | None:
    """The component of the newest night that has one, its survivor and its members."""
    rows = rows_matching(lake, "duplicates", "doc_id", {doc_id}).to_pylist()
    if not rows:
        return None
    row: dict[str, Any] = max(rows, key=lambda row: str(row["partition_key"]))
    members: Any = rows_matching(
        lake, "duplicates", "component_id", {row["component_id"]}, partition_key=row["partition_key"]
    )
    ids: list[str] = sorted(members["doc_id"].to_pylist())
    return {**row, "is_survivor": row["survivor_id"] == doc_id, "members": ids[:MAX_LISTED], "size": len(ids)}


def _versions(lake: Lake, entity_key: str | None) -> dict[str, Any] | None:
    """All versions and mirrors of the API, newest first, and the one that stands for it."""
    rows = [] if entity_key is None else rows_matching(lake, "entity_versions", "entity_key", {entity_key}).to_pylist()
    newest: dict[str, Any] | None = max(rows, key=lambda row: str(row["partition_key"]), default=None)
    return newest if newest is not None and newest["state"] == "present" else None


def _neighbours(lake: Lake, doc_id: str) -> dict[str, list[dict[str, Any]]]:
    """``seeds`` that retrieved this document, and ``retrieved``: what this document, as a seed, retrieved. Rank 0 is
    the random page that a gate compares with; it is no match."""

    def best(column: str) -> list[dict[str, Any]]:
        rows = [row for row in rows_matching(lake, "neighbours", column, {doc_id}).to_pylist() if row["rank"] >= 1]
        newest = max((row["partition_key"] for row in rows), default=None)
        rows = [row for row in rows if row["partition_key"] == newest]
        return sorted(rows, key=lambda row: (-row["score"], row["seed_id"], row["doc_id"]))[:MAX_LISTED]

    return {"seeds": best("doc_id"), "retrieved": best("seed_id")}


def _releases(lake: Lake, doc_id: str) -> list[dict[str, Any]]:
    columns = ["domain", "stages", "split", "source", "license", "tokens", "weight"]
    found: list[dict[str, Any]] = []
    for release in releases(lake):
        rows = rows_matching(
            lake,
            "corpus",
            "doc_id",
            {doc_id},
            columns=columns,
            version=release.versions["corpus"],
            partition_key=release.partition_key,
        ).to_pylist()
        found.extend(
            {
                "release_id": release.release_id,
                "partition_key": release.partition_key,
                "created_at": release.created_at,
                **row,
            }
            for row in rows
        )
    return found


def _checkpoints(runs: Path, doc_id: str) -> list[dict[str, Any]]:
    """Training stages that saw the document (``seen-<stage>.parquet`` of every run), and the finished models of later
    stages, which were trained on from there and so hold it too."""
    found: list[dict[str, Any]] = []
    for path in sorted(runs.glob("*/seen-*.parquet")):
        stage = path.stem.removeprefix("seen-")
        if stage not in STAGES:
            continue
        rows = pq.read_table(path, filters=[("doc_id", "=", doc_id)]).to_pylist()
        found.extend(
            {
                "run_id": path.parent.name,
                "release_id": run_summary(path.parent).get("release_id"),
                "stage": stage,
                "first_step": row["first_step"],
                "tokens": row["tokens"],
                "checkpoint": f"{path.parent.name}/models/stage-{stage}",
                "descendants": [
                    f"{path.parent.name}/models/stage-{later}"
                    for later in STAGES[STAGES.index(stage) + 1 :]
                    if (path.parent / "models" / f"stage-{later}").is_dir()
                ],
            }
            for row in rows
        )
    return found
