"""``forge trace``: where a document comes from, what was decided about it, what contains it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forge.cli.output import figure, lake_of, print_table, say, settings_of, write_json

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_LISTED = 15


def trace(
    context: typer.Context,
    doc_id: Annotated[str | None, typer.Argument(help="a document's id, or the beginning of it")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="a checkpoint's folder: which data it saw")] = None,
    documents: Annotated[
        str | None, typer.Option(help="with --checkpoint: write every document to FILE.parquet, or `-`: as JSON lines")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for programs")] = False,
) -> None:
    """Source, licence, every decision, releases and checkpoints of a document; or the data of a checkpoint."""
    from forge.checkpoint_trace import trace_checkpoint
    from forge.trace import trace_document

    if (doc_id is None) == (checkpoint is None):
        raise typer.BadParameter("give either a document's id or --checkpoint")
    if documents is not None and (checkpoint is None or not (documents == "-" or documents.endswith(".parquet"))):
        raise typer.BadParameter("--documents FILE.parquet or --documents - goes with --checkpoint")
    if documents == "-" and as_json:
        raise typer.BadParameter("--documents - and --json would both write to standard output")
    if checkpoint is not None:
        found = trace_checkpoint(checkpoint, lake_of(context))
        if documents == "-":
            _write_lines(found.documents)
            return
        if documents is not None:
            _write_parquet(Path(documents), found.documents)
        if as_json:
            write_json(found.facts)
        else:
            _print_checkpoint(found.facts)
        return
    traced = trace_document(lake_of(context), settings_of(context).home_path / "runs", doc_id or "")
    if as_json:
        write_json(traced)
    else:
        _print_document(traced)


def _write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table so that readers see the old file or the whole new one."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table, aside, compression="zstd")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _write_lines(table: pa.Table) -> None:
    import orjson

    for batch in table.to_batches(max_chunksize=10_000):
        typer.echo(b"\n".join(orjson.dumps(row) for row in batch.to_pylist()).decode(), nl=batch.num_rows > 0)


def _print_checkpoint(found: Mapping[str, Any]) -> None:
    state = "" if found["complete"] else "  (incomplete or changed)"
    base = found["base_model"] or {}
    say(f"Checkpoint {found['checkpoint']}{state}")
    say(f"run {found['run_id']}  release {found['release_id']}")
    say(f"base model {base.get('sha', 'not known')}  {base.get('origin', '')}".rstrip())
    of = f" of {found['steps']}" if found["steps"] else ""
    say(f"stage {found['stage']}  step {found['step']}{of}  tokens {figure(found['tokens'])}")
    say(f"hash of the ordered data {found['order_hash']}")
    say()
    rows = [
        (
            stage,
            seen["step"],
            seen["documents"],
            ("" if seen["tokens_are_exact"] else "at most ") + figure(seen["tokens"]),
            seen["order_hash"],
        )
        for stage, seen in found["stages"].items()
    ]
    columns = ("stage", "up to step", "documents", "tokens", "hash of the ordered data")
    print_table("Documents seen", columns, rows, columns[1:4])
    kinds = [
        (stage, row["kind"] or "(not in the release)", row["documents"], row["tokens"])
        for stage, listed in found["kinds"].items()
        for row in listed
    ]
    print_table("By kind", ("stage", "kind", "documents", "tokens"), kinds, ("documents", "tokens"))
    for title, column in (("Sources", "source"), ("Licences", "license")):
        listed = found[f"{column}s"]
        totals = [(row[column] or "(not stated)", row["documents"], row["tokens"]) for row in listed[:_MOST_LISTED]]
        print_table(title, (column, "documents", "tokens"), totals, ("documents", "tokens"))
        if len(listed) > _MOST_LISTED:
            say(f"{len(listed) - _MOST_LISTED} more: --json\n")
    for line in found["missing"]:
        say(f"Not known: {line}")


def _print_document(found: Mapping[str, Any]) -> None:
    document = found["document"]
    say(f"Document {document['doc_id']}")
    facts = "  ".join(f"{name} {document[name]}" for name in ("kind", "form", "split"))
    say(f"{facts}  {document['characters']:,} characters")
    say(f"entity {document['entity_key'] or '-'}  first seen on night {document['partition_key']}")
    say()
    say("\n".join("  | " + line for line in document["head"].splitlines()))
    say("" if document["head_is_whole"] else "  | ...\n")
    items = {(item["source"], item["item_id"]): item["state"] for item in found["items"]}
    columns = ("source", "item", "item is", "uri", "licence", "night")
    places = [
        (
            place["source"],
            place["item_id"],
            items[place["source"], place["item_id"]],
            place["uri"],
            place["license"] or "(not stated)",
            place["partition_key"],
        )
        for place in found["sources"]
    ]
    print_table("Sources", columns, places)
    decisions = [
        (
            row["partition_key"],
            row["step"],
            "document" if row["doc_id"] else f"item {row['item_id']}",
            row["reason"],
            row["score"],
            row["detail"],
        )
        for row in found["decisions"]
    ]
    print_table("Decisions (drops)", ("night", "step", "what", "reason", "score", "detail"), decisions, ("score",))
    if not decisions:
        say("Decisions: none; nothing dropped this document.\n")
    for removal in found["removals"]:
        asked = f"{removal['selector']} {removal['value']}"
        say(f"Removal requested {removal['requested_at']} by {asked}: {removal['reason']}")
    _print_judgements(found)
    releases = [
        (
            row["release_id"],
            row["partition_key"],
            row["domain"],
            " ".join(row["stages"] or ()),
            row["tokens"],
            row["weight"],
        )
        for row in found["releases"]
    ]
    columns = ("release", "night", "domain", "stages", "tokens", "weight")
    print_table("Releases that contain it", columns, releases, ("tokens", "weight"))
    if not releases:
        say("Releases: none contains it.\n")
    seen = [
        (row["release_id"], row["stage"], row["first_step"], row["tokens"], row["checkpoint"], len(row["descendants"]))
        for row in found["checkpoints"]
    ]
    columns = ("release", "stage", "first step", "tokens", "checkpoint", "later stages built on it")
    print_table("Checkpoints that saw it", columns, seen, ("first step", "tokens", "later stages built on it"))
    if not seen:
        say("Checkpoints: none saw it.")


def _print_judgements(found: Mapping[str, Any]) -> None:
    for signals in found["signals"]:
        failures = ", ".join(signals["quality_failures"] or ()) or "none"
        rows = [
            ("tokens", signals["tokens"]),
            ("language", f"{signals['language']} ({(signals['language_score'] or 0.0):.2f})"),
            ("agent score", signals["agent_score"]),
            ("model of the agent score", signals["model_hash"]),
            ("quality failures", failures),
            ("personal data spans", len(signals["pii_spans"] or ())),
            ("secrets", signals["secrets"]),
            *sorted((f"quality: {name}", value) for name, value in signals["quality"].items()),
        ]
        print_table("Signals", ("signal", "value"), rows)
    duplicates = found["duplicates"]
    if duplicates:
        role = "the survivor" if duplicates["is_survivor"] else f"the survivor is {duplicates['survivor_id']}"
        say(
            f"Duplicates: component {duplicates['component_id']} of {duplicates['size']:,} documents "
            f"({duplicates['method']}, Jaccard {duplicates['jaccard']}): {role}"
        )
        print_table("Members", ("doc_id",), [(member,) for member in duplicates["members"]])
    versions = found["versions"]
    if versions and len(versions["versions"]) > 1:
        known = [
            (entry["version"] or "-", entry["mirror"], entry["source"], entry["license"])
            for entry in versions["versions"]
        ]
        say(f"Version that stands for this API: {versions['version'] or '-'} ({versions['source']})")
        print_table("Versions of this API, newest first", ("version", "mirror", "source", "licence"), known)
    hits = [(row["benchmark"], row["item"], row["method"], row["evidence"]) for row in found["contamination"]]
    print_table("Contamination", ("benchmark", "item", "method", "evidence"), hits)
    seeds = [(row["seed_id"], row["rank"], row["score"]) for row in found["neighbours"]["seeds"]]
    print_table("Retrieved by seeds", ("seed", "rank", "score"), seeds, ("rank", "score"))
    pages = [(row["doc_id"], row["rank"], row["score"]) for row in found["neighbours"]["retrieved"]]
    print_table("Retrieved, as a seed", ("document", "rank", "score"), pages, ("rank", "score"))
