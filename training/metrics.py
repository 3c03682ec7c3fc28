"""The record of a run: a JSON line per step, progress lines on stdout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from training.files import write_atomically


@dataclass(frozen=True)
class MetricsFile:
    """``metrics.jsonl`` of a run: each step of each stage at most once, in order."""

    path: Path

    def rewind(self, stage: str, step: int) -> None:
        """Forget the lines of a stage after ``step``, and a last line that a crash cut off."""
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_bytes().splitlines():
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if entry["stage"] != stage or entry["step"] <= step:
                kept.append(line + b"\n")
        write_atomically(self.path, b"".join(kept))

    def append(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("ab") as sink:
            sink.write(orjson.dumps(dict(entry)) + b"\n")

    def of_stage(self, stage: str) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        entries = [orjson.loads(line) for line in self.path.read_bytes().splitlines() if line.endswith(b"}")]
        return [entry for entry in entries if entry["stage"] == stage]


def progress_line(entry: Mapping[str, Any], steps: int) -> str:
    by_domain = " ".join(f"{domain} {loss:.3f}" for domain, loss in entry["loss_by_domain"].items())
    return (
        f"stage {entry['stage']} step {entry['step']}/{steps} loss {entry['loss']:.4f} ({by_domain}) "
        f"learning rate {entry['learning_rate']:.2e} gradient norm {entry['gradient_norm']:.2f} "
        f"{entry['tokens_per_second']:.0f} tokens/s"
    )
