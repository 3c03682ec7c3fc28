"""Answers of a local model: equal over batch sizes and orders, those of transformers, bounded by the context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
)

from forge.artifacts import artifact_path
from forge.config import load_settings
from training.base_model import base_model_of, load_model, load_tokenizer
from training.chat import prompt_ids
from training.evaluation import decoding
from training.evaluation.decoder_model import LlamaDecoder, is_understood
from training.evaluation.decoding import GreedyDecoder
from training.evaluation.subject import Conversation

WORDS = ("create", "delete", "list", "get", "put", "user", "group", "bucket", "key", "value", "name", "region", "size")
SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip


def conversation(numbers: Sequence[int]) -> Conversation:
    return Conversation([], [{"role": "user", "content": " ".join(WORDS[number % len(WORDS)] for number in numbers)}])


CONVERSATIONS = [conversation(range(number, number + 1 + 5 * number % 83)) for number in range(16)]


def answers(
    model: Any, tokenizer: Any, asked: Sequence[Conversation], batch_items: int, max_new_tokens: int = 12
) -> list[str]:
    found = list(GreedyDecoder(model, tokenizer, batch_items).answers(asked, max_new_tokens=max_new_tokens))
    assert sorted(place for place, _ in found) == list(range(len(asked)))
    return [text for _, text in sorted(found)]


def generated(model: Any, tokenizer: Any, asked: Conversation, max_new_tokens: int = 12) -> str:
    """What transformers answers to one conversation."""
    prompt = prompt_ids(tokenizer, asked.tools, asked.messages)
    ends = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=tokenizer.eos_token_id, pad_token_id=0
    )
    written = model.generate(torch.tensor([prompt]), generation_config=ends)[0, len(prompt) :].tolist()
    return str(tokenizer.decode([token for token in written if token != tokenizer.eos_token_id]))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products wait longer for a second thread than they take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_model)


def random_model(configuration: Any, tokenizer: Any, spread: float = 0.3) -> Any:
    """A model whose answers are not all the same: weights that are far apart, and an end that is not too rare."""
    configuration.vocab_size = len(tokenizer)
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(configuration, dtype=torch.float32, attn_implementation="sdpa").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, spread) if parameter.dim() > 1 else parameter.add_(
                torch.randn_like(parameter), alpha=0.05
            )
    return model


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    return random_model(LlamaConfig(**SHAPE, tie_word_embeddings=True), tokenizer)


@pytest.fixture(scope="module")
def wavering_model(tokenizer: Any) -> Any:
    """Each token has a twin of the same logit up to rounding: which one is greater hangs on the shapes computed."""
    model = random_model(LlamaConfig(**SHAPE, tie_word_embeddings=False), tokenizer)
    with torch.no_grad():
        weight = model.lm_head.weight
        half = len(weight) // 2
        weight[half : 2 * half] = weight[:half] * (1 + 1e-7 * torch.randn(half, SHAPE["hidden_size"]))
    return model


@settings(max_examples=6, deadline=None)
@given(st.permutations(range(16)), st.integers(1, 16), st.sampled_from([1, 2, 3, 8, 32]))
def test_an_answer_does_not_depend_on_what_else_is_asked(
    wavering_model: Any, tokenizer: Any, order: list[int], count: int, batch_items: int
) -> None:
    one_by_one = _one_by_one(wavering_model, tokenizer)
    chosen = order[:count]
    found = answers(wavering_model, tokenizer, [CONVERSATIONS[place] for place in chosen], batch_items)
    assert found == [one_by_one[place] for place in chosen]


_known: dict[int, list[str]] = {}


def _one_by_one(model: Any, tokenizer: Any) -> list[str]:
    if id(model) not in _known:
        _known[id(model)] = [answers(model, tokenizer, [asked], 1)[0] for asked in CONVERSATIONS]
    return _known[id(model)]


def test_rounding_would_decide_without_the_rule_for_ties(
    wavering_model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the test above can fail."""
    monkeypatch.setattr(decoding, "TIE_MARGINS", dict.fromkeys(decoding.TIE_MARGINS, -1.0))
    found = [answers(wavering_model, tokenizer, CONVERSATIONS, batch_items) for batch_items in (1, 3, 8, 32)]
    assert any(texts != found[0] for texts in found[1:])


@pytest.mark.parametrize(
    "configuration",
    [
        LlamaConfig(**SHAPE, tie_word_embeddings=True),
        LlamaConfig(**SHAPE, attention_bias=True, tie_word_embeddings=False),
        LlamaConfig(**SHAPE, head_dim=16, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
        MistralConfig(**SHAPE, sliding_window=None),
        Qwen2Config(**SHAPE, use_sliding_window=False),
    ],
    ids=["llama", "llama with biases", "llama, stretched", "mistral", "qwen 2"],
)
def test_logits_and_answers_are_those_of_transformers(configuration: Any, tokenizer: Any) -> None:
    model = random_model(configuration, tokenizer)
    assert is_understood(model)
    ids = list(range(5, 95))
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1]
    assert torch.allclose(LlamaDecoder(model).prefill([ids])[0], expected, atol=2e-5, rtol=1e-5)
    expected_answers = [generated(model, tokenizer, asked) for asked in CONVERSATIONS]
    assert len(set(expected_answers)) > 5
    assert answers(model, tokenizer, CONVERSATIONS, 5) == expected_answers


@pytest.mark.parametrize(
    "configuration",
    [
        GPTNeoXConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4),
        LlamaConfig(**SHAPE, hidden_act="gelu"),
        LlamaConfig(**SHAPE, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
        MistralConfig(**SHAPE, sliding_window=16),
    ],
    ids=["another architecture", "another activation", "rotary table by length", "sliding window"],
)
def test_what_is_not_understood_answers_alone(configuration: Any, tokenizer: Any) -> None:
    model = random_model(configuration, tokenizer)
    assert not is_understood(model)
    assert answers(model, tokenizer, CONVERSATIONS[:6], 4) == [
        generated(model, tokenizer, asked) for asked in CONVERSATIONS[:6]
    ]


def test_small_caches_and_prefills_change_nothing(model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(model, tokenizer, CONVERSATIONS, 8)
    monkeypatch.setattr(
        decoding, "CACHE_BYTES", 256 * LlamaDecoder(model).slot_bytes
    )  # one row for the longest, more for the others
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", 100)
    assert answers(model, tokenizer, CONVERSATIONS, 8) == expected


def test_the_context_bounds_prompt_and_answer(tokenizer: Any) -> None:
    shape = LlamaConfig(**{**SHAPE, "max_position_embeddings": 96}, tie_word_embeddings=False)
    asked = [conversation(range(count)) for count in (3, 100, 4)]
    room = 96 - len(prompt_ids(tokenizer, asked[0].tools, asked[0].messages))
    endless = random_model(shape, tokenizer)
    with torch.no_grad():
        endless.lm_head.weight[tokenizer.eos_token_id] = 0.0  # never the greatest logit
    first, none, _ = answers(endless, tokenizer, asked, 4, max_new_tokens=2_000)
    assert none == ""
    assert first == generated(endless, tokenizer, asked[0], max_new_tokens=room)
    assert first != generated(endless, tokenizer, asked[0], max_new_tokens=room - 1)


def test_a_message_that_cannot_be_rendered_is_answered_with_nothing(model: Any, tokenizer: Any) -> None:
    reserved = Conversation([], [{"role": "user", "content": "\ufdd0"}])
    found = answers(model, tokenizer, [reserved, CONVERSATIONS[1]], 2)
    assert found == ["", *answers(model, tokenizer, [CONVERSATIONS[1]], 1)]


def test_control_tokens_are_written_out(model: Any, tokenizer: Any) -> None:
    """A model that goes on without ending its turn is not made to look better."""
    with torch.no_grad():
        constant = random_model(LlamaConfig(**SHAPE, tie_word_embeddings=False), tokenizer)
        constant.model.norm.weight.fill_(0.0)  # all logits are equal: the first token wins
    assert answers(constant, tokenizer, CONVERSATIONS[:3], 2, max_new_tokens=3) == ["<|endoftext|>" * 3] * 3


def test_a_damaged_model_comes_to_an_end(tokenizer: Any) -> None:
    model = random_model(LlamaConfig(**SHAPE), tokenizer)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.fill_(float("nan"))
    found = [answers(model, tokenizer, CONVERSATIONS[:5], batch_items) for batch_items in (1, 4)]
    assert found[0] == found[1]


def test_products_are_in_the_dtype_of_autocast(model: Any, tokenizer: Any) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert LlamaDecoder(model).dtype is torch.bfloat16
        ids = list(range(5, 40))
        logits = LlamaDecoder(model).prefill([ids])[0]
        with torch.inference_mode():
            assert torch.allclose(logits, model(torch.tensor([ids])).logits[0, -1].float(), atol=0.3, rtol=0.05)
        found = [answers(model, tokenizer, CONVERSATIONS[:8], batch_items) for batch_items in (1, 3, 8)]
    assert LlamaDecoder(model).dtype is torch.float32
    assert found[0] == found[1] == found[2]


def test_nothing_asked(model: Any, tokenizer: Any) -> None:
    assert answers(model, tokenizer, [], 4) == []


@pytest.mark.model
def test_a_real_model_answers_as_with_transformers() -> None:
    """SmolLM2-135M-Instruct on prompts of BFCL, over batch sizes; decisions within the tie margin are counted."""
    settings = load_settings("demo")
    folder = artifact_path(settings, "bfcl")
    if folder is None:
        pytest.skip("the artifact bfcl is not unpacked")
    base = base_model_of(settings).folder
    model, tokenizer = load_model(base).eval(), load_tokenizer(base)
    lines = (folder / "bfcl_eval" / "data" / "BFCL_v4_simple_python.json").read_bytes().splitlines()[::40]
    asked = [Conversation(line["function"], line["question"][0]) for line in map(orjson.loads, lines)]
    decoder = GreedyDecoder(model, tokenizer, 8)
    expected = dict(decoder.answers(asked, max_new_tokens=24))
    assert decoder.ties < len(asked)
    assert dict(enumerate(answers(model, tokenizer, asked, 3, max_new_tokens=24))) == expected
    for place, text in expected.items():
        assert text == generated(model, tokenizer, asked[place], max_new_tokens=24)
