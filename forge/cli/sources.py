"""``forge sources``: list, check, preview."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forge.cli.output import print_table, say, settings_of, write_json

if TYPE_CHECKING:
    from forge.config import Settings, SourceSettings

app = typer.Typer(help="Where documents come from: list, check, preview.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="one JSON object for programs")]
_MAX_REJECTS = 20


@app.command("list")
def list_sources(context: typer.Context, as_json: Json = False) -> None:
    """All sources of the configuration."""
    settings = settings_of(context)
    rows = [
        {
            "source": name,
            "type": source.type,
            "license": source.license or "as each item states",
            "enabled": source.enabled,
            "required": source.required,
            "artifact": source.artifact or "",
            "artifact_state": _artifact_state(settings, source),
        }
        for name, source in sorted(settings.sources.items())
    ]
    if as_json:
        write_json({"sources": rows})
        return
    print_table("Sources", tuple(rows[0]) if rows else (), [tuple(row.values()) for row in rows])


@app.command()
def check(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="sources to check; default: all enabled ones")] = None,
    as_json: Json = False,
) -> None:
    """Options, artifacts and number of items of each source. Exits 1 when a required source cannot be used."""
    from forge.config import ConfigurationError

    settings = settings_of(context)
    for name in names or ():
        if name not in settings.sources:
            raise ConfigurationError(f"no source {name!r}; sources: {', '.join(sorted(settings.sources))}")
    chosen = {name: settings.sources[name] for name in names} if names else settings.enabled_sources()
    rows = [_checked(name, source, settings) for name, source in chosen.items()]
    if as_json:
        write_json({"sources": rows})
    else:
        print_table("Sources", tuple(rows[0]) if rows else (), [tuple(row.values()) for row in rows], ("items",))
    failed = [row["source"] for row in rows if row["state"] == "FAILED"]
    if failed:
        say(f"forge: {len(failed)} required sources cannot be used: {', '.join(failed)}", error=True)
        raise typer.Exit(1)


@app.command()
def preview(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="a source of the configuration")],
    documents: Annotated[int, typer.Option(min=1, max=1000, help="documents to show")] = 10,
    seconds: Annotated[float, typer.Option(min=0.1, help="read for about so long")] = 30.0,
    characters: Annotated[int, typer.Option(min=1, help="of each document")] = 1500,
    as_json: Json = False,
) -> None:
    """Rendered documents and rejects of a source, before anything is committed."""
    from forge.preview import preview_source

    found = preview_source(settings_of(context), name, documents, seconds)
    if as_json:
        rejects = [
            {"item_id": reject.item_id, "step": reject.step, "reason": reject.reason, "detail": reject.detail}
            for reject in found.rejects
        ]
        shown = [
            {
                "item_id": one.item_id,
                "uri": one.uri,
                "license": one.license,
                "doc_id": one.document.doc_id,
                "kind": one.document.kind,
                "form": one.document.form,
                "split": one.document.split,
                "text": one.document.text,
            }
            for one in found.documents
        ]
        counts = {"items": found.items, "items_read": found.items_read, "rows": found.rows, "rendered": found.rendered}
        write_json({"source": name, **counts, "licenses": found.licenses, "documents": shown, "rejects": rejects})
        return
    for number, one in enumerate(found.documents, start=1):
        document = one.document
        say(f"--- {number}. {document.kind}, {document.form}, {document.split}, {len(document.text):,} characters")
        say(f"    {one.uri}  licence: {one.license or '(not stated)'}")
        say()
        say(document.text[:characters].rstrip() + ("\n..." if len(document.text) > characters else ""))
        say()
    _print_rejects(found.rejects)
    licenses = ", ".join(f"{key or '(not stated)'} {count:,}" for key, count in sorted(found.licenses.items()))
    say(f"{name}: {found.items_read:,} of {found.items:,} items read. Licences: {licenses or '-'}.")
    rejected = f"{len(found.rejects):,} rejects ({found.rejected_share:.1%})"
    say(f"{found.rows:,} rows, {found.rendered:,} documents, {rejected}. Nothing was written.")


def _print_rejects(rejects: list[Any]) -> None:
    if not rejects:
        return
    reasons = Counter(reject.reason for reject in rejects)
    print_table("Rejects by reason", ("reason", "count"), sorted(reasons.items()), ("count",))
    rows = [(reject.item_id, reject.step, reject.reason, reject.detail[:200]) for reject in rejects[:_MAX_REJECTS]]
    print_table(f"Rejects (first {len(rows)})", ("item", "step", "reason", "detail"), rows)


def _artifact_state(settings: Settings, source: SourceSettings) -> str:
    from forge.artifacts import artifact_path
    from forge.config import ConfigurationError

    if source.artifact is None:
        return ""
    try:
        return "ready" if artifact_path(settings, source.artifact) is not None else "absent (optional)"
    except ConfigurationError:
        return "MISSING"


def _checked(name: str, source: SourceSettings, settings: Settings) -> dict[str, Any]:
    """One row of ``forge sources check``: what a run would find, or why it would stop."""
    from forge.config import ConfigurationError

    state, items, remark = "ready", None, ""
    try:
        items, remark = _offered(name, source, settings)
        if items is not None and items < source.min_items:
            raise ConfigurationError(f"{items} items, min_items is {source.min_items}")
    except ConfigurationError as error:
        state, remark = ("FAILED" if source.required else "not available"), str(error)
    return {
        "source": name,
        "type": source.type,
        "state": state,
        "items": items,
        "artifact": _artifact_state(settings, source),
        "remark": remark,
    }


def _offered(name: str, source: SourceSettings, settings: Settings) -> tuple[int | None, str]:
    """How many items a source lists, and a remark. Raises ConfigurationError when it cannot be used."""
    from forge.config import ConfigurationError
    from forge.crawl.pages import warc_files
    from forge.crawl.sites import open_sites
    from forge.preview import listed_items, reader_modules

    if reader_modules(source):
        return sum(1 for _ in listed_items(name, source, settings)), ""
    if source.type == "warc":
        files = len(warc_files(name, source))
        return files, "archives; pages are counted when they are read" if files else "no archive is here"
    only = source.model_copy(update={"enabled": True})
    with open_sites(settings.model_copy(update={"sources": {name: only}})) as sites:
        if not sites:
            raise ConfigurationError(f"artifact {source.artifact!r} is not here; run: python -m forge.artifacts")
        return None, f"a crawl begins at {sites[0].start}"
