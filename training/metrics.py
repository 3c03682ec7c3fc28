"""The record of a run: a JSON line per step or event, progress lines on stdout."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from training.files import write_atomically

_SAY_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class MetricsFile:
    """``metrics.jsonl`` of a run: each step of each stage at most once, in order; events (``"event"``) between them."""

    path: Path

    def rewind(self, stage: str, step: int) -> None:
        """Forget the lines of a stage after ``step``, all of them for step 0, and a last line that a crash cut off."""
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_bytes().splitlines():
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if entry["stage"] != stage or (entry["step"] <= step and step > 0):
                kept.append(line + b"\n")
        write_atomically(self.path, b"".join(kept))

    def append(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("ab") as sink:
            sink.write(orjson.dumps(dict(entry)) + b"\n")

    def of(self, stage: str) -> list[dict[str, Any]]:
        """Steps and events of a stage."""
        if not self.path.is_file():
            return []
        entries = [orjson.loads(line) for line in self.path.read_bytes().splitlines() if line.endswith(b"}")]
        return [entry for entry in entries if entry["stage"] == stage]

    def steps_of(self, stage: str) -> list[dict[str, Any]]:
        return [entry for entry in self.of(stage) if "event" not in entry]

    def adopt(self, stage: str, other: MetricsFile) -> None:
        """Take a stage's lines from another machine's file when they go further than those here."""
        theirs = other.of(stage)
        if len(theirs) > len(self.of(stage)):
            self.rewind(stage, 0)
            for entry in theirs:
                self.append(entry)


class Progress:
    """Says the first and the last step, and between them one about every five seconds."""

    def __init__(self, say: Callable[[str], None], steps: int) -> None:
        self._say, self._steps = say, steps
        self._said: float | None = None

    def step(self, entry: Mapping[str, Any]) -> None:
        now = time.monotonic()
        is_due = self._said is None or now - self._said >= _SAY_EVERY_SECONDS
        if is_due or entry["skipped"] or entry["step"] == self._steps:
            self._said = now
            self._say(self._line(entry))

    def _line(self, entry: Mapping[str, Any]) -> str:
        by_kind = " ".join(f"{kind} {loss:.3f}" for kind, loss in entry["loss_by_kind"].items())
        left_seconds = (self._steps - entry["step"]) * entry["seconds"]
        mfu = "" if entry["mfu"] is None else f" MFU {entry['mfu']:.1%}"
        return (
            f"stage {entry['stage']} step {entry['step']}/{self._steps} loss {entry['loss']:.4f} ({by_kind}) "
            f"learning rate {entry['learning_rate']:.2e} gradient norm {entry['gradient_norm']:.2f} "
            f"{entry['tokens_per_second']:,.0f} tokens/s{mfu} data wait {entry['data_wait_share']:.1%} "
            f"left {left_seconds / 60:.0f} min" + (" SKIPPED: a spike" if entry["skipped"] else "")
        )


def memory_gb() -> float:
    """The most that this process held: of GPU memory where there is a GPU, else of main memory."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 1e9)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)
