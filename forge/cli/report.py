"""``forge report``: what a release holds, what was dropped and why, and what training made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forge.cli.output import figure, lake_of, print_table, say, settings_of, write_json

if TYPE_CHECKING:
    from forge.release import Release

_CURVE_POINTS = 8
_CHECKPOINTS = ("base", "I", "II", "III")
_METRICS = ("accuracy", "success", "decodable", "nats_per_token", "bits_per_byte")
_VERDICTS = {True: "passed", False: "FAILED", None: "not evaluated"}


def report(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for programs")] = False,
    release: Annotated[str | None, typer.Option(help="id or its beginning; default: the current release")] = None,
) -> None:
    """What a release holds, what was dropped and why, its gates, its training and evaluation."""
    from forge.release import release_of
    from forge.training_record import evaluations_of, training_runs

    lake = lake_of(context)
    found = release_of(lake, release)
    runs = training_runs(settings_of(context).home_path / "runs", found.release_id)
    figures = {**report_of(found), "training": runs, "evaluations": evaluations_of(lake, found.release_id)}
    if as_json:
        write_json(figures)
    else:
        _print(found, figures)


def report_of(release: Release) -> dict[str, Any]:
    """The object of ``forge report --json`` (DESIGN section 7) but for training and evaluations."""
    return {
        **release.report,
        "release": release.release_id,
        "parent": release.parent,
        "created_at": release.created_at,
        "night": release.partition_key,
        "gates": [dict(gate) for gate in release.gates],
        "recipe": dict(release.recipe),
        "tables": dict(release.versions),
    }


def _print(release: Release, figures: Mapping[str, Any]) -> None:
    say(f"Release {release.release_id}  night {release.partition_key}  published {release.created_at}")
    say(
        f"APIs: {figures.get('entities', 0):,} distinct, {figures.get('entities_in_corpus', 0):,} of them in the corpus"
    )
    _print_corpus(figures)
    _print_sources(figures)
    _print_funnel(figures.get("funnel", ()))
    columns = ("gate", "value", "limit", "verdict", "detail")
    gates = [
        (gate["name"], gate["value"], gate["limit"], _VERDICTS[gate["passed"]], gate.get("detail") or "")
        for gate in figures["gates"]
    ]
    print_table("Gates", columns, gates, ("value",))
    for run in figures["training"]:
        _print_training(run)
    _print_evaluations(figures["evaluations"])


def _print_corpus(figures: Mapping[str, Any]) -> None:
    documents, tokens = figures.get("documents", {}), figures.get("tokens", {})
    held_out = figures.get("held_out_documents", {})
    rows = [(kind, count, tokens.get(kind, 0), held_out.get(kind, 0)) for kind, count in documents.items()]
    rows.append(("all", sum(documents.values()), sum(tokens.values()), sum(held_out.values())))
    columns = ("kind", "documents", "tokens", "held out")
    print_table("Corpus", columns, rows, columns[1:])
    recipe = figures["recipe"]
    if not recipe.get("scarce_domain"):
        return
    epochs = recipe.get("epochs_at_full_corpus", {})
    columns = ("domain", "share wanted", "tokens in stage I", "epochs at full corpus")
    mix = [
        (domain, f"{share:.0%}", recipe.get("domain_tokens", {}).get(domain, 0), epochs.get(domain))
        for domain, share in recipe.get("domain_shares", {}).items()
    ]
    print_table("Mix", columns, mix, columns[1:])
    short = ", ".join(recipe.get("short", ())) or "none"
    say(
        f"Scarce: {recipe['scarce_domain']}. {recipe.get('one_pass_tokens', 0):,} tokens can be drawn at these shares "
        f"without repeating a document. Domains too short for a budget as large as the corpus: {short}."
    )
    say()


def _print_sources(figures: Mapping[str, Any]) -> None:
    trajectories = figures.get("trajectory_sources", {})
    names = ("items", "rejected", "documents", "tokens")
    rows = [
        (name, *(found.get(column, 0) for column in names), trajectories.get(name, ""))
        for name, found in figures.get("sources", {}).items()
    ]
    columns = ("source", "rows read", "rejected", "documents", "tokens", "trajectories")
    print_table("Sources", columns, rows, columns[1:])


def _print_funnel(funnel: Sequence[Mapping[str, Any]]) -> None:
    rows: list[tuple[Any, ...]] = []
    for step in funnel:
        total = step["input"]
        if not total:
            continue
        rows.append((step["step"], total, step["kept"], f"{step['kept'] / total:.1%}", "kept"))
        ordered = sorted(step["dropped"].items(), key=lambda entry: (-entry[1], entry[0]))
        rows.extend(("", "", count, f"{count / total:.1%}", reason) for reason, count in ordered)
        unexplained = total - step["kept"] - sum(step["dropped"].values())
        if unexplained:
            rows.append(("", "", unexplained, f"{unexplained / total:.1%}", "UNEXPLAINED"))
    columns = ("step", "input", "count", "share", "what became of it")
    print_table("Funnel", columns, rows, ("input", "count", "share"))


def _print_training(run: Mapping[str, Any]) -> None:
    rows = []
    for stage, found in run["stages"].items():
        curve = "  ".join(f"{point['step']}: {point['loss']:.3f}" for point in _thinned(found["curve"]))
        ends = (found["first_loss"], found["last_loss"])
        rows.append((stage, found["steps"], found["tokens"], found["tokens_per_second"], *ends, curve))
    columns = ("stage", "steps", "tokens", "tokens/s", "first loss", "last loss", "step: loss")
    print_table(f"Training run {run['run_id']}", columns, rows, columns[1:6])
    by_kind = [
        (stage, kind, found["first_loss_by_kind"].get(kind), loss)
        for stage, found in run["stages"].items()
        for kind, loss in sorted(found["last_loss_by_kind"].items())
    ]
    ends_by_kind = ("stage", "kind", "first loss", "last loss")
    print_table("Loss by kind, nats per token", ends_by_kind, by_kind, ends_by_kind[2:])
    measured = [
        (stage, name, len(found["benchmark"]), found["benchmark"][0]["metrics"].get(name), loss)
        for stage, found in run["stages"].items()
        if found["benchmark"]
        for name, loss in sorted(found["benchmark"][-1]["metrics"].items())
    ]
    benchmark = ("stage", "benchmark", "measured", "first", "last")
    print_table("Benchmark loss during training, nats per token", benchmark, measured, benchmark[2:])


def _thinned(curve: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most `_CURVE_POINTS` points, first and last included."""
    if len(curve) <= _CURVE_POINTS:
        return list(curve)
    last = len(curve) - 1
    return [curve[round(index * last / (_CURVE_POINTS - 1))] for index in range(_CURVE_POINTS)]


def _print_evaluations(rows: Sequence[Mapping[str, Any]]) -> None:
    """One table a run: a metric of a benchmark in each row, before (base) and after each stage, with its interval."""
    for run_id in sorted({row["run_id"] for row in rows}):
        values: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
        for row in rows:
            if row["run_id"] == run_id and _is_headline(row):
                values.setdefault((row["benchmark"], row["metric"]), {})[row["checkpoint"]] = row
        present = [name for name in _CHECKPOINTS if any(name in found for found in values.values())]
        present += sorted({name for found in values.values() for name in found} - set(present))
        lines = [
            (
                benchmark,
                metric,
                next(iter(found.values()))["items"],
                *(_with_interval(found[name]) if name in found else "" for name in present),
            )
            for (benchmark, metric), found in sorted(values.items())
        ]
        columns = (
            "benchmark",
            "metric",
            "items",
            *("before (base)" if name == "base" else f"after {name}" for name in present),
        )
        print_table(f"Evaluation of run {run_id}", columns, lines, columns[2:])
    hidden = sum(1 for row in rows if not _is_headline(row))
    if hidden:
        say(f"{hidden} further figures (by category, overall scores, other metrics): forge report --json")


def _is_headline(row: Mapping[str, Any]) -> bool:
    """What is shown to people: the usual metrics over whole benchmarks. An overall score is shown only with the
    categories that it is made of, so not here."""
    return row["metric"] in _METRICS and row["category"] in ("all", None)


def _with_interval(row: Mapping[str, Any]) -> str:
    if row["low"] is None or row["high"] is None:
        return figure(row["value"])
    return f"{figure(row['value'])} [{figure(row['low'])}, {figure(row['high'])}]"
