"""Floating-point operations of training on packed documents, and what devices can do at most: for MFU."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# Dense TFLOP/s (bf16 on tensor cores, fp32 without them) that NVIDIA's data sheets state: Blackwell HGX, H200, H100,
# A100, A40, A30, A10, L40S, L40, L4. The first name that is found in the device's counts.
_PEAKS: tuple[tuple[str, float, float | None], ...] = (
    (r"\bB200\b", 2250.0, None),
    (r"\bH200 NVL\b", 836.0, 60.0),
    (r"\bH100 NVL\b", 835.0, 60.0),
    (r"\bH100 PCIe\b", 756.0, 51.0),
    (r"\b(H200|H100|GH200)\b", 989.0, 67.0),
    (r"\bA100\b", 312.0, 19.5),
    (r"\bL40S\b", 362.0, 91.6),
    (r"\bL40\b", 181.0, 90.5),
    (r"\bL4\b", 121.0, 30.3),
    (r"\bA40\b", 149.7, 37.4),
    (r"\bA30\b", 165.0, 10.3),
    (r"\bA10\b", 125.0, 31.2),
)


def peak_tflops(device_name: str, precision: Literal["bf16", "fp32"]) -> float | None:
    """Of the device that ``torch.cuda.get_device_name`` names; None when its peak is not known to us."""
    for pattern, bf16, fp32 in _PEAKS:
        if re.search(pattern, device_name):
            return bf16 if precision == "bf16" else fp32
    return None


def mfu(flops_per_second: float, peak_tflops: float | None, devices: int) -> float | None:
    """Model FLOPs utilisation: what the model needs per second, of what all devices can do at most."""
    return None if peak_tflops is None else flops_per_second / (peak_tflops * 1e12 * devices)


@dataclass(frozen=True, slots=True)
class TrainingFlops:
    """What training a model costs. ``body`` and ``head``: parameters of matrices; ``attention``: layers x width."""

    body: int
    head: int
    attention: int

    @classmethod
    def of(cls, config: Any) -> TrainingFlops:
        """Of a transformers configuration; counted on a model without memory."""
        heads = config.num_attention_heads
        width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
        return cls(*_matrix_parameters(config), config.num_hidden_layers * width)

    def __call__(self, cu_seqlens: NDArray[np.int32], target_tokens: int | None = None) -> float:
        """Operations of one forward and backward pass over sequences of documents that do not see each other.

        6 for each token and each parameter of a matrix (the head's included, embeddings not), and 6 * layers *
        attention width * length^2 for each document: PaLM (arXiv 2204.02311), appendix B, halved for causal attention.
        What activation checkpointing recomputes does not count; padding counts, as a document. ``cu_seqlens``
        (sequences, pieces + 1): starts of the pieces and the end, padded with the end. ``target_tokens``: that many go
        through the head, None: all. Sliding windows are not taken off, and of a mixture of experts all experts count:
        an upper bound for both.
        """
        offsets = cu_seqlens.astype(np.int64)
        lengths = offsets[..., 1:] - offsets[..., :-1]
        tokens = int(lengths.sum())
        matrices = self.body * tokens + self.head * (tokens if target_tokens is None else target_tokens)
        return float(6 * (matrices + self.attention * int((lengths**2).sum())))


def _matrix_parameters(config: Any) -> tuple[int, int]:
    """Parameters of the matrices of the decoder and of the head."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    head = model.get_output_embeddings()
    matrices = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    )
    return matrices, head.weight.numel()
