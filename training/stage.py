"""The training of one stage: the same for stages I, II and III, for one CPU and for many GPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from training.checkpoint import newest_checkpoint
from training.checkpoint_store import CheckpointStore
from training.heartbeat import Heartbeat
from training.process import StopRequest
from training.run import CHECKPOINTS, Run
from training.run_card import write_run_card
from training.trainer import DRAIN_SECONDS, Trainer


@dataclass(frozen=True, slots=True)
class StageResult:
    """``ran_steps`` is 0 when the stage had been finished before."""

    stage: str
    ran_steps: int
    model_folder: Path


def train_stage(
    run: Run,
    stage: str,
    *,
    stop: StopRequest,
    say: Callable[[str], None] = print,
    cpu: bool = False,
    heartbeat: Heartbeat | None = None,
) -> StageResult:
    """Train a stage to its end, from its newest checkpoint if there is one. A finished stage returns at once.

    Every rank calls this. Raises :class:`Stopped`, :class:`NotFinite`, :class:`training.run.RunInUse`,
    :class:`training.run.StageMissing`, :class:`training.spikes.TooManySpikes`,
    :class:`training.checkpoint.CheckpointNotWritten`, :class:`training.stage_data.NoTrainingData`,
    :class:`training.shard_cache.ShardError`, :class:`training.attention.AttentionError`,
    :class:`training.model_loss.LossError`, :class:`training.checkpoint_store.StoreError`.
    """
    accelerator = Accelerator(
        cpu=cpu or not torch.cuda.is_available(),  # else accelerate sees no ranks of torchrun on a machine without GPU
        mixed_precision="bf16" if run.training.precision == "bf16" else "no",
        log_with=list(run.training.trackers),
        project_dir=str(run.folder),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=run.training.collective_timeout_seconds))],
    )
    if not accelerator.is_main_process:
        return _train(run, stage, accelerator, stop, _silent, heartbeat)
    with run.alone():
        return _train(run, stage, accelerator, stop, say, heartbeat)


def _silent(_line: str) -> None:
    """What ranks other than the first say."""


def _train(
    run: Run,
    stage: str,
    accelerator: Accelerator,
    stop: StopRequest,
    say: Callable[[str], None],
    heartbeat: Heartbeat | None,
) -> StageResult:
    store = run.checkpoint_store() if accelerator.is_main_process else None
    try:
        if store is not None:
            _fetch(store, run, stage, say)
        accelerator.wait_for_everyone()
        result = run.model_folder(stage)
        if run.is_finished(stage):
            say(f"stage {stage} is finished: {result}")
            if accelerator.is_main_process:
                write_run_card(run)  # an end of the process may have come between the model and its card
            return StageResult(stage, 0, result)
        trainer = Trainer(run, stage, accelerator, say, store, heartbeat or _heartbeat_of(run))
        try:
            ran_steps = trainer.run_steps(stop)
        finally:
            trainer.close()
        return StageResult(stage, ran_steps, result)
    finally:
        if store is not None:
            store.drain(DRAIN_SECONDS)
            for problem in store.problems():
                say(f"not copied: {problem}")
            store.close()


def _heartbeat_of(run: Run) -> Heartbeat:
    return Heartbeat(run.folder / "heartbeat.json", run.training.stall_timeout_seconds)


def _fetch(store: CheckpointStore, run: Run, stage: str, say: Callable[[str], None]) -> None:
    """Take from the store what this machine lacks: models up to this stage's, and a newer checkpoint of the stage; give
    it what could not be copied when it was written.

    Raises :class:`training.checkpoint_store.StoreError`, :class:`training.checkpoint.BadCheckpoint`.
    """
    models = store.names("models/")
    for name in CHECKPOINTS[1 : CHECKPOINTS.index(stage) + 1]:
        model = f"models/stage-{name}"
        if run.is_finished(name) and model not in models:
            store.upload(run.model_folder(name), model)
        elif not run.is_finished(name) and model in models:
            say(f"stage {name}: its model comes from {run.training.checkpoint_store}")
            store.download(model, run.model_folder(name))
    if run.is_finished(stage):
        return
    found = newest_checkpoint(run.folder / "checkpoints", f"{stage}-")
    there = store.names(f"checkpoints/{stage}-")
    if there and (found is None or int(there[-1].rpartition("-")[2]) > int(found.state["step"])):
        say(f"stage {stage}: {there[-1]} comes from {run.training.checkpoint_store}")
        store.download(there[-1], run.folder / there[-1])
    elif found is not None and f"checkpoints/{found.folder.name}" not in there:
        store.upload(found.folder, f"checkpoints/{found.folder.name}")
