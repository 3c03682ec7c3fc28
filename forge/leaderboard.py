"""Checkpoints of all releases beside each other, by one metric, from table `evaluations`.

Only what was measured alike is compared: a *board* holds the rows that agree in benchmark, category, metric, task key
(the items and how they are judged) and prompt hash. Another sample or another prompt makes another board.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from forge.lake import Lake

ALL = "all"
"""Category of a figure over every item of a benchmark."""
DEFAULT_METRIC = "bfcl_loss/nats_per_token"
"""The primary metric: the loss of right function calls moves long before accuracy does."""
_LOWER_IS_BETTER = ("nats_per_token", "bits_per_byte", "steps")
_COLUMNS = (
    "run_id", "release_id", "checkpoint", "benchmark", "category", "metric", "value", "low", "high", "items",
    "leaves_out", "prompt_hash", "detail", "created_at",
)  # fmt: skip


class UnknownMetric(Exception):
    """Nothing was evaluated by the metric that was asked for; the message lists what there is."""


@dataclass(frozen=True, slots=True)
class Place:
    """One checkpoint on a board. ``rank`` counts from 1, equal values share one. ``is_apart``: its confidence interval
    does not reach that of the first; None where either has none."""

    rank: int
    release_id: str
    run_id: str
    checkpoint: str
    value: float
    low: float | None
    high: float | None
    items: int
    is_apart: bool | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Board:
    """Places, the best first. ``leaves_out``: terms of the published formula that the values lack."""

    benchmark: str
    category: str
    metric: str
    task_key: str
    prompt_hash: str
    leaves_out: str
    places: Sequence[Place]

    @property
    def name(self) -> str:
        return metric_name(self.benchmark, self.category, self.metric)

    @property
    def is_lower_better(self) -> bool:
        return self.metric.endswith(_LOWER_IS_BETTER)


def metric_name(benchmark: str, category: str, metric: str) -> str:
    """``BENCHMARK/METRIC``, or ``BENCHMARK/CATEGORY/METRIC``."""
    return f"{benchmark}/{metric}" if category == ALL else f"{benchmark}/{category}/{metric}"


def boards(lake: Lake, metric: str = DEFAULT_METRIC, release: str | None = None) -> list[Board]:
    """The boards of a metric (:func:`metric_name`), the longest first. ``release``: an id or its beginning; None: all.

    Raises :class:`UnknownMetric`. Rows without a task key (written before there were any) are on no board.
    """
    rows = [row for row in _rows(lake) if release is None or str(row["release_id"]).startswith(release)]
    names = sorted({row["name"] for row in rows})
    if metric not in names:
        known = ", ".join(name for name in names if name.count("/") == 1) or "none"
        raise UnknownMetric(
            f"nothing was evaluated by {metric!r}{f' for release {release}' if release else ''}; metrics over whole "
            f"benchmarks: {known}; one category: BENCHMARK/CATEGORY/METRIC"
        )
    alike: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["name"] == metric:
            alike.setdefault((row["task_key"], str(row["prompt_hash"])), []).append(row)
    found = [_board(task_key, prompt_hash, members) for (task_key, prompt_hash), members in alike.items()]
    return sorted(found, key=lambda board: (-len(board.places), board.task_key, board.prompt_hash))


def _rows(lake: Lake) -> Iterator[dict[str, Any]]:
    for row in lake.read("evaluations", list(_COLUMNS)).to_pylist():
        task_key = _task_key(row["detail"])
        value = row["value"]
        if task_key and value is not None and math.isfinite(value):
            name = metric_name(str(row["benchmark"]), str(row["category"] or ALL), str(row["metric"]))
            yield row | {"task_key": task_key, "name": name}


def _task_key(detail: str | None) -> str:
    try:
        found = orjson.loads(detail or "{}")
    except orjson.JSONDecodeError:
        return ""
    return str(found.get("task_key") or "") if isinstance(found, dict) else ""


def _board(task_key: str, prompt_hash: str, rows: Sequence[Mapping[str, Any]]) -> Board:
    first = rows[0]
    sign = 1 if str(first["metric"]).endswith(_LOWER_IS_BETTER) else -1
    ordered = sorted(
        rows,
        key=lambda row: (sign * row["value"], *(str(row[name]) for name in ("release_id", "run_id", "checkpoint"))),
    )
    values = [row["value"] for row in ordered]
    places = [
        Place(
            1 + values.index(row["value"]), str(row["release_id"]), str(row["run_id"]), str(row["checkpoint"]),
            row["value"], row["low"], row["high"], int(row["items"]), _is_apart(ordered[0], row),
            str(row["created_at"]),
        )
        for row in ordered
    ]  # fmt: skip
    return Board(
        str(first["benchmark"]), str(first["category"] or ALL), str(first["metric"]), task_key, prompt_hash,
        str(first["leaves_out"] or ""), places,
    )  # fmt: skip


def _is_apart(first: Mapping[str, Any], row: Mapping[str, Any]) -> bool | None:
    bounds = [first["low"], first["high"], row["low"], row["high"]]
    if any(bound is None for bound in bounds):
        return None
    return bool(row["low"] > first["high"] or row["high"] < first["low"])


def table_rows(board: Board) -> Iterator[tuple[str, ...]]:
    """Cells of a board: rank, release, run, checkpoint, value, interval, items, whether apart from the first."""
    for place in board.places:
        interval = "-" if place.low is None or place.high is None else f"[{place.low:.4f}, {place.high:.4f}]"
        apart = {True: "yes", False: "no", None: "-"}[place.is_apart] if place.rank > 1 else ""
        yield (
            str(place.rank), place.release_id[:12] or "-", place.run_id or "-", place.checkpoint, f"{place.value:.4f}",
            interval, f"{place.items:,}", apart,
        )  # fmt: skip


TABLE_COLUMNS = ("rank", "release", "run", "checkpoint", "value", "interval", "items", "apart from the first")


def markdown(found: Iterable[Board]) -> str:
    """The boards as Markdown tables."""
    lines: list[str] = []
    for board in found:
        lines += [
            f"## {_cell(title_of(board))}",
            "",
            f"| {' | '.join(TABLE_COLUMNS)} |",
            "|---:|---|---|---|---:|---|---:|---|",
            *(f"| {' | '.join(map(_cell, cells))} |" for cells in table_rows(board)),
            "",
        ]
    return "\n".join(lines)


def title_of(board: Board) -> str:
    """What a board compares, and under which task key and prompt hash."""
    order = "lower is better" if board.is_lower_better else "higher is better"
    lacks = f", without {board.leaves_out}" if board.leaves_out else ""
    return f"{board.name} ({order}{lacks}); task key {board.task_key[:12]}, prompt hash {board.prompt_hash[:12]}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
