"""What training runs left behind, read without importing anything of training: ``runs/<run_id>/`` and `evaluations`.

The layout is described in ``training/run.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from forge.lake import Lake

STAGES = ("I", "II", "III")


def run_summary(folder: Path) -> dict[str, Any]:
    """``run.json`` of a run's folder; empty where there is none that can be read."""
    try:
        value = orjson.loads((folder / "run.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def training_runs(runs: Path, release_id: str) -> list[dict[str, Any]]:
    """Runs on a release, by id: ``{"run_id", "base_model", "stages": {stage: {"steps", "tokens", "first_loss",
    "last_loss", "first_loss_by_kind", "last_loss_by_kind", "tokens_per_second", "mfu", "skipped_steps", "finished",
    "curve": [{"step", "loss"}], "benchmark": [{"step", "tokens", "metrics"}]}}}``, losses in nats per target token.
    A stage that is still running shows how far it is."""
    found = []
    for path in sorted(runs.glob("*/run.json")):
        summary = run_summary(path.parent)
        if summary.get("release_id") != release_id:
            continue
        stages: dict[str, Any] = {}
        entries = _entries(path.parent / "metrics.jsonl")
        for stage in STAGES:
            recorded = (summary.get("stages") or {}).get(stage)
            steps = [entry for entry in entries if entry["stage"] == stage and "event" not in entry]
            if recorded is None and not steps:
                continue
            stages[stage] = _stage(recorded or {}, steps) | {
                "finished": bool(recorded),
                "benchmark": [
                    {"step": entry["step"], "tokens": entry.get("tokens"), "metrics": entry.get("metrics") or {}}
                    for entry in entries
                    if entry["stage"] == stage and entry.get("event") == "benchmark"
                ],
            }
        found.append({"run_id": path.parent.name, "base_model": summary.get("base_model"), "stages": stages})
    return found


def _stage(recorded: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the run's summary says, else what its steps say so far."""
    curve = [{"step": entry["step"], "loss": entry["loss"]} for entry in steps]
    by_kind = [(kind, loss) for entry in steps for kind, loss in (entry.get("loss_by_kind") or {}).items()]
    return {
        "steps": recorded.get("steps", len(curve)),
        "tokens": recorded.get("tokens", steps[-1].get("tokens") if steps else None),
        "first_loss": recorded.get("first_loss", curve[0]["loss"] if curve else None),
        "last_loss": recorded.get("last_loss", curve[-1]["loss"] if curve else None),
        "first_loss_by_kind": dict(reversed(by_kind)),
        "last_loss_by_kind": dict(by_kind),
        "tokens_per_second": recorded.get("tokens_per_second"),
        "mfu": recorded.get("mfu"),
        "skipped_steps": recorded.get("skipped_steps", steps[-1].get("skipped_steps") if steps else None),
        "curve": curve,
    }


def evaluations_of(lake: Lake, release_id: str) -> list[dict[str, Any]]:
    """Rows of `evaluations` for a release, by run, benchmark, category, metric and checkpoint."""
    columns = [
        "run_id", "release_id", "checkpoint", "stage", "benchmark", "category", "metric", "value", "low", "high",
        "items", "leaves_out", "created_at",
    ]  # fmt: skip
    rows: list[dict[str, Any]] = [
        row for row in lake.read("evaluations", columns).to_pylist() if row["release_id"] == release_id
    ]
    return sorted(
        rows,
        key=lambda row: tuple(str(row[name]) for name in ("run_id", "benchmark", "category", "metric", "checkpoint")),
    )


def _entries(path: Path) -> list[dict[str, Any]]:
    """Complete lines of ``metrics.jsonl``: steps with a loss, and events."""
    found = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entry = orjson.loads(line)
            has_place = isinstance(entry["step"], int) and isinstance(entry["stage"], str)
            if has_place and ("event" in entry or isinstance(entry["loss"], float)):
                found.append(entry)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue  # the line that a run is writing at this moment
    return found
