"""From a checkpoint to the data it saw: release, order of the data, base model, and every document.

A run's folder (``training/run.py``) holds ``seen-<stage>.parquet`` (doc_id, tokens, first_step; the step that it
reaches in its metadata as ``step``); kind, source and licence of a document stand in the release's rows of ``corpus``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forge.lake import Lake, UnknownTable, partition_filter
from forge.release import Release, releases
from forge.schema import content_hash
from forge.trace import UnknownDocument
from forge.training_record import STAGES, run_summary

_DESCRIPTION = ("kind", "source", "license")
_COLUMNS: Mapping[str, pa.DataType] = {
    "stage": pa.string(),
    "doc_id": pa.string(),
    "tokens": pa.int64(),
    "first_step": pa.int64(),
    "kind": pa.string(),
    "source": pa.string(),
    "license": pa.string(),
}
DOCUMENTS = pa.schema(_COLUMNS)
"""Trained tokens of the stage (repeats counted), the first step with the document, what the release says of it."""


@dataclass(frozen=True)
class CheckpointTrace:
    """``facts`` is JSON (see :func:`trace_checkpoint`); ``documents`` has the columns :data:`DOCUMENTS`."""

    facts: Mapping[str, Any]
    documents: pa.Table


def trace_checkpoint(folder: Path, lake: Lake | None = None) -> CheckpointTrace:
    """What a finished model or an intermediate checkpoint was trained on.

    Facts: ``checkpoint``, ``complete``, ``run_id``, ``release_id``, ``stage``, ``step``, ``steps``, ``tokens``,
    ``order_hash``, ``base_model``; ``stages``: by stage ``step``, ``order_hash``, ``documents``, ``tokens``,
    ``tokens_are_exact`` (else those documents' tokens up to a later checkpoint of the run), ``seen_up_to_step``;
    ``kinds`` by stage, ``sources`` and ``licenses``: lists of documents and tokens, most tokens first; ``missing``:
    what could not be found out, and why. Raises :class:`forge.trace.UnknownDocument` when it is no checkpoint.
    """
    state, is_complete = _state(folder)
    run = folder.resolve().parent.parent
    summary = run_summary(run)
    missing: list[str] = []
    stages: dict[str, dict[str, Any]] = {}
    tables: list[pa.Table] = []
    if summary and summary.get("run_id") == state.get("run_id"):
        for stage in STAGES[: STAGES.index(state["stage"]) + 1]:
            recorded = (summary.get("stages") or {}).get(stage) or {}
            step = state["step"] if stage == state["stage"] else recorded.get("steps")
            path = run / f"seen-{stage}.parquet"
            try:
                seen, up_to = _seen(path, step)
            except (OSError, pa.ArrowInvalid) as error:
                missing.append(f"stage {stage}: {path} cannot be read: {' '.join(str(error).split())[:200]}")
                continue
            if up_to is not None and step is not None and up_to < step:
                missing.append(f"stage {stage}: documents after step {up_to}: the record here ends there")
            is_last = stage != state["stage"] or step == state.get("steps")
            stages[stage] = {
                "step": step,
                "order_hash": state.get("order_hash") if stage == state["stage"] else recorded.get("order_hash"),
                "documents": seen.num_rows,
                "tokens": int(pc.sum(seen["tokens"]).as_py() or 0),
                "tokens_are_exact": is_last if up_to is None else up_to == step,
                "seen_up_to_step": up_to,
            }
            tables.append(seen.add_column(0, "stage", pa.repeat(pa.scalar(stage), seen.num_rows)))
    else:
        missing.append(f"documents: the folder of run {state.get('run_id')} is not around the checkpoint")
    described, problem = _described(tables, lake, state.get("release_id"))
    if problem:
        missing.append(f"kinds, sources, licences: {problem}")
    facts = {
        "checkpoint": str(folder),
        "complete": is_complete,
        **{
            name: state.get(name) for name in ("run_id", "release_id", "stage", "step", "steps", "tokens", "order_hash")
        },
        "base_model": summary.get("base_model") if stages else None,
        "stages": stages,
        "kinds": {} if problem else {stage: _totals(described, "kind", stage) for stage in stages},
        "sources": [] if problem else _totals(described, "source"),
        "licenses": [] if problem else _totals(described, "license"),
        "missing": missing,
    }
    return CheckpointTrace(facts, described)


def _state(folder: Path) -> tuple[dict[str, Any], bool]:
    """What the checkpoint's writer stated, and whether it is complete and the statement unchanged."""
    try:
        manifest = (folder / "manifest.json").read_bytes()
        state = orjson.loads(manifest)["state"]
        if state["stage"] not in STAGES or not isinstance(state["step"], int):
            raise KeyError
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        raise UnknownDocument(f"{folder}: no checkpoint of a training run (no readable manifest.json)") from None
    marker = folder / "_COMPLETE"
    return state, marker.is_file() and marker.read_text(errors="replace") == content_hash(manifest)


def _seen(path: Path, step: int | None) -> tuple[pa.Table, int | None]:
    """Documents of a stage whose first step is not after ``step``, by doc_id, and the step that the record reaches."""
    table: Any = pq.read_table(path, columns=["doc_id", "tokens", "first_step"])
    reached = (table.schema.metadata or {}).get(b"step", b"").decode(errors="replace")
    if step is not None:
        table = table.filter(pc.less_equal(table["first_step"], pa.scalar(step)))
    return table.replace_schema_metadata(None), int(reached) if reached.isdecimal() else None


def _described(tables: list[pa.Table], lake: Lake | None, release_id: str | None) -> tuple[pa.Table, str]:
    """The documents of all stages with what the release's rows say of them, and why these are absent."""
    documents: Any = pa.concat_tables(tables) if tables else DOCUMENTS.empty_table()
    corpus, problem = _corpus_rows(documents["doc_id"], lake, release_id)
    for name in _DESCRIPTION:
        if name not in documents.schema.names:
            column = (
                pa.nulls(documents.num_rows, pa.string())
                if corpus is None
                else corpus[name].take(pc.index_in(documents["doc_id"], value_set=corpus["doc_id"]))
            )
            documents = documents.append_column(name, column)
    return documents.cast(DOCUMENTS), problem


def _corpus_rows(doc_ids: Any, lake: Lake | None, release_id: str | None) -> tuple[pa.Table | None, str]:
    from deltalake.exceptions import DeltaError

    if lake is None:
        return None, "no lake was given"
    try:
        release: Release | None = next((each for each in releases(lake) if each.release_id == release_id), None)
        if release is None:
            return None, f"release {release_id} is not in {lake.root}"
        columns = ["doc_id", *_DESCRIPTION]
        wanted = pc.unique(doc_ids)
        files = lake.files("corpus", version=release.versions["corpus"], where=partition_filter(release.partition_key))
        rows = [
            table.filter(pc.is_in(table["doc_id"], value_set=wanted))
            for table in lake.read_files("corpus", files, columns)
        ]
    except (DeltaError, UnknownTable, OSError, pa.ArrowInvalid) as error:
        return None, f"{lake.root} cannot be read: {' '.join(str(error).split())[:300]}"
    if not rows:
        return None, f"release {release_id} has no rows any more in {lake.root}"
    return pa.concat_tables(rows).combine_chunks(), ""


def _totals(documents: Any, column: str, stage: str | None = None) -> list[dict[str, Any]]:
    """Documents and tokens by the values of a column, most tokens first. A document of two stages counts once, its
    tokens in both; the release's absent values are None."""
    if stage is not None:
        documents = documents.filter(pc.equal(documents["stage"], pa.scalar(stage)))
    found = documents.group_by(column).aggregate([("doc_id", "count_distinct"), ("tokens", "sum")]).to_pylist()
    rows = [
        {column: row[column], "documents": row["doc_id_count_distinct"], "tokens": row["tokens_sum"]} for row in found
    ]
    return sorted(rows, key=lambda row: (-row["tokens"], str(row[column])))
