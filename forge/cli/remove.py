"""``forge remove``: documents that no later release may hold."""

from __future__ import annotations

from typing import Annotated

import typer

from forge.cli.output import lake_of, print_table, say


def remove(
    context: typer.Context,
    doc_id: Annotated[str | None, typer.Option(help="one document, by its id or the beginning of it")] = None,
    source: Annotated[str | None, typer.Option(help="everything that a source gave")] = None,
    uri_prefix: Annotated[str | None, typer.Option(help="everything whose URI begins so")] = None,
    reason: Annotated[str | None, typer.Option(help="why; shown by trace and kept")] = None,
    unseen: Annotated[bool, typer.Option(help="record it although no document matches yet")] = False,
    listing: Annotated[bool, typer.Option("--list", help="show the requests there are")] = False,
) -> None:
    """Request a removal. The next release honours it; documents and earlier releases stay as they are."""
    from forge.removals import RemovalRefused, Selector, matching_documents, removals, request_removal
    from forge.trace import document_id

    lake = lake_of(context)
    if listing:
        rows = [(found.requested_at, found.selector, found.value, found.reason) for found in removals(lake)]
        print_table("Removals", ("requested at", "selector", "value", "reason"), rows)
        if not rows:
            say("No removal has been requested.")
        return
    given: dict[Selector, str | None] = {"doc_id": doc_id, "source": source, "uri_prefix": uri_prefix}
    asked = [(selector, value) for selector, value in given.items() if value is not None]
    if len(asked) != 1 or reason is None:
        raise typer.BadParameter("give exactly one of --doc-id, --source, --uri-prefix, and --reason")
    selector, value = asked[0]
    if selector == "doc_id" and not unseen:
        value = document_id(lake, value)
    documents = matching_documents(lake, selector, value)
    if not documents and not unseen:
        raise RemovalRefused(f"no document has {selector} {value!r}; --unseen records the request nevertheless")
    found, is_new = request_removal(lake, selector, value, reason)
    state = "requested" if is_new else f"was requested before, {found.requested_at}"
    say(f"Removal of {selector} {found.value} {state}: {len(documents):,} documents match ({found.reason}).")
    say("The next release honours it. Documents, and releases that were published before, stay as they are.")
