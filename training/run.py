"""One training run: a release, the training settings and a base model, and the folder that holds what comes of them.

``runs/<run_id>/``::

    run.json                      release_id, base model, settings; per finished stage steps, tokens, losses, data plan
    metrics.jsonl                 one JSON object per step
    tensorboard/<stage>/          the same as TensorBoard events
    packed-<stage>.parquet        the stage's sequences (table `packed`), its plan in the file's metadata
    seen-<stage>.parquet          doc_id, tokens, first_step: what the stage trained on up to its newest checkpoint
    checkpoints/<stage>-<step>/   for resuming; pruned
    models/stage-<stage>/         the stage's result, a Hugging Face folder
    evaluation-<checkpoint>.json  metrics of base, I, II, III

``run_id`` is a hash of the inputs, so a finished run is found again and a changed input starts a new one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from forge.config import Settings, TrainingSettings
from forge.schema import canonical_json, content_hash
from training.base_model import BaseModel, base_model_of
from training.checkpoint import is_complete
from training.corpus_input import OpenFile, Release
from training.files import write_atomically
from training.loader import Seen

RUN_VERSION = "1"
STAGES = ("I", "II", "III")
CHECKPOINTS = ("base", *STAGES)
_WITHOUT_EFFECT = {"approval", "checkpoint_every_steps", "keep_checkpoints", "base_model"}


class StageMissing(Exception):
    """An earlier stage has to be trained first."""


class NotFinite(Exception):
    """The loss or the gradient norm is not finite; the weights were not touched by this step."""


class Stopped(Exception):
    """Stopped on request, after a checkpoint."""


@dataclass(frozen=True)
class Run:
    run_id: str
    folder: Path
    release: Release
    open_file: OpenFile
    base: BaseModel
    training: TrainingSettings

    def model_folder(self, checkpoint: str) -> Path:
        """Where the weights of ``base`` or of a stage lie."""
        return self.base.folder if checkpoint == "base" else self.folder / "models" / f"stage-{checkpoint}"

    def is_finished(self, stage: str) -> bool:
        return is_complete(self.model_folder(stage))

    def start_of(self, stage: str) -> Path:
        """The weights that a stage starts from. Raises :class:`StageMissing`."""
        before = CHECKPOINTS[CHECKPOINTS.index(stage) - 1]
        if before != "base" and not self.is_finished(before):
            raise StageMissing(f"run {self.run_id}: stage {stage} starts from stage {before}, which is not trained yet")
        return self.model_folder(before)

    def packed_path(self, stage: str) -> Path:
        return self.folder / f"packed-{stage}.parquet"

    def summary(self) -> dict[str, Any]:
        path = self.folder / "run.json"
        if path.is_file():
            found: dict[str, Any] = orjson.loads(path.read_bytes())
            return found
        return {
            "run_id": self.run_id,
            "release_id": self.release.release_id,
            "base_model": {"sha": self.base.sha, "origin": self.base.origin},
            "training": self.training.model_dump(mode="json"),
            "stages": {},
        }

    def record_stage(self, stage: str, facts: Mapping[str, Any]) -> None:
        summary = self.summary()
        summary["stages"][stage] = dict(facts)
        write_atomically(
            self.folder / "run.json", orjson.dumps(summary, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
        )

    def write_seen(self, stage: str, seen: Mapping[str, Seen]) -> None:
        """Replace ``seen-<stage>.parquet``; rows sorted by doc_id."""
        rows = sorted(seen.items())
        table = pa.table(
            {
                "doc_id": pa.array([doc_id for doc_id, _ in rows], pa.string()),
                "tokens": pa.array([entry.tokens for _, entry in rows], pa.int64()),
                "first_step": pa.array([entry.first_step for _, entry in rows], pa.int64()),
            }
        )
        path = self.folder / f"seen-{stage}.parquet"
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(table, aside, compression="zstd")
        aside.replace(path)


def open_run(settings: Settings, release: Release, open_file: OpenFile) -> Run:
    """The run of a release under the settings; makes its folder, converts the base model on first use."""
    base = base_model_of(settings)
    training = settings.training
    run_id = content_hash(
        RUN_VERSION,
        release.release_id,
        base.sha,
        canonical_json(training.model_dump(mode="json", exclude=_WITHOUT_EFFECT)),
    )[:16]
    folder = settings.home_path / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    return Run(run_id, folder, release, open_file, base, training)
