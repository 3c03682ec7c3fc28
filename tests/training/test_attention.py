"""Isolation of packed documents: every path against each document alone, leaks that must be found, and the errors."""

from __future__ import annotations

import inspect
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from training import attention
from training.attention import (
    AttentionError,
    choose_attention,
    measure_isolation,
    offered_paths,
    packed_arguments,
    use_attention,
    verify_isolation,
)
from training.base_model import load_model
from training.document_attention import document_attention

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
SIZE = {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip
GROUPED = SIZE | {"num_key_value_heads": 2}
ARCHITECTURES = {
    "llama": LlamaConfig(**GROUPED),
    "qwen2": Qwen2Config(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED, head_dim=16),
    "gpt_neox": GPTNeoXConfig(**SIZE),
    "mistral": MistralConfig(**GROUPED, sliding_window=40),
}
# Pieces of three sequences; the last of each plays the padding
LENGTHS = ((5, 1, 30, 1, 11, 16), (64,), (1, 62, 1))
TOKENS = 64
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def model_of(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def packed_batch(lengths=LENGTHS, tokens=TOKENS):
    """input_ids, position_ids, cu_seqlens, and the pieces as (sequence, start, end)."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(3, 128, (len(lengths), tokens), generator=generator)
    positions = torch.stack([torch.cat([torch.arange(length) for length in row]) for row in lengths])
    ends = [torch.tensor(row).cumsum(0).tolist() for row in lengths]
    width = max(map(len, ends)) + 1
    cu_seqlens = torch.tensor([[0, *row] + [tokens] * (width - 1 - len(row)) for row in ends], dtype=torch.int32)
    pieces = [(number, start, end) for number, row in enumerate(ends) for start, end in pairwise([0, *row])]
    return input_ids, positions, cu_seqlens, pieces


def packed_logits(model, path, input_ids, positions, cu_seqlens):
    use_attention(model, path)
    packed = packed_arguments(model, cu_seqlens)
    return model(input_ids=input_ids, position_ids=positions, use_cache=False, **packed).logits


def alone_logits(model, input_ids, pieces):
    model.set_attn_implementation("eager")
    return [model(input_ids=input_ids[row : row + 1, start:end]).logits[0] for row, start, end in pieces]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("path", offered_paths(CPU))
def test_packed_logits_and_gradients_equal_those_of_each_document_alone(architecture, path):
    model = model_of(ARCHITECTURES[architecture])
    input_ids, positions, cu_seqlens, pieces = packed_batch()
    packed = packed_logits(model, path, input_ids, positions, cu_seqlens)
    parameters = list(model.parameters())
    of_packed = torch.autograd.grad(packed.square().sum(), parameters)
    alone = alone_logits(model, input_ids, pieces)
    of_alone = torch.autograd.grad(sum(logits.square().sum() for logits in alone), parameters)
    greatest = max(float(logits.detach().abs().max()) for logits in alone)
    for (row, start, end), logits in zip(pieces, alone, strict=True):
        assert float((packed[row, start:end] - logits).detach().abs().max()) <= 1e-5 * greatest
    for one, other in zip(of_packed, of_alone, strict=True):
        assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max())


@gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_every_path_of_a_gpu_keeps_documents_apart(dtype):
    model = model_of(LlamaConfig(**GROUPED | {"hidden_size": 256})).to(CUDA)
    for path in offered_paths(CUDA, dtype):
        verify_isolation(model, path, CUDA, dtype)
    assert ("varlen" in offered_paths(CUDA, dtype)) == (dtype == torch.bfloat16)


@gpu
def test_varlen_gradients_on_a_gpu_equal_those_of_sdpa():
    model = model_of(LlamaConfig(**GROUPED | {"hidden_size": 256})).to(CUDA)
    batch = [tensor.to(CUDA) for tensor in packed_batch()[:3]]
    found = {}
    for path in ("varlen", "sdpa"):
        with torch.autocast("cuda", torch.bfloat16):
            logits = packed_logits(model, path, *batch)
        found[path] = torch.autograd.grad(logits.float().square().sum(), list(model.parameters()))
    for one, other in zip(found["varlen"], found["sdpa"], strict=True):
        assert float((one - other).norm()) <= 0.05 * float(other.norm())


@pytest.mark.slow
def test_flex_attention_keeps_documents_apart():
    assert verify_isolation(model_of(ARCHITECTURES["llama"]), "flex", CPU, torch.float32) <= 1e-5


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_check_passes_and_leaves_the_model_as_it_was(architecture, dtype):
    model = model_of(ARCHITECTURES[architecture]).train()
    before = model.config._attn_implementation
    lines = []
    assert choose_attention(model, "auto", CPU, lines.append, dtype) == "documents"
    assert model.config._attn_implementation != before
    assert model.training
    assert lines[0].startswith("attention: documents keeps documents apart")
    assert "packed" not in model.config.to_json_string()  # an export is read where our paths are unknown
    use_attention(model, "sdpa")
    verify_isolation(model, "documents", CPU, dtype)
    assert model.config._attn_implementation == "sdpa"


def _leaking(module, query, key, value, attention_mask, scaling=None, **_):
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling).transpose(1, 2), None


def _too_narrow(module, query, key, value, attention_mask, **_):
    """No leak: each token sees itself alone."""
    return value.repeat_interleave(query.shape[1] // key.shape[1], 1).transpose(1, 2), None


@pytest.mark.parametrize("wrong", [_leaking, _too_narrow])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_path_that_leaks_or_sees_too_little_is_found(monkeypatch, wrong, dtype):
    ALL_ATTENTION_FUNCTIONS.register("wrong", wrong)
    monkeypatch.setitem(attention._IMPLEMENTATION, "documents", "wrong")
    model = model_of(ARCHITECTURES["llama"])
    torch.nn.init.normal_(model.lm_head.weight, std=1.0)
    for layer in model.model.layers:  # random weights of transformers' size hardly attend to anything
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj, layer.self_attn.o_proj):
            torch.nn.init.normal_(part.weight, std=0.3)
    with pytest.raises(AttentionError, match=r"documents on cpu in .* does not keep documents apart.*offered: sdpa"):
        choose_attention(model, "documents", CPU, print, dtype)
    found = measure_isolation(model, "documents", CPU, dtype)
    assert (found.leak > 1e-3) == (wrong is _leaking)
    lines = []
    assert choose_attention(model, "auto", CPU, lines.append, dtype) == "sdpa"
    assert len(lines) == 2


def _leaking_past_first_tokens(share, sent_by):
    """Some of the mean of what the tokens ``sent_by`` of a sequence hold comes to every token but the first ones of
    pieces."""

    def attend(module, query, key, value, attention_mask, cu_seqlens=None, **others):
        found, weights = attention._documents(
            module, query, key, value, attention_mask, cu_seqlens=cu_seqlens, **others
        )
        sequences, heads, tokens, _ = query.shape
        receives = torch.ones(sequences * tokens)
        receives[cu_seqlens[cu_seqlens < sequences * tokens].long()] = 0.0
        mean = value[:, :, sent_by].float().mean(2).repeat_interleave(heads // value.shape[1], 1)[:, None]
        return found + (share * receives.view(sequences, tokens, 1, 1) * mean).to(found.dtype), weights

    return attend


@pytest.mark.parametrize(
    ("share", "sent_by"),
    [(0.1, slice(None)), (0.005, slice(0, 1)), (0.005, slice(-1, None))],
    ids=["all", "first", "last"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_leak_too_small_to_see_beside_rounding_is_found_in_any_piece(monkeypatch, dtype, share, sent_by):
    ALL_ATTENTION_FUNCTIONS.register("wrong", _leaking_past_first_tokens(share, sent_by))
    monkeypatch.setitem(attention._IMPLEMENTATION, "documents", "wrong")
    model = model_of(ARCHITECTURES["llama"])
    found = measure_isolation(model, "documents", CPU, dtype)
    assert found.difference < 5e-2  # what bfloat16 is allowed
    assert found.leak > 1e-5
    with pytest.raises(AttentionError, match="does not keep documents apart"):
        verify_isolation(model, "documents", CPU, dtype)


def test_a_window_is_checked_beyond_its_end_or_said_to_be_unchecked(monkeypatch):
    def without_window(*arguments, sliding_window=None, **others):
        return attention._documents(*arguments, **others)

    ALL_ATTENTION_FUNCTIONS.register("wrong", without_window)
    lines: list[str] = []
    for window in (300, 1500):
        config = MistralConfig(**GROUPED | {"max_position_embeddings": 4096}, sliding_window=window)
        model = model_of(config)
        for path in offered_paths(CPU):
            choose_attention(model, path, CPU, lines.append, torch.float32)
        with monkeypatch.context() as patched:
            patched.setitem(attention._IMPLEMENTATION, "documents", "wrong")
            if window == 300:
                with pytest.raises(AttentionError, match="does not keep documents apart"):
                    verify_isolation(model, "documents", CPU, torch.float32)
            else:
                verify_isolation(model, "documents", CPU, torch.float32)
    assert ["not verified: its window of 1,500 tokens" in line for line in lines] == [False, False, True, True]


def test_an_all_ones_mask_which_makes_transformers_leak_is_found(monkeypatch):
    model = model_of(ARCHITECTURES["llama"])
    forward = model.forward

    def with_mask(*, input_ids, attention_mask=None, **others):
        return forward(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), **others)

    verify_isolation(model, "sdpa", CPU, torch.float32)
    monkeypatch.setattr(model, "forward", with_mask)
    with pytest.raises(AttentionError, match="sdpa on cpu in float32 does not keep documents apart"):
        verify_isolation(model, "sdpa", CPU, torch.float32)


def test_what_a_path_lacks_is_an_error_and_auto_goes_on():
    gemma = model_of(Gemma2Config(**GROUPED, head_dim=8))
    with pytest.raises(AttentionError, match="does not support softcap"):
        choose_attention(gemma, "documents", CPU, print, torch.float32)
    with pytest.raises(AttentionError, match=r"softcap.*;.*sdpa on cpu"):  # neither path can
        choose_attention(gemma, "auto", CPU, print, torch.float32)
    dropout = model_of(GPT2Config(vocab_size=128, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=1))
    with pytest.raises(AttentionError, match="sets attn_pdrop"):
        verify_isolation(dropout, "documents", CPU, torch.float32)
    assert choose_attention(dropout, "auto", CPU, print, torch.float32) == "sdpa"


def test_paths_that_are_not_offered_or_known_are_errors():
    model = model_of(ARCHITECTURES["llama"])
    with pytest.raises(AttentionError, match="varlen is not offered on cpu in float32; offered: documents, sdpa"):
        choose_attention(model, "varlen", CPU, print, torch.float32)
    with pytest.raises(AttentionError, match="known: varlen, flex, sdpa, documents"):
        use_attention(model, "fast")


def test_a_batch_without_piece_offsets_is_an_error_not_a_leak(tiny_model):
    model = load_model(tiny_model)
    use_attention(model, "documents")
    with pytest.raises(AttentionError, match="needs cu_seqlens, which LlamaAttention was not given"):
        model(input_ids=torch.arange(8)[None], use_cache=False)


def test_offsets_of_a_batch_become_one_rising_vector_of_fixed_length():
    model = model_of(ARCHITECTURES["llama"])
    use_attention(model, "documents")
    cu_seqlens = packed_batch()[2]
    (flat,) = packed_arguments(model, cu_seqlens).values()
    assert flat.dtype == torch.int32
    assert flat.tolist() == [0, 5, 6, 36, 37, 48, 64, *[128] * 6, 129, 191, 192, 192, 192, 192]
    use_attention(model, "sdpa")
    assert packed_arguments(model, cu_seqlens) == {}


# torch's kernel exists on CUDA only. What we hand to it is checked against a plain one under each signature it had.


def _plain_varlen(query, key, value, cu_seq_q, max_q, scale, window):
    assert query.shape[1] == key.shape[1]
    assert int(cu_seq_q.diff().max()) <= max_q
    parts = []
    for start, end in pairwise(cu_seq_q.tolist()):
        seen = torch.ones(end - start, end - start, dtype=torch.bool).tril()
        seen = seen if window < 0 else seen.triu(-window)
        states = (state[start:end].transpose(0, 1) for state in (query, key, value))
        parts.append(scaled_dot_product_attention(*states, attn_mask=seen, scale=scale).transpose(0, 1))
    return torch.cat(parts)


def _varlen_2_10(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None):
    assert is_causal
    return _plain_varlen(query, key, value, cu_seq_q, max_q, query.shape[-1] ** -0.5, -1)


def _varlen_2_11(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None, window_size=(-1, -1)
):
    assert window_size[1] == 0
    return _plain_varlen(query, key, value, cu_seq_q, max_q, scale, window_size[0])


def _varlen_2_12(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False
):
    assert enable_gqa
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return _varlen_2_11(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size)


@pytest.mark.parametrize("kernel", [_varlen_2_10, _varlen_2_11, _varlen_2_12])
@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_varlen_is_called_as_each_version_of_torch_wants(monkeypatch, kernel, architecture):
    monkeypatch.setattr(attention, "varlen_attn", kernel)
    monkeypatch.setattr(attention, "_VARLEN_ARGUMENTS", frozenset(inspect.signature(kernel).parameters))
    model = model_of(ARCHITECTURES[architecture])
    check = partial(verify_isolation, model, "varlen", CPU, torch.float32)
    if kernel is _varlen_2_10 and architecture == "mistral":
        with pytest.raises(AttentionError, match="has no sliding window"):
            check()
    else:
        assert check() <= 1e-5


# The operator by itself


@st.composite
def attention_inputs(draw):
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(sum))
    groups, shared, width = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 4]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    shapes = ((sum(lengths), heads, width) for heads in (groups * shared, groups, groups))
    states = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    return states, torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32), draw(st.integers(1, 12))


@given(attention_inputs())
@settings(max_examples=60, deadline=None)
def test_the_operator_equals_plain_attention_of_each_piece_with_its_gradients(inputs):
    states, cu_seqlens, window = inputs
    states = [state.requires_grad_() for state in states]
    ours = document_attention(*states, cu_seqlens, scale=0.7, window=window)
    groups = states[0].shape[1] // states[1].shape[1]
    whole = [states[0], *(state.repeat_interleave(groups, 1) for state in states[1:])]
    plain = _plain_varlen(*whole, cu_seqlens, len(states[0]), 0.7, window - 1)
    torch.testing.assert_close(ours, plain)
    upstream = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(0))
    for one, other in zip(
        torch.autograd.grad(ours, states, upstream), torch.autograd.grad(plain, states, upstream), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_the_operator_keeps_the_rules_of_custom_operators():
    states = [torch.randn(12, heads, 4, requires_grad=True) for heads in (4, 2, 2)]
    arguments = (*states, torch.tensor([0, 5, 5, 12], dtype=torch.int32), 0.5, 3)
    torch.library.opcheck(torch.ops.forge.document_attention.default, arguments)
