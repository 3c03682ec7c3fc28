"""The training of one stage: the same for stages I, II and III, for one CPU and for many GPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from training.checkpoint import BadCheckpoint, newest_checkpoint
from training.checkpoint_store import CheckpointStore
from training.heartbeat import Heartbeat
from training.process import StopRequest
from training.ranks import Ranks
from training.run import CHECKPOINTS, Run
from training.run_card import write_run_card
from training.step_report import other_trackers
from training.trainer import COPIES_SECONDS, Trainer


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
    cpu = cpu or not torch.cuda.is_available()  # else accelerate sees no ranks of torchrun on a machine without GPU
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="bf16" if run.training.precision == "bf16" else "no",
        log_with=other_trackers(run.training.trackers) or None,
        project_dir=str(run.folder),
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=timedelta(seconds=run.training.collective_timeout_seconds)),
            # DDP orders its buckets anew after the first step, and sums of more than two ranks are then rounded in
            # another order than those of a run that goes on: on a CPU, where runs are equal to the bit, it does not
            DistributedDataParallelKwargs(find_unused_parameters=cpu),
        ],
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
    ranks = Ranks(accelerator)
    ranks.require_shared_folder(run.folder)
    store = run.checkpoint_store() if ranks.is_main else None
    try:
        ranks.main_first(lambda: _fetch(store, run, stage, say))
        result = run.model_folder(stage)
        if ranks.texts("finished" if run.is_finished(stage) else "")[0]:
            say(f"stage {stage} is finished: {result}")
            if ranks.is_main:
                if store is not None:
                    store.drain(COPIES_SECONDS)
                write_run_card(run)  # an end of the process may have come between the model and its card
            return StageResult(stage, 0, result)
        if heartbeat is None:
            path = run.folder / "heartbeat.json" if ranks.is_main else None
            heartbeat = Heartbeat(path, run.training.stall_timeout_seconds)
        trainer = Trainer(run, stage, accelerator, ranks, say, store, heartbeat, stop)
        try:
            return StageResult(stage, trainer.run_steps(), result)
        finally:
            trainer.close()
    finally:
        if heartbeat is not None:
            heartbeat.stop()
        if store is not None:
            for problem in store.problems():
                say(f"not copied: {problem}")
            store.close()


def _fetch(store: CheckpointStore | None, run: Run, stage: str, say: Callable[[str], None]) -> None:
    """Take from the store what this machine lacks: models up to this stage's, and a newer checkpoint of the stage; give
    it what could not be copied when it was written.

    Raises :class:`training.checkpoint_store.StoreError`, :class:`training.checkpoint.BadCheckpoint`.
    """
    if store is None:
        return
    models = store.names("models/")
    for name in CHECKPOINTS[1 : CHECKPOINTS.index(stage) + 1]:
        model = f"models/stage-{name}"
        if run.is_finished(name) and model not in models:
            store.upload(run.model_folder(name), model)
        elif not run.is_finished(name) and model in models:
            say(f"stage {name}: its model comes from {run.training.checkpoint_store}")
            store.download(model, run.model_folder(name))
            run.adopt(name)
    if run.is_finished(stage):
        return
    found = newest_checkpoint(run.folder / "checkpoints", f"{stage}-")
    own_step = -1 if found is None else int(found.state["step"])
    there = store.names(f"checkpoints/{stage}-")
    for name in sorted(there, key=_step_of, reverse=True):
        if _step_of(name) <= own_step:
            break
        try:
            say(f"stage {stage}: {name} comes from {run.training.checkpoint_store}")
            store.download(name, run.folder / name)
            return
        except BadCheckpoint as reason:
            say(f"{reason}; the one before it is tried")
    if found is not None and f"checkpoints/{found.folder.name}" not in there:
        store.upload(found.folder, f"checkpoints/{found.folder.name}")


def _step_of(name: str) -> int:
    return int(name.rpartition("-")[2])
