"""Weights, moments and random states through a folder: one process, two ranks, and from one to two."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.optimizer import adamw, moments
from training.training_state import load_training_state, save_training_state, state_bytes


def model_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5), nn.Dropout(0.5), nn.Linear(5, 3))


def train(model: nn.Module, optimizer: torch.optim.AdamW, steps: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    for _ in range(steps):
        model(torch.rand(4, 7)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_what_goes_on_from_a_folder_equals_what_went_on(tmp_path):
    model = model_of(0)
    optimizer = adamw(model, 0.1)
    train(model, optimizer, 3)
    save_training_state(tmp_path, model, optimizer, rank=0)
    train(model, optimizer, 3)
    other = model_of(1)
    other_optimizer = adamw(other, 0.1)
    load_training_state(tmp_path, other, other_optimizer, rank=0, applied_steps=3)
    train(other, other_optimizer, 3)
    for (name, one), (_, two) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(one, two), name
    one, two = moments(model, optimizer), moments(other, other_optimizer)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_nothing_in_the_folder_is_pickled(tmp_path):
    model = model_of(0)
    save_training_state(tmp_path, model, adamw(model, 0.1), rank=0)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors"}


def test_the_size_on_disk_is_known_before(tmp_path):
    model = nn.Linear(1000, 1000)
    save_training_state(tmp_path, model, adamw(model, 0.1), rank=0)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert state_bytes(model) <= written <= state_bytes(model) * 1.01


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    model = model_of(0)
    (tmp_path / "tensors").write_text("a file stands where the folder should be")
    with pytest.raises(OSError, match="tensors"):
        save_training_state(tmp_path, model, adamw(model, 0.1), rank=0)


def test_norms_and_biases_do_not_decay():
    optimizer = adamw(model_of(0), 0.1)
    decays = {
        group["weight_decay"]: [parameter.dim() for parameter in group["params"]] for group in optimizer.param_groups
    }
    assert decays == {0.1: [2, 2], 0.0: [1, 1, 1, 1]}
