"""``forge release``: list, show, diff, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forge.cli.output import lake_of, print_table, say, write_json

app = typer.Typer(help="Published releases: list, show, compare, export.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="one JSON object for programs")]


@app.command("list")
def list_releases(context: typer.Context, as_json: Json = False) -> None:
    """All releases, oldest first."""
    from forge.release import releases

    rows = [
        {
            "release": found.release_id,
            "night": found.partition_key,
            "created_at": found.created_at,
            "documents": sum(file.rows for file in found.files),
            "tokens": sum(file.tokens for file in found.files),
            "shards": len(found.files),
            "size_bytes": sum(file.size_bytes for file in found.files),
        }
        for found in releases(lake_of(context))
    ]
    if as_json:
        write_json({"releases": rows})
        return
    columns = tuple(rows[0]) if rows else ()
    print_table("Releases", columns, [tuple(row.values()) for row in rows], columns[3:])
    if not rows:
        say("Nothing has been published yet.")


@app.command()
def show(
    context: typer.Context,
    release: Annotated[str, typer.Argument(help="id or its beginning, or current")] = "current",
    as_json: Json = False,
) -> None:
    """What identifies a release: parent, run, table versions, recipe, shards."""
    from forge.release import release_of

    found = release_of(lake_of(context), release)
    if as_json:
        row = found.row()
        write_json(
            {**row, "versions": found.versions, "recipe": found.recipe, "gates": found.gates, "report": found.report}
        )
        return
    say(f"Release {found.release_id}")
    say(f"parent {found.parent or '-'}  night {found.partition_key}  run {found.run_id}  published {found.created_at}")
    say(f"configuration {found.configuration_hash}  code {found.code_hash}")
    print_table("Recipe", ("key", "value"), [(key, str(value)) for key, value in sorted(found.recipe.items())])
    print_table("Pinned table versions", ("table", "version"), sorted(found.versions.items()), ("version",))
    columns = ("shard", "rows", "tokens", "bytes", "sha256")
    files = [(file.path, file.rows, file.tokens, file.size_bytes, file.sha256) for file in found.files]
    print_table("Shards", columns, files, columns[1:4])


@app.command()
def diff(
    context: typer.Context,
    before: Annotated[str, typer.Argument(help="release id or its beginning")],
    after: Annotated[str, typer.Argument(help="release id or its beginning")] = "current",
    as_json: Json = False,
) -> None:
    """Documents added and removed by kind and source, and changes of the recipe."""
    from forge.release import release_of
    from forge.release_diff import release_diff

    lake = lake_of(context)
    found = release_diff(lake, release_of(lake, before), release_of(lake, after))
    if as_json:
        write_json(found)
        return
    counts, tokens = found["documents"], found["tokens"]
    say(f"{found['before']} -> {found['after']}")
    say(
        f"documents: {counts['added']:,} added, {counts['removed']:,} removed, {counts['kept']:,} kept; "
        f"tokens: {tokens['before']:,} -> {tokens['after']:,}"
    )
    columns = ("kind", "source", "added", "removed", "tokens added", "tokens removed")
    print_table("Documents", columns, [tuple(row.values()) for row in found["changes"]], columns[2:])
    recipe = [(path, str(old), str(new)) for path, (old, new) in found["recipe"].items()]
    print_table("Recipe", ("key", "before", "after"), recipe)
    words = {True: "the same", False: "changed"}
    say(f"configuration: {words[found['same_configuration']]}; code: {words[found['same_code']]}")


@app.command()
def export(
    context: typer.Context,
    to: Annotated[Path, typer.Option(help="folder to write; must not exist")],
    release: Annotated[str, typer.Argument(help="id or its beginning, or current")] = "current",
    force: Annotated[bool, typer.Option(help="replace an earlier export")] = False,
) -> None:
    """Plain Parquet with a dataset card, provenance and a manifest of sha256."""
    from forge.export import export_release
    from forge.release import release_of

    lake = lake_of(context)
    found = release_of(lake, release)
    if "://" in str(to):
        raise typer.BadParameter("--to is a folder on disk")
    manifest = export_release(lake, found, to, force=force)
    size = sum(file["size_bytes"] for file in manifest["files"])
    say(
        f"Release {found.release_id}: {manifest['counts']['total_documents']:,} documents, "
        f"{len(found.files)} shards, {size:,} bytes in {to}; every sha256 verified."
    )
