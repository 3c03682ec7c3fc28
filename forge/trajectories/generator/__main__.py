"""``python -m forge.trajectories.generator``: trajectories by a language model, into a file that a source reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from forge.config import ConfigurationError, Settings, checkout, load_settings
from forge.lake import Lake
from forge.trajectories.generator.entities import elected_entities, elected_names, source_entities
from forge.trajectories.generator.options import GeneratorOptions, load_options
from forge.trajectories.generator.run import Report, folder_of, generate
from forge.trajectories.generator.tasks import TaskSet, choose, tools_of

OPTIONS_FILE = "trajectory_generator.yaml"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    base_url: Annotated[str | None, typer.Option(help="the endpoint, without /v1/chat/completions")] = None,
    model: Annotated[str | None, typer.Option(help="as the endpoint calls it")] = None,
    episodes: Annotated[int | None, typer.Option(help="how many task sets")] = None,
    name: Annotated[str | None, typer.Option(help="of the run; a run of the same name is resumed")] = None,
    seed: Annotated[int | None, typer.Option(help="another seed, other task sets")] = None,
    source: Annotated[str | None, typer.Option(help="operations of this source, read now; default: the lake")] = None,
    options_file: Annotated[
        Path | None, typer.Option("--options", help=f"default: conf/{OPTIONS_FILE}", show_default=False)
    ] = None,
    profile: Annotated[str | None, typer.Option(help="demo, local, full, cluster", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the task sets; no request is sent")] = False,
) -> None:
    """Let a model think of tasks for real operations and solve them against a mock.

    Options on the command line go before those of the file. Exits 3 when the budget stopped the run, 1 when the
    endpoint did, 2 for the configuration.
    """
    try:
        settings = load_settings(profile)
        conf = Path(os.environ.get("FORGE_CONF") or checkout() / "conf")
        given = {"base_url": base_url, "model": model, "episodes": episodes, "name": name, "seed": seed}
        options = load_options(options_file or conf / OPTIONS_FILE, given)
        task_sets = task_sets_of(settings, options, source)
        if dry_run:
            _show(task_sets)
            return
        report = generate(
            task_sets, options, os.environ.get(options.api_key_variable, "").strip(), folder_of(settings, options.name)
        )
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    _tell(report, folder_of(settings, options.name))
    if report.stopped:
        raise typer.Exit({"budget": 3, "endpoint": 1}[report.stopped])


def task_sets_of(settings: Settings, options: GeneratorOptions, source: str | None) -> list[TaskSet]:
    """The task sets of a run: from a source, else from the lake's elected rows. Raises :class:`ConfigurationError` when
    there is no operation."""
    names = elected_names(Lake.of(settings)) if source is None else source_entities(settings, source)
    chosen = list(choose(names, options.episodes, options.max_operations, options.seed))
    if not chosen:
        where = "the lake has no elected operation: run parse_apis and elect_versions, or name a --source"
        raise ConfigurationError(where if source is None else f"source {source!r} gives no operation")
    if source is not None:
        return [TaskSet(number, entities) for number, entities in enumerate(chosen)]
    keys = {entity.entity_key for entities in chosen for entity in entities}
    whole = elected_entities(Lake.of(settings), keys)
    return [
        TaskSet(number, tuple(whole[entity.entity_key] for entity in entities))
        for number, entities in enumerate(chosen)
    ]


def _show(task_sets: list[TaskSet]) -> None:
    for task_set in task_sets:
        typer.echo(f"{task_set.number}\t{task_set.api}\t{', '.join(tools_of(task_set.entities))}")


def _tell(report: Report, folder: Path) -> None:
    for line in _lines(report, folder):
        typer.echo(line)


def _lines(report: Report, folder: Path) -> Iterator[str]:
    made = f"{report.trajectories:,} trajectories of {report.task_sets:,} task sets"
    yield f"{made}, {report.successes:,} of them successes: {folder}"
    for reason, count in report.dropped.items():
        yield f"dropped {count:,}: {reason}: {report.details[reason]}"
    spent = report.spent
    yield (
        f"{report.requests:,} requests, {report.cached:,} answers from the cache in {report.seconds} s; "
        f"spent {spent.input_tokens:,} + {spent.output_tokens:,} tokens, {spent.cost:.6g} "
        f"(before this run: {report.spent_before.tokens:,} tokens, {report.spent_before.cost:.6g})"
    )
    if report.stopped:
        yield f"stopped by the {report.stopped}{': ' if report.stopped_detail else ''}{report.stopped_detail}"


if __name__ == "__main__":
    app(prog_name="python -m forge.trajectories.generator")
