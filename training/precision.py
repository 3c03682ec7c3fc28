"""In which type matrix products are done."""

from __future__ import annotations

import torch


def product_type(device_type: str, dtype: torch.dtype) -> torch.dtype:
    """``dtype``, or float32 where 16 bit are emulated: on a CPU without instructions for them that is three times
    faster, and more exact.
    """
    if device_type != "cpu" or dtype.itemsize != 2:
        return dtype
    return dtype if _is_bf16_native() and dtype == torch.bfloat16 else torch.float32


def _is_bf16_native() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
