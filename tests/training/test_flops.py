"""Operations of training: against the known figures of SmolLM2-135M and torch's own counter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig

from training.flops import TrainingFlops, peak_tflops

SMOLLM2 = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, tie_word_embeddings=True,
)  # fmt: skip


def offsets(*rows):
    return np.array(rows, np.int32)


@pytest.mark.parametrize(("tokens", "gflops"), [(1024, 0.913), (2048, 1.019), (4096, 1.232)])
def test_smollm2_costs_what_is_known_per_token(tokens, gflops):
    assert TrainingFlops.of(SMOLLM2)(offsets([0, tokens, tokens])) / tokens == pytest.approx(gflops * 1e9, rel=1e-3)


def test_short_documents_cost_less_attention_and_only_targets_cost_the_head():
    flops = TrainingFlops.of(SMOLLM2)
    whole, halves = flops(offsets([0, 2048, 2048])), flops(offsets([0, 1024, 2048]))
    attention = 6 * 30 * 576 * 2048**2
    assert whole - halves == attention / 2
    head = 6 * 49152 * 576 * 2048
    assert TrainingFlops.of(SMOLLM2)(offsets([0, 2048, 2048]), target_tokens=0) == whole - head
    two = offsets([0, 1024, 2048, 2048], [0, 2048, 2048, 2048])
    assert TrainingFlops.of(SMOLLM2)(two) == whole + halves


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(
            vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, tie_word_embeddings=False,
        ),
        GPTNeoXConfig(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4),
    ],
)  # fmt: skip
def test_the_count_equals_that_of_torch(config):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.zeros(1, 40, dtype=torch.int64)).logits.sum().backward()
    # torch counts both halves of the attention matrix
    width = config.num_attention_heads * getattr(config, "head_dim", 8)
    other_half = 6 * config.num_hidden_layers * width * 40**2
    assert TrainingFlops.of(config)(offsets([0, 40])) + other_half == counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "bf16", "fp32"),
    [
        ("NVIDIA H200", 989, 67),
        ("NVIDIA H100 80GB HBM3", 989, 67),
        ("NVIDIA H100 PCIe", 756, 51),
        ("NVIDIA A100-SXM4-80GB", 312, 19.5),
        ("NVIDIA L40S", 362, 91.6),
        ("NVIDIA L4", 121, 30.3),
        ("NVIDIA B200", 2250, None),
        ("NVIDIA A10G", None, None),  # not the A10's
        ("cpu", None, None),
    ],
)
def test_peaks_of_known_devices(name, bf16, fp32):
    assert (peak_tflops(name, "bf16"), peak_tflops(name, "fp32")) == (bf16, fp32)
