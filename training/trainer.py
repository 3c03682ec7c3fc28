"""What a stage holds while it trains: data, model, optimizer, counters; one step, one checkpoint, one result.

The loss of a step is the sum over its target tokens divided by their number over all micro-batches and ranks, which
every rank knows from the plan. Step k's batch and learning rate are pure functions of k, so weights, moments, the
random states, what is usual (:mod:`training.spikes`) and k are all that a checkpoint needs to go on to the bit.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from forge.schema import KINDS
from training.base_model import load_model, load_tokenizer
from training.chat import prompt_hash, stop_token, with_chat_template
from training.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    read_state,
    write_checkpoint,
)
from training.checkpoint_store import CheckpointStore
from training.files import write_atomically
from training.flops import TrainingFlops, mfu, peak_tflops
from training.heartbeat import Heartbeat
from training.loader import NO_TARGET, Batch
from training.loss_probe import LossProbe
from training.metrics import MetricsFile, memory_gb
from training.optimizer import adamw
from training.parallel import clip_gradients, distribute, packed_loss_of, whole_model, without_gradient_sync
from training.process import StopRequest
from training.ranks import Ranks
from training.run import NotFinite, Run, Stopped
from training.run_card import model_card_files, write_run_card
from training.schedule import learning_rate_at
from training.shard import ShardError
from training.spikes import SpikeGuard
from training.stage_opening import micro_batch_sequences, open_loader, open_model
from training.stage_record import METRICS, stage_facts, write_record
from training.step_report import StepReport
from training.training_state import load_training_state, save_training_state, state_bytes

COPIES_SECONDS = 600.0
_LAST_COPIES_SECONDS = 20.0  # who asks for an end waits a minute; the next start copies what is missing


class Trainer:
    """What a stage holds while it runs: data, model, optimizer, counters."""

    def __init__(
        self,
        run: Run,
        stage: str,
        accelerator: Accelerator,
        ranks: Ranks,
        say: Callable[[str], None],
        store: CheckpointStore | None,
        heartbeat: Heartbeat,
        stop: StopRequest,
    ) -> None:
        self.run, self.stage, self.accelerator, self.ranks, self.say = run, stage, accelerator, ranks, say
        self.store, self.heartbeat, self.stop = store, heartbeat, stop
        self.settings = run.training.stages[stage]  # type: ignore[index]
        self.start = run.start_of(stage)
        if ranks.is_main and self.start != run.base.folder:
            load_checkpoint(self.start)  # every byte of it is compared with its manifest
        self.tokenizer = load_tokenizer(self.start)
        if stage == "III":
            stop_token(self.tokenizer)  # refuses a template after whose turns nothing would tell a model to stop
        self.loader = open_loader(run, stage, self.tokenizer, ranks, self._beat_while_packing, say)
        self.micro_batch_sequences = micro_batch_sequences(run.training, self.loader, accelerator.device)
        self.order_hash = self.loader.order_hash()
        self.report = StepReport(run.folder, stage, self.loader.steps, accelerator, say)
        torch.manual_seed(run.training.seed + self.loader.rank)  # dropout differs over the data, not within a tensor
        packed_loss, self.attention = open_model(self.start, run.training, accelerator.device, say)
        self.model: nn.Module = distribute(packed_loss, accelerator, run.training)
        self.packed_loss = packed_loss_of(self.model, accelerator)
        self.flops = TrainingFlops.of(self.packed_loss.model.config)
        self.optimizer = adamw(self.packed_loss, run.training.weight_decay)
        self.peak_tflops = run.training.peak_tflops or peak_tflops(_device_name(accelerator), run.training.precision)
        probe_every = run.training.benchmark_loss_every_tokens
        self.probe = None if probe_every is None else LossProbe.of(run, self.tokenizer)
        self.waited_seconds = 0.0
        self.saved_step = self._resume()

    # --- opening ----------------------------------------------------------------------------------------------------

    def _beat_while_packing(self) -> None:
        self.heartbeat.beat(self.stage, 0, 0)
        if self.stop:
            raise Stopped(f"stage {self.stage} stopped while its data was packed; start again")

    def _resume(self) -> int:
        """Take up the newest checkpoint; returns its step, 0 without one."""
        chosen = self._newest_checkpoint()
        step, self.tokens, guard = 0, 0, None
        if chosen is not None:
            state = chosen.state
            if state.get("order_hash") != self.order_hash:
                raise BadCheckpoint(
                    f"{chosen.folder}: was trained on another ordered data list; remove {chosen.folder.parent} to "
                    "train the stage from its start"
                )
            step, self.tokens, guard = int(state["step"]), int(state["tokens"]), state["spikes"]
            applied = step - int(guard["skipped_steps"])
            load_training_state(chosen.folder, self.packed_loss, self.optimizer, self.ranks.rank, applied)
            self.say(f"stage {self.stage} goes on after step {step} of {self.loader.steps}")
        else:
            batch = f"{self.loader.batch_sequences} x {self.loader.sequence_tokens} tokens"
            self.say(
                f"stage {self.stage}: {self.loader.steps} steps of {batch} from {self.start.name}, "
                f"{self.micro_batch_sequences} sequences at once, attention {self.attention}"
            )
        self.spikes = SpikeGuard(self.run.training.spikes, guard)
        if self.ranks.is_main:
            if chosen is not None:
                self.report.metrics.adopt(self.stage, MetricsFile(chosen.folder / METRICS))
            self.report.metrics.rewind(self.stage, step)
        return step

    def _newest_checkpoint(self) -> Checkpoint | None:
        """The first rank's choice, for all: a rank of its own opinion would train something else."""
        name = ""
        if self.ranks.is_main:
            found = newest_checkpoint(self.run.folder / "checkpoints", f"{self.stage}-")
            name = found.folder.name if found else ""
        name = self.ranks.texts(name)[0]
        if not name:
            return None
        folder = self.run.folder / "checkpoints" / name
        return Checkpoint(folder, read_state(folder))

    # --- steps ------------------------------------------------------------------------------------------------------

    def run_steps(self) -> int:
        """All steps that are left; returns how many there were. Raises :class:`Stopped` when asked to."""
        first = self.saved_step + 1
        self.report.open_trackers(self.run.run_id, self.run.training.trackers, first)
        self.heartbeat.beat(self.stage, first - 1, 0)
        if first == 1:
            self._probe(0)
        started = time.monotonic()
        for batch in self.loader.batches(first):
            before = self.tokens
            if self.ranks.any(bool(self.stop)) or not self.train_step(batch, started):
                self._stop_before(batch.step)
            if self._is_probe_due(before, batch.step):
                self._probe(batch.step)
            if batch.step % self.run.training.checkpoint_every_steps == 0 and batch.step < self.loader.steps:
                self.save(batch.step)
            started = time.monotonic()  # what was measured and written belongs to no step
        self.finish()
        return self.loader.steps - first + 1

    def _stop_before(self, step: int) -> None:
        if step - 1 > self.saved_step:
            self.save(step - 1)
        self._leave_together(_LAST_COPIES_SECONDS)
        raise Stopped(f"stage {self.stage} stopped after step {step - 1} of {self.loader.steps}; start again to go on")

    def train_step(self, batch: Batch, started: float) -> bool:
        """One optimiser step; False when a stop was asked for within it and nothing of it was done.

        ``started``: monotonic time at which the step's time begins.
        """
        learning_rate = learning_rate_at(batch.step, self.loader.steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        tokens, target_tokens = self.loader.counts(batch.step)
        sums = self._accumulate_gradients(batch, target_tokens)
        if sums is None:
            return False
        norm = float(clip_gradients(self.packed_loss, self.run.training.max_gradient_norm))
        totals = self._sum_over_data_ranks(sums).cpu()
        if int(totals[1].sum()) != target_tokens:
            raise ShardError(
                f"stage {self.stage} step {batch.step}: {int(totals[1].sum())} targets in the batch, the plan says "
                f"{target_tokens}. Remove {self.run.packed_folder(self.stage)}, and it is packed again"
            )
        loss = float(totals[0].sum()) / max(target_tokens, 1)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._keep_bad_batch(batch.step, loss, norm)
            raise NotFinite(
                f"stage {self.stage} step {batch.step}: loss {loss}, gradient norm {norm}; its documents are in "
                f"bad-batch-{self.stage}-{batch.step}.json; the newest checkpoint stays"
            )
        is_skipped = self.spikes.is_spike(loss, norm)
        if not is_skipped:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.tokens += tokens
        sequences_hash = self._sequences_hash(batch)
        if self.ranks.is_main:
            seconds = time.monotonic() - started
            waited, self.waited_seconds = self.loader.wait_seconds - self.waited_seconds, self.loader.wait_seconds
            flops = self.flops(batch.cu_seqlens, int((batch.labels != NO_TARGET).sum())) * self.loader.world_size
            self.report.step(
                {
                    "step": batch.step,
                    "stage": self.stage,
                    "tokens": self.tokens,
                    "loss": loss,
                    "loss_by_kind": _by_kind(totals),
                    "learning_rate": learning_rate,
                    "gradient_norm": norm,
                    "skipped": is_skipped,
                    "skipped_steps": self.spikes.skipped_steps,
                    "sequences_hash": sequences_hash,
                    "seconds": seconds,
                    "tokens_per_second": tokens / seconds,
                    "mfu": mfu(flops / seconds, self.peak_tflops, self.ranks.size),
                    "data_wait_share": waited / seconds,
                    "memory_gb": memory_gb(),
                }
            )
        return True

    def _accumulate_gradients(self, batch: Batch, target_tokens: int) -> Tensor | None:
        """Gradients of this rank's part of the step; its losses (nats) and targets by kind, shape (2, kinds).

        None when a stop was asked for, which one process alone may obey between micro-batches: on a CPU a step takes
        minutes. Gradients and the random state are then as they were.
        """
        device, data_ranks = self.accelerator.device, self.loader.world_size
        random = torch.get_rng_state()
        sums = torch.zeros(2, len(KINDS), device=device, dtype=torch.float64)
        parts = list(batch.micro_batches(self.micro_batch_sequences))
        for number, part in enumerate(parts):
            if self.ranks.size == 1 and device.type == "cpu" and self.stop:
                self.optimizer.zero_grad(set_to_none=True)
                torch.set_rng_state(random)
                return None
            labels = _to_device(part.labels, device)
            kinds = _to_device(np.array([KINDS.index(kind) for kind in part.kinds]), device)
            is_last = number == len(parts) - 1
            with without_gradient_sync(self.model, self.accelerator, is_last=is_last):
                total, losses = self.model(
                    _to_device(part.input_ids, device),
                    _to_device(part.position_ids, device),
                    labels,
                    _to_device(part.cu_seqlens, device),
                    _to_device(np.flatnonzero(part.labels.reshape(-1) != NO_TARGET), device),
                )
                # Gradients are averaged over the ranks: times their number, over the targets of the whole batch
                self.accelerator.backward(total * data_ranks / max(target_tokens, 1))
            sums[0].index_add_(0, kinds, losses.detach().double())
            sums[1].index_add_(0, kinds, (labels != NO_TARGET).sum(dim=1).double())
            self.heartbeat.beat(self.stage, batch.step, number)
        return sums

    def _sum_over_data_ranks(self, sums: Tensor) -> Tensor:
        """Ranks that split matrices between them read the same sequences: they are counted once."""
        if self.ranks.size == 1:
            return sums
        whole: Tensor = self.accelerator.reduce(sums, reduction="sum")
        return whole / self.run.training.tensor_parallel

    def _sequences_hash(self, batch: Batch) -> str:
        """Hash of the sequences that the ranks really trained on, in global order."""
        ids = batch.sequence_ids[None]
        if self.ranks.size > 1:
            own = torch.from_numpy(ids).to(self.accelerator.device)
            ids = self.accelerator.gather(own).cpu().numpy()[:: self.run.training.tensor_parallel]
        in_order = np.ascontiguousarray(ids.T, dtype="<i8")
        return hashlib.blake2b(in_order.tobytes(), digest_size=16).hexdigest()

    def _keep_bad_batch(self, step: int, loss: float, norm: float) -> None:
        if not self.ranks.is_main:
            return
        found = {
            "stage": self.stage,
            "step": step,
            "loss": str(loss),
            "gradient_norm": str(norm),
            "sequence_ids": self.loader.sequence_ids(step).tolist(),
            "doc_ids": self.loader.doc_ids(step),
        }
        content = orjson.dumps(found, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
        write_atomically(self.run.folder / f"bad-batch-{self.stage}-{step}.json", content)

    # --- benchmark loss on the way ----------------------------------------------------------------------------------

    def _is_probe_due(self, tokens_before: int, step: int) -> bool:
        every = self.run.training.benchmark_loss_every_tokens
        if every is None:
            return False
        return step == self.loader.steps or self.tokens // every > tokens_before // every

    def _probe(self, step: int) -> None:
        if self.probe is None:
            return
        with self.accelerator.autocast():
            measured = self.probe.measure(self.packed_loss)
        if self.ranks.is_main:
            self.report.benchmark(step, self.tokens, measured)
            self.say(f"stage {self.stage} after step {step}: " + self.probe.line(measured))
        self.heartbeat.beat(self.stage, step, 0)

    # --- results ----------------------------------------------------------------------------------------------------

    def _state(self, step: int) -> dict[str, Any]:
        training = self.run.training
        return {
            "run_id": self.run.run_id,
            "release_id": self.run.release.release_id,
            "stage": self.stage,
            "step": step,
            "steps": self.loader.steps,
            "tokens": self.tokens,
            "order_hash": self.order_hash,
            "spikes": self.spikes.state(),
            "template_hash": prompt_hash(self.tokenizer),
            "world_size": self.ranks.size,
            "sharding": training.sharding,
            "tensor_parallel": training.tensor_parallel,
            "attention": self.attention,
            "precision": training.precision,
        }

    def save(self, step: int) -> None:
        """Write a checkpoint to go on from. Every rank enters and writes its part."""
        parent, prefix = self.run.folder / "checkpoints", f"{self.stage}-"
        folder = parent / f"{prefix}{step:06d}"

        def write(aside: Path) -> None:
            save_training_state(aside, self.packed_loss, self.optimizer, self.ranks.rank)
            if self.ranks.is_main:
                self.run.write_seen(self.stage, self.loader.seen(step), step)
                write_record(aside, self.report.metrics.of(self.stage))

        write_checkpoint(
            folder,
            self._state(step),
            write,
            expected_bytes=state_bytes(self.packed_loss),
            writers=self.ranks.writers,
        )
        self.saved_step = step
        if self.ranks.is_main:
            if self.store is not None:
                self.store.upload(folder, f"checkpoints/{folder.name}")
                self.store.prune(f"checkpoints/{prefix}", self.run.training.keep_checkpoints)
            prune_checkpoints(parent, prefix, self.run.training.keep_checkpoints)
        self.heartbeat.beat(self.stage, step, 0)

    def finish(self) -> None:
        """Write the stage's model, what it saw and the summary; its checkpoints are not needed any more."""
        steps, folder = self.loader.steps, self.run.model_folder(self.stage)
        language_model = whole_model(self.packed_loss.model, lambda: load_model(self.start), is_main=self.ranks.is_main)
        metrics = self.report.metrics
        facts: dict[str, Any] = {}
        if self.ranks.is_main:
            state = self._state(steps)
            facts = stage_facts(state, metrics.steps_of(self.stage), self.peak_tflops, self.loader.data.plan)

        def write(aside: Path) -> None:
            if language_model is None:
                return
            seen = self.loader.seen(steps)
            self.run.write_seen(self.stage, seen, steps)
            if self.stage == "III":
                _stop_at(language_model, stop_token(self.tokenizer))
            language_model.save_pretrained(aside)
            with_chat_template(self.tokenizer).save_pretrained(aside)
            write_record(aside, metrics.of(self.stage), facts, self.run.seen_path(self.stage))
            for name, content in model_card_files(self.run, self.stage, facts).items():
                (aside / name).write_bytes(content)

        write_checkpoint(
            folder,
            self._state(steps),
            write,
            expected_bytes=state_bytes(self.packed_loss) // 3,
            writers=self.ranks.writers,
        )
        if self.ranks.is_main:
            self.run.record_stage(self.stage, facts)
            write_run_card(self.run)
            if self.store is not None:
                self.store.upload(folder, f"models/{folder.name}")
            prune_checkpoints(self.run.folder / "checkpoints", f"{self.stage}-", keep=0)
        self._leave_together(COPIES_SECONDS)

    def _leave_together(self, drain_seconds: float) -> None:
        """Wait for copies and for the other ranks: the end of the first one makes torchrun stop the others."""
        self.heartbeat.stop()
        if self.store is not None:
            self.store.drain(drain_seconds)
        self.ranks.texts("")

    def close(self) -> None:
        self.heartbeat.stop()
        self.accelerator.end_training()


def _stop_at(model: Any, token_id: int) -> None:
    """Generation of an exported model also stops where an assistant's turn ends."""
    configured = model.generation_config.eos_token_id
    known = configured if isinstance(configured, list) else [] if configured is None else [configured]
    stops = sorted({*known, token_id})
    model.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]


def _to_device(values: Any, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _by_kind(totals: Tensor) -> dict[str, float]:
    """Nats per target token of each kind that the step held."""
    return {
        kind: float(totals[0, number] / totals[1, number]) for number, kind in enumerate(KINDS) if totals[1, number] > 0
    }


def _device_name(accelerator: Accelerator) -> str:
    return str(torch.cuda.get_device_name() if accelerator.device.type == "cuda" else accelerator.device.type)
