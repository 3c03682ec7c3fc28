"""AdamW, its moments, and where they go in a checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_BETAS = (0.9, 0.95)
_EPSILON = 1e-8
MOMENTS = ("exp_avg", "exp_avg_sq")


def adamw(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW; matrices decay, norms and biases do not. The learning rate is set before each step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in parameters if parameter.dim() >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1.0, betas=_BETAS, eps=_EPSILON, fused=True)


def moments(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """``exp_avg.<parameter>`` and ``exp_avg_sq.<parameter>``; zeros before the first step. DTensors stay DTensors.

    Raises ValueError for a parameter that the optimizer does not hold: sharded ones are others while they are gathered.
    """
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter not in held:
            raise ValueError(f"parameter {name} is not the optimizer's")
        state = optimizer.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state |= {moment: torch.zeros_like(parameter, requires_grad=False) for moment in MOMENTS}
        found |= {f"{moment}.{name}": state[moment] for moment in MOMENTS}
    return found


def set_applied_steps(optimizer: torch.optim.AdamW, steps: int) -> None:
    """AdamW corrects its moments by how many steps were applied; the same number for all parameters."""
    for state in optimizer.state.values():
        state["step"] = torch.full_like(state["step"], steps)
