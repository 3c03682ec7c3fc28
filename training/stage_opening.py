"""What a stage starts from: its data, packed once for all ranks, and its model, with an attention that is verified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from forge.config import ConfigurationError, TrainingSettings
from training.attention import choose_attention
from training.base_model import load_model
from training.loader import StageLoader
from training.model_loss import PackedLoss, verify_loss
from training.parallel import data_rank
from training.precision import product_type
from training.ranks import Ranks
from training.run import Run
from training.stage_data import StageData, stage_data

_MICRO_BATCH_TOKENS = {"cuda": 32_768, "cpu": 2_048}


def open_loader(
    run: Run, stage: str, tokenizer: Any, ranks: Ranks, beat: Callable[[], None], say: Callable[[str], None]
) -> StageLoader:
    """The stage's batches, as this rank reads them. The first rank packs the data, the others wait for it.

    ``beat`` is called while data is packed, and ends it by raising. Raises
    :class:`forge.config.ConfigurationError` when a batch cannot be split over the ranks, and what
    :func:`training.stage_data.stage_data` raises.
    """
    part = data_rank(ranks.rank, ranks.size, run.training)
    cache = run.shard_cache()

    def opened() -> StageData:
        return stage_data(
            run.release, run.open_file, run.training, stage, tokenizer, run.packed_folder(stage), cache, say, beat=beat
        )

    try:
        ranks.main_first(opened)
        data = opened()
    finally:
        cache.close()
    try:
        return StageLoader(
            data,
            batch_tokens=run.training.stages[stage].batch_tokens,  # type: ignore[index]
            seed=run.training.seed,
            rank=part.rank,
            world_size=part.world_size,
        )
    except ValueError as error:
        raise ConfigurationError(f"training.stages.{stage}.batch_tokens: {error}") from None


def micro_batch_sequences(training: TrainingSettings, loader: StageLoader, device: torch.device) -> int:
    """Sequences that go through the model at once: as many as wanted, or as the device holds, and always equally many.

    Equal shapes mean one compiled program, and a sum of gradients without a short last part.
    """
    own = loader.batch_sequences // loader.world_size
    fitting = _MICRO_BATCH_TOKENS.get(device.type, 2_048) // loader.sequence_tokens
    wanted = training.micro_batch_sequences or max(1, fitting)
    return max(size for size in range(1, min(wanted, own) + 1) if own % size == 0)


def open_model(
    folder: Path, training: TrainingSettings, device: torch.device, say: Callable[[str], None]
) -> tuple[PackedLoss, str]:
    """The model of ``folder`` on its device, to be trained, and the attention that keeps its documents apart.

    Raises :class:`training.attention.AttentionError` and :class:`training.model_loss.LossError`.
    """
    language_model = load_model(folder)
    language_model.train()
    language_model.to(device)
    dtype = torch.bfloat16 if training.precision == "bf16" else torch.float32
    if product_type(device.type, dtype) != dtype:
        say("training.precision: this processor emulates bf16; fp32 is faster here, and more exact")
    attention = choose_attention(language_model, training.attention, device, say, dtype)
    verify_loss(language_model, device)
    if training.activation_checkpointing:
        language_model.activation_checkpointing_enable({"use_reentrant": False})
    packed_loss = PackedLoss(language_model)
    if training.compile if training.compile is not None else device.type == "cuda":
        packed_loss.compile_decoder()
    return packed_loss, attention
