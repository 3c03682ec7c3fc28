"""Continuations that share their context score as they do alone; models that cannot share are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MambaConfig, MambaForCausalLM

from training.base_model import load_model
from training.evaluation.scoring import (
    Continuation,
    read_prefix,
    shared_length,
    shares_contexts,
    token_nats,
    tree_nats,
)

TOKENS = st.lists(st.integers(0, 30), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return load_model(tiny_model).eval()


@st.composite
def trees(draw: st.DrawFn) -> list[list[Continuation]]:
    """Items whose continuations share a context, part of one, or nothing."""
    items = []
    for _ in range(draw(st.integers(1, 3))):
        context = draw(TOKENS)
        item = []
        for _ in range(draw(st.integers(1, 4))):
            own, scored = draw(st.lists(st.integers(0, 30), max_size=3)), draw(TOKENS)
            item.append(Continuation((*context, *own, *scored), len(context) + len(own)))
        items.append(item)
    return items


def alone(model: Any, item: list[Continuation]) -> list[tuple[float, ...]]:
    return [token_nats(model, text.tokens[: text.start], text.tokens[text.start :]) for text in item]


def assert_close(found: list[tuple[float, ...]], expected: list[tuple[float, ...]]) -> None:
    assert [len(nats) for nats in found] == [len(nats) for nats in expected]
    torch.testing.assert_close(torch.tensor(sum(found, ())), torch.tensor(sum(expected, ())), atol=2e-5, rtol=0)


@settings(max_examples=12, deadline=None)
@given(items=trees())
def test_a_tree_scores_what_its_texts_score_alone(model: Any, items: list[list[Continuation]]) -> None:
    for found, item in zip(tree_nats(model, items), items, strict=True):
        assert_close(found, alone(model, item))


@settings(max_examples=8, deadline=None)
@given(items=trees(), examples=st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_a_prefix_that_was_read_before_changes_nothing(
    model: Any, items: list[list[Continuation]], examples: list[int]
) -> None:
    prefix = read_prefix(model, examples)
    longer = [[Continuation((*examples, *text.tokens), len(examples) + text.start) for text in item] for item in items]
    before = [keys.clone() for keys, _ in prefix.layers]
    for found, item in zip(tree_nats(model, longer, prefix), longer, strict=True):
        assert_close(found, alone(model, item))
    assert all(torch.equal(keys, kept) for (keys, _), kept in zip(prefix.layers, before, strict=True))


def test_an_item_alone_gives_the_same_bits_whatever_was_measured_before(model: Any) -> None:
    item = [Continuation((5, 6, 7, 8), 3), Continuation((5, 6, 7, 9, 10), 3)]
    first = tree_nats(model, [item])
    tree_nats(model, [[Continuation((1, 2, 3, 4, 5, 6), 2)]] * 3)
    assert tree_nats(model, [item]) == first


def test_options_of_one_token_are_read_off_one_forward_pass(model: Any) -> None:
    read = []
    handle = model.get_decoder().register_forward_pre_hook(
        lambda _module, _arguments, keywords: read.append(keywords["input_ids"].shape), with_kwargs=True
    )
    tree_nats(model, [[Continuation((1, 2, 3, option), 3) for option in (4, 5, 6, 7)]])
    handle.remove()
    assert read == [(1, 3)]


def test_what_cannot_be_scored_is_refused(model: Any) -> None:
    for start in (0, 2, 3):
        with pytest.raises(ValueError, match="a context and something to score"):
            Continuation((1, 2), start)
    with pytest.raises(ValueError, match="the prefix leaves nothing"):
        tree_nats(model, [[Continuation((1, 2, 3), 2)]], read_prefix(model, (1, 2)))


def test_cutting_from_the_left_keeps_what_is_scored() -> None:
    text = Continuation(tuple(range(10)), 7)
    assert text.last(20) == text
    assert text.last(5) == Continuation((5, 6, 7, 8, 9), 2)
    assert text.last(2) == Continuation((8, 9), 1)


def test_shared_length() -> None:
    assert shared_length([(1, 2, 3), (1, 2), (1, 2, 4)]) == 2
    assert shared_length(["abc", "abd"]) == 2
    assert shared_length([(1,), (2,)]) == 0


def test_a_llama_shares_contexts_also_in_16_bit(model: Any, tiny_model: Path) -> None:
    assert shares_contexts(model)
    assert shares_contexts(load_model(tiny_model).to(torch.bfloat16).eval())


def test_a_model_without_attention_does_not_share_contexts() -> None:
    torch.manual_seed(0)
    state_space = MambaConfig(
        vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=1, intermediate_size=32, time_step_rank=2
    )
    assert not shares_contexts(MambaForCausalLM(state_space).eval())


def test_a_model_whose_attention_ignores_masks_does_not_share_contexts(tiny_model: Path) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def causal_only(module: Any, query: Any, key: Any, value: Any, _mask: Any, **keywords: Any) -> Any:
        plain = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return plain(module, query, key, value, None, **keywords)

    ALL_ATTENTION_FUNCTIONS.register("causal_only", causal_only)
    ignorant = load_model(tiny_model).eval()
    ignorant.set_attn_implementation("causal_only")
    assert not shares_contexts(ignorant)
