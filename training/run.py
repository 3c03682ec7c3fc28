"""One training run: a release, the training settings and a base model, and the folder that holds what comes of them.

``runs/<run_id>/``::

    run.json                      release_id, base model, settings; per finished stage steps, tokens, losses, data plan
    metrics.jsonl                 one JSON object per step
    tensorboard/<stage>/          the same as TensorBoard events
    survey.npz                    how many documents and tokens of each kind the release's files hold
    packed-<stage>/               the stage's sequences (table `packed`) in shards, and plan.json
    seen-<stage>.parquet          doc_id, tokens, first_step: what the stage trained on up to its newest checkpoint
    checkpoints/<stage>-<step>/   for resuming; pruned
    models/stage-<stage>/         the stage's result, a Hugging Face folder
    bad-batch-<stage>-<step>.json the documents of a batch whose loss was not finite
    heartbeat.json                when which micro-batch was done
    evaluation-<checkpoint>.json  metrics of base, I, II, III

``run_id`` is a hash of the inputs, so a finished run is found again and a changed input starts a new one.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from forge.config import Settings, TrainingSettings
from forge.schema import canonical_json, content_hash
from training.base_model import BaseModel, base_model_of
from training.chat import RENDERING_VERSION
from training.checkpoint import is_complete
from training.checkpoint_store import CheckpointStore
from training.corpus_input import CorpusText, Release
from training.files import write_atomically
from training.loader import LOADER_VERSION
from training.metrics import MetricsFile
from training.shard import OpenFile
from training.shard_cache import ShardCache
from training.stage_data import PACKING_VERSION
from training.stage_record import FACTS, METRICS, SEEN

RUN_VERSION = "2"
STAGES = ("I", "II", "III")
CHECKPOINTS = ("base", *STAGES)
_WHAT_IS_TRAINED = {"seed", "max_document_tokens", "weight_decay", "max_gradient_norm", "precision", "stages"}
"""Settings that make another run. The others say where and how it is computed, or what an operator allows (spikes): a
run goes on under changed ones."""


class StageMissing(Exception):
    """An earlier stage has to be trained first."""


class NotFinite(Exception):
    """The loss or the gradient norm is not finite; the weights were not touched by this step."""


class Stopped(Exception):
    """Stopped on request, after a checkpoint."""


class RunInUse(Exception):
    """Another process trains this run at this moment."""


@dataclass(frozen=True)
class Run:
    run_id: str
    folder: Path
    release: Release
    base: BaseModel
    settings: Settings
    open_file: OpenFile
    local_root: Path | None
    """The folder of table ``corpus`` when the lake lies on this machine: its shards are read in place."""

    @property
    def training(self) -> TrainingSettings:
        return self.settings.training

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

    def packed_folder(self, stage: str) -> Path:
        return self.folder / f"packed-{stage}"

    def shard_cache(self) -> ShardCache:
        """Where this machine keeps copies of the release's shards; ranks and runs share it."""
        return ShardCache(
            self.settings.home_path / "shard_cache",
            self.open_file,
            max_bytes=self.training.shard_cache_bytes,
            prefetch=self.training.prefetch_shards,
            local_root=self.local_root,
        )

    def checkpoint_store(self) -> CheckpointStore | None:
        """Where copies of checkpoints go, below ``<run_id>/``; None where the settings name no place."""
        lake, place = self.settings.lake, self.training.checkpoint_store
        if place is None:
            return None
        return CheckpointStore(f"{place.rstrip('/')}/{self.run_id}", endpoint=lake.s3_endpoint, region=lake.s3_region)

    def held_out_documents(self) -> Mapping[str, list[CorpusText]]:
        """Held-out documents of each kind, as many as the evaluation's settings say."""
        from training.evaluation.held_out import held_out_documents  # late: torch

        chosen, cache = self.settings.evaluation, self.shard_cache()
        try:
            return held_out_documents(
                self.release, self.open_file, cache, chosen.held_out_documents_per_kind, chosen.seed
            )
        finally:
            cache.close()

    def adopt(self, stage: str) -> None:
        """Take up what a model that was trained on another machine says of its stage."""
        folder = self.model_folder(stage)
        self.record_stage(stage, orjson.loads((folder / FACTS).read_bytes()))
        MetricsFile(self.folder / "metrics.jsonl").adopt(stage, MetricsFile(folder / METRICS))
        shutil.copyfile(folder / SEEN, self.seen_path(stage))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else trains this run meanwhile; the lock ends with the process. Raises :class:`RunInUse`."""
        with (self.folder / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunInUse(f"run {self.run_id}: another process trains it at this moment") from None
            yield

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

    def seen_path(self, stage: str) -> Path:
        return self.folder / f"seen-{stage}.parquet"

    def write_seen(self, stage: str, seen: pa.Table, step: int) -> None:
        """Replace ``seen-<stage>.parquet``: what the stage saw up to ``step``, which its metadata names."""
        path = self.seen_path(stage)
        aside = path.with_name(f".{path.name}.aside")
        pq.write_table(seen.replace_schema_metadata({"step": str(step)}), aside, compression="zstd")
        aside.replace(path)


def open_run(settings: Settings, release: Release, open_file: OpenFile, local_root: Path | None = None) -> Run:
    """The run of a release under the settings; makes its folder, converts the base model on first use."""
    base = base_model_of(settings)
    run_id = content_hash(
        RUN_VERSION,
        PACKING_VERSION,
        LOADER_VERSION,
        RENDERING_VERSION,
        release.release_id,
        base.sha,
        canonical_json(settings.training.model_dump(mode="json", include=_WHAT_IS_TRAINED)),
    )[:16]
    folder = settings.home_path / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    return Run(run_id, folder, release, base, settings, open_file, local_root)
