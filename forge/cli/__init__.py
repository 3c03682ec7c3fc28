"""The ``forge`` command: report, leaderboard, trace, sources, release, remove. It needs neither Airflow nor Spark.

Expected errors are one line on standard error and exit code 1 (2 for the configuration and for bad usage).
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from forge.cli import leaderboard, releases, remove, report, sources, trace

_EXPECTED = {
    "forge.config": ("ConfigurationError",),
    "forge.artifacts": ("ArtifactError",),
    "forge.release": ("NoRelease",),
    "forge.lake": ("UnknownTable", "CommitRefused"),
    "forge.trace": ("UnknownDocument",),
    "forge.leaderboard": ("UnknownMetric",),
    "forge.removals": ("RemovalRefused",),
    "forge.export": ("ExportError",),
    "deltalake.exceptions": ("DeltaError",),
}


class _OneLineErrors(TyperGroup):
    """A group whose expected errors are messages, not tracebacks."""

    def invoke(self, ctx: Any) -> Any:  # the context's class is a private one of typer
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `forge report | head`: the caller has seen enough
            raise
        except Exception as error:
            kind = next(
                (base for base in type(error).__mro__ if base.__name__ in _EXPECTED.get(base.__module__, ())), None
            )
            if kind is None and not isinstance(error, OSError):
                raise
            typer.echo(f"forge: {error}", err=True)
            raise typer.Exit(2 if kind is not None and kind.__name__ == "ConfigurationError" else 1) from None


app = typer.Typer(
    name="forge",
    cls=_OneLineErrors,
    help="What is in the corpus, where it comes from, and what may stay.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def main(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Option(help="demo, local, full, cluster (default: FORGE_PROFILE, else demo)", show_default=False),
    ] = None,
) -> None:
    context.obj = profile


app.command("report")(report.report)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("trace")(trace.trace)
app.command("remove")(remove.remove)
app.add_typer(sources.app, name="sources")
app.add_typer(releases.app, name="release")
