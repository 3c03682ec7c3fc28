"""The arms of :mod:`benchmarks.train`: ways to train one model on the same sequences, each a number of steps at a time.

========================  ============================================================================================
ours                      the trainer itself: loader, loss by kind, clipping, spike guard, metrics file, TensorBoard
bare                      the same model parts on the same batches, which lie ready, nothing else: what our loop costs
bare_transformers         transformers' own model and loss on them, documents isolated by position ids
trainer_packed            transformers' Trainer, fed our sequences (ids, labels, position ids)
trainer_padded            transformers' Trainer, fed the documents one by one, padded to the longest of a batch
========================  ============================================================================================
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from transformers import Trainer as TransformersTrainer

from training.loader import NO_TARGET, Batch
from training.model_loss import PackedLoss
from training.optimizer import adamw
from training.run import Run
from training.trainer import Trainer

LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Block:
    """``useful_tokens``: without padding; ``losses``: of each step, where the arm tells."""

    seconds: float
    useful_tokens: int
    losses: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Useful tokens per second."""
        return self.useful_tokens / self.seconds


@dataclass(frozen=True)
class Arm:
    """``block(n)`` trains n steps; the time starts when the device is idle and ends when it is again."""

    name: str
    block: Callable[[int], Block]
    close: Callable[[], None] = lambda: None


def ours(trainer: Trainer) -> Arm:
    batches = trainer.loader.batches(1)
    trainer.report.open_trackers("benchmark", trainer.run.training.trackers, 1)

    def block(steps: int) -> Block:
        before = trainer.tokens
        started = time.monotonic()
        for _ in range(steps):
            step_started = time.monotonic()
            trainer.train_step(next(batches), step_started)
        _wait_for(trainer.accelerator.device)
        seconds = time.monotonic() - started
        losses = tuple(entry["loss"] for entry in trainer.report.metrics.steps_of(trainer.stage)[-steps:])
        return Block(seconds, trainer.tokens - before, losses)

    return Arm("ours", block, trainer.close)


def bare(
    name: str,
    model: torch.nn.Module,
    step_loss: Callable[[Any], Any],
    batches: Sequence[Batch],
    tokens: Sequence[int],
    micro: int,
    run: Run,
) -> Arm:
    """Forward, backward, clip, step on batches that lie ready, ``tokens`` without padding in each; the last is followed
    by the first. ``step_loss`` gives the summed nats of a micro-batch."""
    optimizer = adamw(model, run.training.weight_decay)
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE
    device = next(model.parameters()).device
    ready = [
        ([_on(part, device) for part in batch.micro_batches(micro)], int((batch.labels != NO_TARGET).sum()), count)
        for batch, count in zip(batches, tokens, strict=True)
    ]
    order = itertools.cycle(ready)

    def block(steps: int) -> Block:
        losses, useful = [], 0
        started = time.monotonic()
        for parts, targets, count in itertools.islice(order, steps):
            useful += count
            whole = torch.zeros((), device=device)
            for part in parts:
                loss = step_loss(part) / targets
                loss.backward()
                whole += loss.detach()
            torch.nn.utils.clip_grad_norm_(model.parameters(), run.training.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(whole)
        _wait_for(device)
        seconds = time.monotonic() - started
        return Block(seconds, useful, tuple(float(loss) for loss in losses))

    return Arm(name, block)


def our_parts(packed_loss: PackedLoss, precision: str) -> Callable[[Any], Any]:
    def step_loss(part: Any) -> Any:
        with _autocast(part.labels.device, precision):
            total, _ = packed_loss(part.input_ids, part.position_ids, part.labels, part.cu_seqlens)
        return total

    return step_loss


def transformers_parts(model: Any, precision: str) -> Callable[[Any], Any]:
    def step_loss(part: Any) -> Any:
        with _autocast(part.labels.device, precision):
            logits = model(input_ids=part.input_ids, position_ids=part.position_ids, use_cache=False).logits
            return torch.nn.functional.cross_entropy(
                logits.float().flatten(0, 1), part.labels.flatten(), ignore_index=NO_TARGET, reduction="sum"
            )

    return step_loss


class _Rows(IterableDataset):  # type: ignore[type-arg]
    def __init__(self, rows: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._rows()


def packed_rows(trainer: Trainer) -> Iterator[dict[str, Any]]:
    """Our sequences in our order, as transformers' models take them: labels stand where their token stands."""
    for step in range(1, trainer.loader.steps + 1):
        batch = trainer.loader.batch(step)
        for number in range(len(batch.input_ids)):
            labels = np.full_like(batch.labels[number], NO_TARGET)
            labels[1:] = batch.labels[number, :-1]
            yield {
                "input_ids": batch.input_ids[number],
                "position_ids": batch.position_ids[number],
                "labels": labels,
            }


class _Turns(TrainerCallback):  # type: ignore[misc]
    """Lets the Trainer do a number of steps, then waits for the next turn; times are taken between steps."""

    def __init__(self) -> None:
        self.turns: queue.Queue[int] = queue.Queue()
        self.done: queue.Queue[tuple[float, tuple[float, ...]]] = queue.Queue()
        self._left = 0
        self._started = 0.0

    def on_train_begin(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        self._wait(control)

    def on_step_end(self, args: Any, _state: Any, control: Any, **_: Any) -> None:
        self._left -= 1
        if self._left == 0:
            _wait_for(args.device)
            self.done.put((time.monotonic() - self._started, ()))
            self._wait(control)

    def _wait(self, control: Any) -> None:
        self._left = self.turns.get()
        if self._left == 0:
            control.should_training_stop = True
        self._started = time.monotonic()


def transformers_trainer(
    name: str,
    model: Any,
    rows: Callable[[], Iterator[dict[str, Any]]],
    collate: Any,
    sequences: int,
    micro: int,
    run: Run,
    folder: Path,
    useful_tokens: Callable[[int], int],
    *,
    compile_model: bool,
) -> Arm:
    """``useful_tokens(n)``: tokens without padding of the next n steps."""
    turns = _Turns()
    trainer = TransformersTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder / name),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=max(1, sequences // micro),
            max_steps=1_000_000,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            weight_decay=run.training.weight_decay,
            max_grad_norm=run.training.max_gradient_norm,
            optim="adamw_torch_fused",
            bf16=run.training.precision == "bf16",
            torch_compile=compile_model,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        ),
        train_dataset=_Rows(rows),
        data_collator=collate,
        callbacks=[turns],
    )
    trainer.remove_callback(PrinterCallback)  # standard output is for our JSON
    problems: list[BaseException] = []

    def train() -> None:
        try:
            trainer.train()
        except BaseException as error:  # noqa: BLE001  told to the thread that waits for it
            problems.append(error)
            turns.done.put((float("nan"), ()))

    thread = threading.Thread(target=train, daemon=True)
    thread.start()

    def block(steps: int) -> Block:
        turns.turns.put(steps)
        seconds, losses = turns.done.get()
        if problems:
            raise problems[0]
        return Block(seconds, useful_tokens(steps), losses)

    def close() -> None:
        turns.turns.put(0)
        thread.join(60)

    return Arm(name, block, close)


def _autocast(device: torch.device, precision: str) -> Any:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@dataclass(frozen=True)
class _Tensors:
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor
    cu_seqlens: torch.Tensor


def _on(batch: Batch, device: torch.device) -> _Tensors:
    arrays = (batch.input_ids, batch.position_ids, batch.labels, batch.cu_seqlens)
    return _Tensors(*(torch.from_numpy(array).to(device) for array in arrays))


def _wait_for(device: torch.device) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
