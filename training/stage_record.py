"""What is kept of a stage beside its weights, so that another machine knows it too.

Checkpoints hold the stage's lines of the metrics file; models also ``stage.json``, what the run's summary keeps of the
stage, and what it saw.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from training.environment import code_version, hardware

METRICS = "forge/metrics.jsonl"
FACTS = "forge/stage.json"
SEEN = "forge/seen.parquet"
_ONLY_TO_GO_ON = ("spikes",)


def write_record(
    folder: Path, metrics: Sequence[Mapping[str, Any]], facts: Mapping[str, Any] | None = None, seen: Path | None = None
) -> None:
    """Put the record of a stage beside its weights."""
    path = folder / METRICS
    path.parent.mkdir()
    path.write_bytes(b"".join(orjson.dumps(dict(entry)) + b"\n" for entry in metrics))
    if facts is not None:
        (folder / FACTS).write_bytes(orjson.dumps(dict(facts), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
    if seen is not None:
        shutil.copyfile(seen, folder / SEEN)


def stage_facts(
    state: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], peak_tflops: float | None, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """``state``: what the stage's model states of itself; ``steps``: lines of the metrics file, first to last.

    Rates and shares are means over time; ``first_loss_by_kind`` and ``last_loss_by_kind`` are the losses of the first
    and last step that held the kind.
    """
    seconds = sum(step["seconds"] for step in steps)
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for step in steps:
        for kind, loss in step["loss_by_kind"].items():
            first.setdefault(kind, loss)
            last[kind] = loss
    has_mfu = all(step["mfu"] is not None for step in steps)
    return {name: value for name, value in state.items() if name not in _ONLY_TO_GO_ON} | {
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
        "first_loss_by_kind": first,
        "last_loss_by_kind": last,
        "skipped_steps": steps[-1]["skipped_steps"],
        "seconds": seconds,
        "tokens_per_second": state["tokens"] / seconds,
        "mfu": sum(step["mfu"] * step["seconds"] for step in steps) / seconds if has_mfu else None,
        "peak_tflops": peak_tflops,
        "data_wait_share": sum(step["data_wait_share"] * step["seconds"] for step in steps) / seconds,
        "memory_gb": max(step["memory_gb"] for step in steps),
        "hardware": hardware(),
        "code": code_version(),
        "data": dict(plan),
    }
