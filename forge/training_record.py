"""What training runs left behind, read without importing anything of training: ``runs/<run_id>/`` and `evaluations`.

The layout is described in ``training/run.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from forge.lake import Lake

STAGES = ("I", "II", "III")


def training_runs(runs: Path, release_id: str) -> list[dict[str, Any]]:
    """Runs on a release, by id: ``{"run_id", "base_model", "stages": {stage: {"steps", "tokens", "first_loss",
    "last_loss", "finished", "curve": [{"step", "loss"}]}}}``. A stage that is still running shows how far it is."""
    found = []
    for path in sorted(runs.glob("*/run.json")):
        summary = _json(path)
        if summary.get("release_id") != release_id:
            continue
        stages: dict[str, Any] = {}
        curves = _curves(path.parent / "metrics.jsonl")
        for stage in STAGES:
            recorded, curve = summary.get("stages", {}).get(stage), curves.get(stage, [])
            if recorded is None and not curve:
                continue
            recorded = recorded or {}
            stages[stage] = {
                "steps": recorded.get("steps", len(curve)),
                "tokens": recorded.get("tokens"),
                "first_loss": recorded.get("first_loss", curve[0]["loss"] if curve else None),
                "last_loss": recorded.get("last_loss", curve[-1]["loss"] if curve else None),
                "finished": bool(recorded),
                "curve": curve,
            }
        found.append({"run_id": path.parent.name, "base_model": summary.get("base_model"), "stages": stages})
    return found


def evaluations_of(lake: Lake, release_id: str) -> list[dict[str, Any]]:
    """Rows of `evaluations` for a release, by run, benchmark, metric and checkpoint."""
    columns = ["run_id", "release_id", "checkpoint", "stage", "benchmark", "metric", "value", "items", "created_at"]
    rows: list[dict[str, Any]] = [
        row for row in lake.read("evaluations", columns).to_pylist() if row["release_id"] == release_id
    ]
    return sorted(
        rows, key=lambda row: tuple(str(row[name]) for name in ("run_id", "benchmark", "metric", "checkpoint"))
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def _curves(path: Path) -> dict[str, list[dict[str, Any]]]:
    """step and loss of every complete line of ``metrics.jsonl``, by stage."""
    curves: dict[str, list[dict[str, Any]]] = {}
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in lines:
        try:
            entry = orjson.loads(line)
            point = {"step": int(entry["step"]), "loss": float(entry["loss"])}
            curves.setdefault(str(entry["stage"]), []).append(point)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue  # the line that a run is writing at this moment
    return curves
