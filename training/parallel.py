"""How a model is spread over ranks: copied (DDP), sharded (FSDP2), its matrices split (tensor parallel).

Ranks form a mesh of (data, tensor). Ranks that share a ``data`` coordinate read the same sequences. accelerate gives
DDP; FSDP2 is torch's own ``fully_shard``, for accelerate ignores its FSDP plugin on CPU and on a single GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from forge.config import ConfigurationError, TrainingSettings
from training.model_loss import PackedLoss

_STYLES = {"colwise": ColwiseParallel, "rowwise": RowwiseParallel}


@dataclass(frozen=True, slots=True)
class DataRank:
    """Which part of each batch this process reads: part ``rank`` of ``world_size``."""

    rank: int
    world_size: int


def data_rank(rank: int, ranks: int, training: TrainingSettings) -> DataRank:
    """What rank ``rank`` of ``ranks`` reads.

    Raises :class:`forge.config.ConfigurationError` when the ranks do not fit the settings.
    """
    tensor = training.tensor_parallel
    if tensor > 1 and training.sharding != "fsdp":
        raise ConfigurationError("training.tensor_parallel needs training.sharding: fsdp")
    if ranks % tensor:
        raise ConfigurationError(f"training.tensor_parallel: {ranks} ranks cannot be divided by {tensor}")
    return DataRank(rank // tensor, ranks // tensor)


def distribute(model: PackedLoss, accelerator: Accelerator, training: TrainingSettings) -> nn.Module:
    """The model as this rank trains it. Its parameters are DTensors with ``sharding: fsdp``, even on one rank.

    Raises :class:`forge.config.ConfigurationError` when the model cannot be split as the settings ask.
    """
    if training.sharding == "replicated":
        return accelerator.prepare(model)
    if not torch.distributed.is_initialized():
        raise ConfigurationError("training.sharding: fsdp needs ranks: start under torchrun (training.launcher)")
    tensor = training.tensor_parallel
    mesh = init_device_mesh(
        accelerator.device.type,
        (accelerator.num_processes // tensor, tensor),
        mesh_dim_names=("data", "tensor"),
    )
    model.to(accelerator.device)
    layers = model.model.get_decoder().layers
    if tensor > 1:
        _split_matrices(model, mesh["tensor"])
    policy = (
        MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        if training.precision == "bf16"
        else MixedPrecisionPolicy()
    )
    for layer in layers:
        fully_shard(layer, mesh=mesh["data"], mp_policy=policy)
    fully_shard(model, mesh=mesh["data"], mp_policy=policy)
    register_fsdp_forward_method(model, "apply_to_model")
    return model


def _split_matrices(model: PackedLoss, mesh: DeviceMesh) -> None:
    """Split the matrices of every layer by the plan that the model's configuration states (``base_model_tp_plan``)."""
    configuration, size = model.model.config, mesh.size()
    heads = {"heads": configuration.num_attention_heads, "key-value heads": configuration.num_key_value_heads}
    for name, count in heads.items():
        if count % size:
            raise ConfigurationError(f"training.tensor_parallel: {count} {name} cannot be divided by {size}")
    stated = {
        name.removeprefix("layers.*."): style
        for name, style in (getattr(configuration, "base_model_tp_plan", None) or {}).items()
        if name.startswith("layers.*.")
    }
    unknown = sorted({style for style in stated.values() if style not in _STYLES})
    if not stated or unknown:
        known = ", ".join(_STYLES)
        raise ConfigurationError(
            f"training.tensor_parallel: {configuration.model_type} states {', '.join(unknown) or 'no'} plan; "
            f"what we can follow: {known}"
        )
    for layer in model.model.get_decoder().layers:
        parallelize_module(layer, mesh, {name: _STYLES[style]() for name, style in stated.items()})


def without_gradient_sync(model: nn.Module, accelerator: Accelerator, *, is_last: bool) -> AbstractContextManager[Any]:
    """Gradients of all but the last micro-batch of a step stay on their rank."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
        return nullcontext()
    return nullcontext() if is_last else accelerator.no_sync(model)


def packed_loss_of(model: nn.Module, accelerator: Accelerator) -> PackedLoss:
    """The module below DDP; with FSDP the module itself, whose parameters are DTensors."""
    found = model if isinstance(model, FSDPModule) else accelerator.unwrap_model(model)
    assert isinstance(found, PackedLoss)
    return found


def whole_model(model: Any, fresh: Callable[[], Any], *, is_main: bool) -> Any:
    """On the first rank a model with all parameters on the CPU; None on the others. Every rank calls this.

    ``fresh`` makes a model of the same shape, to be filled; it is called where parameters are DTensors only.
    """
    if not any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return model if is_main else None
    whole = fresh() if is_main else None
    into = dict(whole.named_parameters()) if whole is not None else {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            full = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter  # all ranks take part
            if whole is not None:
                into[name].copy_(full)
    return whole


def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Scale gradients so that their norm is at most ``max_norm``; returns the norm before, equal on all ranks.

    DTensors of different meshes (split and unsplit matrices) cannot be stacked: one norm a mesh, one collective each.
    """
    by_mesh: dict[DeviceMesh | None, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.grad is not None:
            by_mesh.setdefault(_mesh_of(parameter.grad), []).append(parameter)
    norms = [torch.nn.utils.get_total_norm([_gradient(one) for one in group]) for group in by_mesh.values()]
    whole = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    total = whole[0] if len(whole) == 1 else torch.linalg.vector_norm(torch.stack(whole))
    for group in by_mesh.values():
        torch.nn.utils.clip_grads_with_norm_(group, max_norm, total)
    return total


def _mesh_of(tensor: Tensor) -> DeviceMesh | None:
    return tensor.device_mesh if isinstance(tensor, DTensor) else None


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
