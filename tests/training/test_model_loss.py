"""The packed loss: equal to the documents' own losses, their gradients, whatever the path; one compilation."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, Gemma2Config, GraniteConfig, LlamaConfig

from tests.training.test_attention import CPU, CUDA, GROUPED, gpu, packed_batch
from training.attention import offered_paths, use_attention
from training.model_loss import LossError, PackedLoss, target_rows, verify_loss


def labels_of(input_ids, pieces):
    """The next token inside each piece, but for the last piece of a sequence, which plays the padding."""
    labels = torch.full_like(input_ids, -100)
    for row, start, end in pieces:
        if end < input_ids.shape[1] or start == 0:
            labels[row, start : end - 1] = input_ids[row, start + 1 : end]
    return labels


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(LlamaConfig(**GROUPED, tie_word_embeddings=True))


@pytest.fixture
def batch():
    input_ids, positions, cu_seqlens, pieces = packed_batch()
    return (input_ids, positions, labels_of(input_ids, pieces), cu_seqlens), pieces


def documents_loss(model, batch, pieces):
    """Sum of the losses of the documents, each alone through the model's own forward, by sequence."""
    input_ids, _, labels, _ = batch
    model.set_attn_implementation("eager")
    by_sequence = [torch.zeros(()) for _ in input_ids]
    for row, start, end in pieces:
        logits = model(input_ids=input_ids[row : row + 1, start:end], use_cache=False).logits[0]
        by_sequence[row] = by_sequence[row] + cross_entropy(logits, labels[row, start:end], reduction="sum")
    return torch.stack(by_sequence)


@pytest.mark.parametrize("path", offered_paths(CPU))
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_losses_and_gradients_equal_those_of_the_documents_alone(batch, path, checkpointing, tied):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**GROUPED, tie_word_embeddings=tied)).train()
    arguments, pieces = batch
    alone = documents_loss(model, arguments, pieces)
    expected = torch.autograd.grad(alone.sum(), list(model.parameters()))
    use_attention(model, path)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    total, by_sequence = PackedLoss(model)(*arguments)
    torch.testing.assert_close(by_sequence, alone.detach(), rtol=1e-5, atol=1e-5)
    assert not by_sequence.requires_grad
    torch.testing.assert_close(total, alone.sum(), rtol=1e-5, atol=1e-5)
    for one, other in zip(torch.autograd.grad(total, list(model.parameters())), expected, strict=True):
        assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max())


def test_rows_known_before_give_the_same(model, batch):
    arguments, _ = batch
    use_attention(model, "documents")
    rows = target_rows(arguments[2])
    assert arguments[2].flatten()[rows].min() >= 0
    found, known = PackedLoss(model)(*arguments), PackedLoss(model)(*arguments, rows=rows)
    assert all(torch.equal(one, other) for one, other in zip(found, known, strict=True))


def test_a_batch_without_targets_costs_nothing_and_still_gives_gradients(model, batch):
    (input_ids, positions, labels, cu_seqlens), _ = batch
    use_attention(model, "documents")
    total, by_sequence = PackedLoss(model)(input_ids, positions, torch.full_like(labels, -100), cu_seqlens)
    total.backward()
    assert float(total) == 0.0
    assert by_sequence.tolist() == [0.0] * len(input_ids)
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


def test_bfloat16_is_near_float32(model, batch):
    arguments, _ = batch
    use_attention(model, "documents")
    exact, _ = PackedLoss(model)(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = PackedLoss(model)(*arguments)
    assert total.dtype == torch.float32
    assert float(total) == pytest.approx(float(exact), rel=1e-2)
    assert float(total) != float(exact)


def test_a_head_that_scales_or_caps_its_logits_is_an_error(model):
    assert verify_loss(model, CPU) <= 1e-5
    for config in (
        GraniteConfig(**GROUPED, logits_scaling=4.0, initializer_range=0.5),
        Gemma2Config(**GROUPED, head_dim=8, final_logit_softcapping=1.0, initializer_range=0.5),
    ):
        with pytest.raises(LossError, match="does more than multiply by a matrix"):
            verify_loss(AutoModelForCausalLM.from_config(config), CPU)


@pytest.mark.slow
@pytest.mark.parametrize("path", offered_paths(CPU))
def test_batches_with_other_pieces_never_compile_again(model, path):
    use_attention(model, path)
    plain, compiled = PackedLoss(model), PackedLoss(model)
    compiled.compile_decoder()
    torch._dynamo.reset()
    width = 12
    with torch._dynamo.config.patch(error_on_recompile=True):
        for lengths in (((20, 44), (64,)), ((1,) * 9 + (55,), (3, 61)), ((64,), (64,)), ((10, 20, 34), (30, 34))):
            input_ids, positions, cu_seqlens, pieces = packed_batch(lengths)
            fixed = torch.full((2, width), 64, dtype=torch.int32)  # what a loader's plan fixes for a stage
            fixed[:, : cu_seqlens.shape[1]] = cu_seqlens
            arguments = (input_ids, positions, labels_of(input_ids, pieces), fixed)
            found = torch.autograd.grad(compiled(*arguments)[0], list(model.parameters()))
            expected = torch.autograd.grad(plain(*arguments)[0], list(model.parameters()))
            for one, other in zip(found, expected, strict=True):
                assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max())


@gpu
def test_a_gpu_trains_compiled_on_each_path(batch):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**GROUPED | {"hidden_size": 256})).to(CUDA)
    arguments = [tensor.to(CUDA) for tensor in batch[0]]
    found = {}
    for path in offered_paths(CUDA, torch.bfloat16):
        use_attention(model, path)
        loss = PackedLoss(model)
        loss.compile_decoder()
        with torch.autocast("cuda", torch.bfloat16):
            total, _ = loss(*arguments)
        found[path] = (float(total), torch.autograd.grad(total, list(model.parameters())))
    for total, gradients in found.values():
        assert total == pytest.approx(found["sdpa"][0], rel=1e-3)
        for one, other in zip(gradients, found["sdpa"][1], strict=True):
            assert float((one - other).norm()) <= 0.05 * float(other.norm())
