"""A request to stop that comes when a step is done."""

from __future__ import annotations

from pathlib import Path

from training.metrics import MetricsFile
from training.process import StopRequest


class StopAt(StopRequest):
    """True once stage I of the run in ``folder`` has recorded ``step``; for step 0 from the beginning."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__()
        self._metrics, self._step = MetricsFile(folder / "metrics.jsonl"), step

    def __bool__(self) -> bool:
        return self._step == 0 or any(entry["step"] >= self._step for entry in self._metrics.steps_of("I"))
