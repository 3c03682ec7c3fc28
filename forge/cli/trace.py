"""``forge trace``: where a document comes from, what was decided about it, what contains it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from forge.cli.output import lake_of, print_table, say, settings_of, write_json


def trace(
    context: typer.Context,
    doc_id: Annotated[str | None, typer.Argument(help="a document's id, or the beginning of it")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="a checkpoint's folder: which data it saw")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for programs")] = False,
) -> None:
    """Source, licence, every decision, releases and checkpoints of a document; or the data of a checkpoint."""
    from forge.trace import trace_checkpoint, trace_document

    if (doc_id is None) == (checkpoint is None):
        raise typer.BadParameter("give either a document's id or --checkpoint")
    if checkpoint is not None:
        found = trace_checkpoint(checkpoint)
        if as_json:
            write_json(found)
        else:
            _print_checkpoint(found)
        return
    found = trace_document(lake_of(context), settings_of(context).home_path / "runs", doc_id or "")
    if as_json:
        write_json(found)
    else:
        _print_document(found)


def _print_checkpoint(found: Mapping[str, Any]) -> None:
    state = "" if found["complete"] else "  (incomplete)"
    say(f"Checkpoint {found['checkpoint']}{state}")
    say(f"run {found['run_id']}  release {found['release_id']}  stage {found['stage']}  step {found['step']}")
    say(f"hash of the ordered data {found['order_hash']}  tokens {found['tokens']}")
    rows = [(stage, seen["documents"], seen["tokens"]) for stage, seen in found["seen"].items()]
    print_table("Documents seen", ("stage", "documents", "tokens"), rows, ("documents", "tokens"))


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
