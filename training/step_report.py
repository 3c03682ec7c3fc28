"""What is said of each step: the metrics file, the trackers, a line now and then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import TensorBoardTracker

from training.metrics import MetricsFile, Progress

TENSORBOARD = "tensorboard"


def other_trackers(trackers: tuple[str, ...]) -> list[str]:
    """Those that accelerate opens by name; TensorBoard gets a folder of its own for every stage."""
    return [name for name in trackers if name != TENSORBOARD]


class StepReport:
    """On the first rank; the others report nothing."""

    def __init__(
        self, folder: Path, stage: str, steps: int, accelerator: Accelerator, say: Callable[[str], None]
    ) -> None:
        self.metrics = MetricsFile(folder / "metrics.jsonl")
        self._folder, self._stage, self._accelerator = folder, stage, accelerator
        self._progress = Progress(say, steps)

    def open_trackers(self, run_id: str, trackers: tuple[str, ...], first_step: int) -> None:
        if TENSORBOARD in trackers:
            # A folder per stage: purging what a resumed stage logs again must not touch the other stages
            name = f"{TENSORBOARD}/{self._stage}"
            self._accelerator.log_with.append(TensorBoardTracker(name, self._folder, purge_step=first_step))
        self._accelerator.init_trackers(run_id)

    def step(self, entry: Mapping[str, Any]) -> None:
        self.metrics.append(entry)
        self._progress.step(entry)
        scalars = {
            name: value
            for name, value in entry.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name != "step"
        }
        by_kind = {f"loss_{kind}": value for kind, value in entry["loss_by_kind"].items()}
        self._accelerator.log(scalars | by_kind, step=entry["step"])

    def benchmark(self, step: int, tokens: int, measured: Mapping[str, float]) -> None:
        """Losses that were measured after ``step``."""
        entry = {"event": "benchmark", "step": step, "stage": self._stage, "tokens": tokens, "metrics": dict(measured)}
        self.metrics.append(entry)
        self._accelerator.log({f"benchmark/{name}": value for name, value in measured.items()}, step=step)
