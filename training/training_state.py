"""What a checkpoint holds to go on from: weights, moments, random states; each rank writes and reads its own part.

``tensors/``: safetensors by torch's distributed checkpoint (DCP), one file a rank, readable by any number of ranks and
any sharding; ``random-<rank>.safetensors``. Nothing is pickled.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from training.optimizer import moments, set_applied_steps

_TENSORS = "tensors"


def save_training_state(folder: Path, model: nn.Module, optimizer: torch.optim.AdamW, rank: int) -> None:
    """Every rank calls this with the same folder."""
    (folder / _TENSORS).mkdir(exist_ok=True)
    writer = HuggingFaceStorageWriter(str(folder / _TENSORS), save_distributed=True)
    try:
        with _quiet():
            dcp.save(_tensors(model, optimizer), storage_writer=writer)
    except CheckpointException as error:  # no Exception by its class
        raise OSError(str(error).strip().splitlines()[-1]) from None
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    save_file(random, folder / f"random-{rank:05d}.safetensors")


def load_training_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.AdamW, rank: int, applied_steps: int
) -> None:
    """Every rank calls this. A rank that the writer did not have keeps the random state of its seed."""
    tensors = _tensors(model, optimizer)
    with _quiet(), torch.no_grad():
        dcp.load(tensors, storage_reader=HuggingFaceStorageReader(str(folder / _TENSORS)))
    set_applied_steps(optimizer, applied_steps)
    path = folder / f"random-{rank:05d}.safetensors"
    if path.is_file():
        random = load_file(path)
        torch.set_rng_state(random["cpu"])
        if torch.cuda.is_available() and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])


def state_bytes(model: nn.Module) -> int:
    """Disk that weights and moments of all ranks take together."""
    return sum(parameter.numel() * parameter.element_size() * 3 for parameter in model.parameters())


def _tensors(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    weights = {f"weight.{name}": parameter.detach() for name, parameter in model.named_parameters()}
    return weights | moments(model, optimizer)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what DCP says of every save in one process: that there is only one."""
    logger = logging.getLogger("torch.distributed.checkpoint")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
            yield
    finally:
        logger.setLevel(level)
