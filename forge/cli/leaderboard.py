"""``forge leaderboard``: checkpoints of all releases by one metric."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from forge.cli.output import lake_of, print_table, say, write_json


def leaderboard(
    context: typer.Context,
    metric: Annotated[
        str, typer.Option(help="BENCHMARK/METRIC or BENCHMARK/CATEGORY/METRIC; an unknown one lists what there is")
    ] = "bfcl_loss/nats_per_token",
    release: Annotated[str | None, typer.Option(help="id or its beginning; default: every release")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="tables for a page")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for programs")] = False,
) -> None:
    """Checkpoints by one metric. Only what has the same items and the same prompts stands on one board."""
    from forge.leaderboard import TABLE_COLUMNS, boards, markdown, table_rows, title_of

    found = boards(lake_of(context), metric, release)
    if as_json:
        write_json({"metric": metric, "boards": [asdict(board) for board in found]})
    elif as_markdown:
        say(markdown(found))
    else:
        for board in found:
            print_table(title_of(board), TABLE_COLUMNS, table_rows(board), ("rank", "value", "items"))
