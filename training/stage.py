"""The training loop of one stage: the same code for stages I, II and III, for one CPU and for many GPUs.

The loss of a step is the sum over its target tokens divided by their number over all micro-batches and ranks, which
every rank knows from the plan. Step k's batch and learning rate are pure functions of k, so weights, optimizer moments,
the random state and k are all that a checkpoint needs to go on to the bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.base_model import load_model, load_tokenizer
from training.checkpoint import BadCheckpoint, newest_checkpoint, prune_checkpoints, write_checkpoint
from training.loader import StageLoader
from training.metrics import MetricsFile, progress_line
from training.model_loss import PackedLoss
from training.process import StopRequest
from training.run import NotFinite, Run, Stopped
from training.schedule import learning_rate_at
from training.stage_data import stage_data

DOMAINS = ("agent", "code", "text")
_BETAS = (0.9, 0.95)
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class StageResult:
    """``ran_steps`` is 0 when the stage had been finished before."""

    stage: str
    ran_steps: int
    model_folder: Path


def train_stage(
    run: Run, stage: str, *, stop: StopRequest, say: Callable[[str], None] = print, cpu: bool = False
) -> StageResult:
    """Train a stage to its end, from its newest checkpoint if there is one. A finished stage returns at once.

    Raises :class:`Stopped`, :class:`NotFinite`, :class:`training.run.StageMissing`,
    :class:`training.stage_data.NoTrainingData`.
    """
    result = run.model_folder(stage)
    if run.is_finished(stage):
        say(f"stage {stage} is finished: {result}")
        return StageResult(stage, 0, result)
    start = run.start_of(stage)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="bf16" if run.training.precision == "bf16" else "no",
        log_with="tensorboard",
        project_dir=str(run.folder),
    )
    torch.manual_seed(run.training.seed)
    tokenizer = load_tokenizer(start)
    with accelerator.main_process_first():
        data = stage_data(run.release, run.open_file, run.training, stage, tokenizer, run.packed_path(stage))
    loop = _Loop(
        run,
        stage,
        accelerator,
        StageLoader(
            data,
            batch_tokens=run.training.stages[stage].batch_tokens,  # type: ignore[index]
            seed=run.training.seed,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
        ),
        tokenizer,
        start,
        say,
    )
    first = loop.resume()
    if first == 1:
        batch = f"{loop.loader.batch_sequences} x {data.sequence_tokens} tokens"
        say(f"stage {stage}: {loop.loader.steps} steps of {batch} from {start.name}")
    # A folder per stage: purging what a resumed stage logs again must not touch the other stages
    accelerator.init_trackers(f"tensorboard/{stage}", init_kwargs={"tensorboard": {"purge_step": first}})
    saved = first - 1
    try:
        for step in range(first, loop.loader.steps + 1):
            if stop:
                if step - 1 > saved:
                    loop.save(step - 1)
                raise Stopped(
                    f"stage {stage} stopped after step {step - 1} of {loop.loader.steps}; start again to go on"
                )
            loop.train_step(step)
            if step % run.training.checkpoint_every_steps == 0 and step < loop.loader.steps:
                loop.save(step)
                saved = step
        loop.finish()
    finally:
        accelerator.end_training()
    return StageResult(stage, loop.loader.steps - first + 1, result)


class _Loop:
    """What a stage holds while it runs: model, optimizer, counters."""

    def __init__(
        self,
        run: Run,
        stage: str,
        accelerator: Accelerator,
        loader: StageLoader,
        tokenizer: Any,
        start: Path,
        say: Callable[[str], None],
    ) -> None:
        self.run, self.stage, self.loader, self.tokenizer, self.say = run, stage, loader, tokenizer, say
        self.accelerator = accelerator
        self.settings = run.training.stages[stage]  # type: ignore[index]
        self.metrics = MetricsFile(run.folder / "metrics.jsonl")
        self.tokens = 0
        self.order_hash = loader.order_hash()
        checkpoint = newest_checkpoint(run.folder / "checkpoints", f"{stage}-")
        if checkpoint and checkpoint.state.get("order_hash") != self.order_hash:
            raise BadCheckpoint(f"{checkpoint.folder}: was trained on another ordered data list")
        self.checkpoint = checkpoint
        language_model = load_model(checkpoint.folder if checkpoint else start)
        language_model.train()
        self.model: nn.Module = accelerator.prepare(PackedLoss(language_model))
        self.optimizer = accelerator.prepare(
            torch.optim.AdamW(
                _parameter_groups(self.model, run.training.weight_decay), lr=1.0, betas=_BETAS, eps=1e-8, fused=True
            )
        )

    @property
    def language_model(self) -> Any:
        return self.accelerator.unwrap_model(self.model).model

    def resume(self) -> int:
        """Take up the newest checkpoint; returns the step to do next."""
        step = 0
        if self.checkpoint is not None:
            step, self.tokens = int(self.checkpoint.state["step"]), int(self.checkpoint.state["tokens"])
            _load_optimizer(self.checkpoint.folder / "optimizer.safetensors", self.optimizer, self.language_model)
            random = load_file(self.checkpoint.folder / "random.safetensors")
            torch.set_rng_state(random["cpu"])
            if torch.cuda.is_available() and "cuda" in random:
                torch.cuda.set_rng_state(random["cuda"])
            self.say(f"stage {self.stage} goes on after step {step} of {self.loader.steps}")
        if self.accelerator.is_main_process:
            self.metrics.rewind(self.stage, step)
        return step + 1

    def train_step(self, step: int) -> None:
        started = time.monotonic()
        learning_rate = learning_rate_at(step, self.loader.steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        tokens, target_tokens = self.loader.counts(step)
        device, ranks = self.accelerator.device, self.accelerator.num_processes
        sums = torch.zeros(2, len(DOMAINS), device=device, dtype=torch.float64)  # losses and target tokens by domain
        parts = list(self.loader.batch(step).micro_batches(self.run.training.micro_batch_sequences))
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            target = torch.from_numpy(part.target).to(device)
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                losses = self.model(
                    torch.from_numpy(part.input_ids).to(device), torch.from_numpy(part.position_ids).to(device), target
                )
                # DDP averages gradients over the ranks: times their number, over the targets of the whole batch
                self.accelerator.backward(losses.sum() * ranks / max(target_tokens, 1))
            domains = torch.tensor([DOMAINS.index(domain) for domain in part.domains], device=device)
            sums[0].index_add_(0, domains, losses.detach().double())
            sums[1].index_add_(0, domains, target[:, 1:].sum(dim=1).double())
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), self.run.training.max_gradient_norm))
        total = self.accelerator.reduce(sums, reduction="sum").cpu()
        loss = float(total[0].sum()) / max(target_tokens, 1)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NotFinite(
                f"stage {self.stage} step {step}: loss {loss}, gradient norm {norm}; the newest checkpoint stays"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.tokens += tokens
        if self.accelerator.is_main_process:
            self._report(step, loss, total, learning_rate, norm, tokens / (time.monotonic() - started))

    def _report(
        self, step: int, loss: float, total: Tensor, learning_rate: float, norm: float, tokens_per_second: float
    ) -> None:
        by_domain = {
            domain: float(total[0, number] / total[1, number])
            for number, domain in enumerate(DOMAINS)
            if total[1, number] > 0
        }
        entry = {
            "step": step,
            "stage": self.stage,
            "tokens": self.tokens,
            "loss": loss,
            "loss_by_domain": by_domain,
            "learning_rate": learning_rate,
            "gradient_norm": norm,
            "tokens_per_second": tokens_per_second,
        }
        self.metrics.append(entry)
        self.say(progress_line(entry, self.loader.steps))
        scalars = {name: value for name, value in entry.items() if isinstance(value, float)}
        self.accelerator.log(
            scalars | {f"loss_{domain}": value for domain, value in by_domain.items()},
            step=step,
        )

    def _state(self, step: int) -> dict[str, Any]:
        return {
            "run_id": self.run.run_id,
            "release_id": self.run.release.release_id,
            "stage": self.stage,
            "step": step,
            "steps": self.loader.steps,
            "tokens": self.tokens,
            "order_hash": self.order_hash,
            "world_size": self.accelerator.num_processes,
        }

    def save(self, step: int) -> None:
        """Write a checkpoint to go on from. Every rank enters; only the first writes."""
        if self.accelerator.is_main_process:
            parent, prefix = self.run.folder / "checkpoints", f"{self.stage}-"

            def write(folder: Path) -> None:
                self.language_model.save_pretrained(folder)
                _save_optimizer(folder / "optimizer.safetensors", self.optimizer, self.language_model)
                random = {"cpu": torch.get_rng_state()}
                if torch.cuda.is_available():
                    random["cuda"] = torch.cuda.get_rng_state()
                save_file(random, folder / "random.safetensors")

            self.run.write_seen(self.stage, self.loader.seen(step))
            write_checkpoint(parent / f"{prefix}{step:06d}", self._state(step), write)
            prune_checkpoints(parent, prefix, self.run.training.keep_checkpoints)
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Write the stage's model, what it saw and the summary; its checkpoints are not needed any more."""
        if self.accelerator.is_main_process:
            steps = self.loader.steps

            def write(folder: Path) -> None:
                self.language_model.save_pretrained(folder)
                self.tokenizer.save_pretrained(folder)

            self.run.write_seen(self.stage, self.loader.seen(steps))
            entries = self.metrics.of_stage(self.stage)
            self.run.record_stage(
                self.stage,
                self._state(steps)
                | {
                    "first_loss": entries[0]["loss"],
                    "last_loss": entries[-1]["loss"],
                    "tokens_per_second": sum(entry["tokens_per_second"] for entry in entries) / len(entries),
                    "data": self.loader.data.plan,
                },
            )
            write_checkpoint(self.run.model_folder(self.stage), self._state(steps), write)
            prune_checkpoints(self.run.folder / "checkpoints", f"{self.stage}-", keep=0)
        self.accelerator.wait_for_everyone()


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms and biases do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.dim() >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.dim() < 2], "weight_decay": 0.0},
    ]


def _save_optimizer(path: Path, optimizer: Any, model: nn.Module) -> None:
    states: Mapping[Tensor, Mapping[str, Tensor]] = optimizer.optimizer.state
    tensors = {}
    for name, parameter in model.named_parameters():
        state = states[parameter]
        for moment in _MOMENTS:
            tensors[f"{moment}.{name}"] = state[moment]
        tensors[f"step.{name}"] = state["step"].reshape(1)
    save_file(tensors, path)


def _load_optimizer(path: Path, optimizer: Any, model: nn.Module) -> None:
    tensors = load_file(path)
    for name, parameter in model.named_parameters():
        state = {moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in _MOMENTS}
        optimizer.optimizer.state[parameter] = {
            "step": tensors[f"step.{name}"].reshape(()).to(parameter.device),
            **state,
        }
