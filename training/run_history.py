"""What a run's ``metrics.jsonl`` tells: steps and benchmark measurements, in the order of stages, over all tokens.

Reading it needs neither torch nor the model, and works while the run goes on: a line that is being written is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from forge.training_record import STAGES


@dataclass(frozen=True, slots=True)
class Step:
    """``tokens``: of the run up to and including this step, over all stages. Losses in nats per target token."""

    stage: str
    step: int
    tokens: int
    entry: Mapping[str, Any]

    @property
    def loss(self) -> float:
        """NaN where none was recorded."""
        return number(self.entry.get("loss"))

    @property
    def loss_by_kind(self) -> Mapping[str, float]:
        found = self.entry.get("loss_by_kind")
        return {str(kind): number(value) for kind, value in found.items()} if isinstance(found, Mapping) else {}

    @property
    def is_skipped(self) -> bool:
        return self.entry.get("skipped") is True


@dataclass(frozen=True, slots=True)
class Measurement:
    """Benchmark metrics after a step (0: before the first one of the stage). ``tokens`` as in :class:`Step`."""

    stage: str
    step: int
    tokens: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunHistory:
    """Steps and measurements of a run, each stage's in order of steps, stage after stage."""

    steps: tuple[Step, ...]
    measurements: tuple[Measurement, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that have at least one step."""
        return tuple(stage for stage in STAGES if any(step.stage == stage for step in self.steps))

    def of_stage(self, stage: str) -> list[Step]:
        return [step for step in self.steps if step.stage == stage]

    def up_to(self, stage: str) -> RunHistory:
        """Without the stages after ``stage``."""
        kept = STAGES[: STAGES.index(stage) + 1]
        return RunHistory(
            tuple(step for step in self.steps if step.stage in kept),
            tuple(measurement for measurement in self.measurements if measurement.stage in kept),
        )


def read_history(path: Path) -> RunHistory:
    """The history that ``metrics.jsonl`` holds; empty when there is no such file. Of equal steps the last line counts.

    A stage's own count of tokens begins at 0: what the stages before it ended with is added.
    """
    by_stage: dict[str, dict[int, Mapping[str, Any]]] = {}
    measured: dict[str, dict[int, Mapping[str, Any]]] = {}
    for entry in _entries(path):
        kept = measured if entry.get("event") == "benchmark" else by_stage
        if entry["stage"] in STAGES and ("event" not in entry or kept is measured):
            kept.setdefault(entry["stage"], {})[entry["step"]] = entry
    steps: list[Step] = []
    measurements: list[Measurement] = []
    before = 0
    for stage in STAGES:
        of_stage = by_stage.get(stage, {})
        for step, entry in sorted(measured.get(stage, {}).items()):
            metrics = {str(name): number(value) for name, value in dict(entry.get("metrics") or {}).items()}
            measurements.append(Measurement(stage, step, before + int(entry["tokens"]), metrics))
        steps += [Step(stage, step, before + int(entry["tokens"]), entry) for step, entry in sorted(of_stage.items())]
        before = max([before, *(step.tokens for step in steps)])
    return RunHistory(tuple(steps), tuple(measurements))


def _entries(path: Path) -> Iterator[Mapping[str, Any]]:
    """Complete lines that say which step of which stage they are about, and after how many tokens."""
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if (
            isinstance(entry, dict)
            and isinstance(entry.get("stage"), str)
            and all(isinstance(entry.get(name), int) for name in ("step", "tokens"))
        ):
            yield entry


def number(value: object) -> float:
    """A finite number as it is; anything else (JSON has no NaN: it is written as null) as NaN."""
    found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    return found if math.isfinite(found) else math.nan


def mean(values: Sequence[float]) -> float | None:
    """Of those that were measured; None when none was."""
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None
