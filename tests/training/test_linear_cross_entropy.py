"""Cross entropy in chunks: equal to torch's on all logits at once, with less memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode

from training.linear_cross_entropy import linear_cross_entropy


def inputs(rows, width, vocabulary, *, dtype=torch.float32, bias=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden, weight, biases = (
        torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()
        for shape in ((rows, width), (vocabulary, width), (vocabulary,))
    )
    return hidden, weight, torch.randint(vocabulary, (rows,), generator=generator), biases if bias else None


@given(st.integers(0, 12), st.integers(1, 5), st.integers(1, 9), st.booleans(), st.integers(1, 14), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_equals_cross_entropy_of_all_logits_whatever_the_chunks(rows, width, vocabulary, bias, chunk_rows, seed):
    hidden, weight, targets, biases = inputs(rows, width, vocabulary, dtype=torch.float64, bias=bias, seed=seed)
    total, nats = linear_cross_entropy(hidden, weight, targets, biases, chunk_rows=chunk_rows)
    expected = cross_entropy(linear(hidden, weight, biases), targets, reduction="none")
    torch.testing.assert_close(nats, expected.detach())
    torch.testing.assert_close(total, expected.sum())
    assert not nats.requires_grad
    wanted = [hidden, weight] + ([biases] if bias else [])
    for one, other in zip(
        torch.autograd.grad(total * 0.3, wanted), torch.autograd.grad(expected.sum() * 0.3, wanted), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_gradients_are_those_of_finite_differences():
    *states, targets, bias = inputs(5, 3, 7, dtype=torch.float64)
    states.append(bias)
    directions = [torch.randn(state.shape, dtype=state.dtype) for state in states]

    def total(step):
        moved = [state + step * direction for state, direction in zip(states, directions, strict=True)]
        return linear_cross_entropy(moved[0], moved[1], targets, moved[2], chunk_rows=2)[0]

    slope = (total(1e-5) - total(-1e-5)) / 2e-5
    gradients = torch.autograd.grad(total(0), states)
    expected = sum((one * other).sum() for one, other in zip(gradients, directions, strict=True))
    torch.testing.assert_close(slope, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_needs_no_gradient_gets_none(frozen):
    states = inputs(6, 4, 9)
    states[frozen].requires_grad_(False)
    total, _ = linear_cross_entropy(*states, chunk_rows=4)
    total.backward()
    assert states[frozen].grad is None
    assert states[1 - frozen].grad is not None


class _Sizes(TorchDispatchMode):
    """Remembers the operators that ran and the largest tensor that any of them gave."""

    def __init__(self):
        super().__init__()
        self.largest, self.products = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.products += function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        if isinstance(result, torch.Tensor) and result.untyped_storage().nbytes():
            self.largest = max(self.largest, result.untyped_storage().nbytes())
        return result


def test_no_tensor_is_larger_than_a_chunk_or_the_weight():
    hidden, weight, targets, _ = inputs(256, 8, 512)
    with _Sizes() as sizes:
        linear_cross_entropy(hidden, weight, targets, chunk_rows=4)[0].backward()
    assert sizes.largest == weight.numel() * 4
    assert sizes.products == 3 * 64


def test_without_gradients_only_the_logits_are_computed():
    hidden, weight, targets, _ = inputs(16, 8, 32)
    with torch.no_grad(), _Sizes() as sizes:
        total, _ = linear_cross_entropy(hidden, weight, targets, chunk_rows=4)
    assert sizes.products == 4
    assert not total.requires_grad
    torch.testing.assert_close(total, cross_entropy(linear(hidden, weight), targets, reduction="sum").detach())


@pytest.mark.parametrize("is_native", [True, False])
def test_under_autocast_the_products_are_16_bit_where_the_device_has_them(monkeypatch, is_native):
    monkeypatch.setattr("training.precision._is_bf16_native", lambda: is_native)
    hidden, weight, targets, bias = inputs(64, 32, 128)
    with torch.autocast("cpu", torch.bfloat16):
        total, nats = linear_cross_entropy(hidden, weight, targets, bias, chunk_rows=16)
    exact = cross_entropy(linear(hidden, weight, bias), targets, reduction="none")
    gradients = torch.autograd.grad(total, (hidden, weight, bias))
    expected = torch.autograd.grad(exact.sum(), (hidden, weight, bias))
    assert nats.dtype == torch.float32
    assert all(one.dtype == torch.float32 for one in gradients)
    difference = max(float((one - other).norm() / other.norm()) for one, other in zip(gradients, expected, strict=True))
    assert difference < (0.05 if is_native else 1e-5)
    assert (difference > 1e-5) == is_native
    torch.testing.assert_close(nats, exact.detach(), atol=0.2 if is_native else 1e-5, rtol=0.02 if is_native else 1e-5)


def test_a_second_backward_is_refused():
    total, _ = linear_cross_entropy(*inputs(3, 2, 4))
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.slow
def test_compiled_parts_give_the_same_without_compiling_twice():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for rows in (10, 4, 3, 8, 1):
            hidden, weight, targets, bias = inputs(rows, 6, 17, seed=rows)
            total, nats = linear_cross_entropy(hidden, weight, targets, bias, chunk_rows=4, compiled=True)
            plain, plain_nats = linear_cross_entropy(hidden, weight, targets, bias, chunk_rows=4)
            torch.testing.assert_close(nats, plain_nats)
            for one, other in zip(
                torch.autograd.grad(total, (hidden, weight, bias)),
                torch.autograd.grad(plain, (hidden, weight, bias)),
                strict=True,
            ):
                torch.testing.assert_close(one, other)


class _Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 9, bias=False)

    def forward(self, states, targets):
        return linear_cross_entropy(self.body(states), self.head.weight, targets)[0]


def test_a_sharded_head_is_whole_inside_the_forward_pass_of_its_root(tmp_path: Path):
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    plain, sharded = _Head(), _Head()
    sharded.load_state_dict(plain.state_dict())
    states, targets = torch.randn(6, 4), torch.randint(9, (6,))
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        fully_shard(sharded)
        with pytest.raises(TypeError, match="whole weight"):
            linear_cross_entropy(states, sharded.head.weight, targets)
        total = sharded(states, targets)
        total.backward()
        gradients = {name: parameter.grad.full_tensor() for name, parameter in sharded.named_parameters()}
    finally:
        torch.distributed.destroy_process_group()
    plain(states, targets).backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)
