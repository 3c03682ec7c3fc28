"""The reference tokenizer, and that the fast counter counts what the tokenizer counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from forge.config import ConfigurationError, Settings
from forge.text.tokens import TokenCounter, reference_tokenizer, reference_tokenizer_path, token_counts

TEXTS = [
    "The year 2024: def f(x):\n    return x12",
    "a   2\t\n  b\r\n\r\nc",
    "don't we'll I'M  it's 'sure'",
    "naïve 中文テスト １２ ² ½ Ⅷ 😀 \u200b\u00a0x",
    "<|endoftext|>after <|im_start|> it",
    "",
    " " * 50,
    '{"name": "CreateUser", "parameters": {"type": "object"}}',
]
CHARACTERS = " \t\n\r\x0b\x1c\x1f\x85\u00a0\u2003\u3000'sdtrevml129²½٣Ⅷaé中ß.,;_-’\u0301\ufeff😀<|>im_start"


@pytest.fixture(scope="module")
def small_tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer of SmolLM2's construction, trained on a few lines."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>", "<|im_start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def test_the_counter_counts_what_the_tokenizer_counts(small_tokenizer: Tokenizer) -> None:
    counter = TokenCounter(small_tokenizer)
    assert counter.count(TEXTS) == token_counts(small_tokenizer, TEXTS)
    assert counter.count(TEXTS[::-1]) == token_counts(small_tokenizer, TEXTS[::-1])


@given(texts=st.lists(st.text(st.sampled_from(CHARACTERS), max_size=40), max_size=4))
@hypothesis_settings(max_examples=200, deadline=None)
def test_the_counter_is_exact_on_odd_text(small_tokenizer: Tokenizer, texts: list[str]) -> None:
    assert TokenCounter(small_tokenizer).count(texts) == token_counts(small_tokenizer, texts)


def test_another_tokenizer_is_counted_by_itself() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert TokenCounter(tokenizer).count(["a b a", ""]) == [3, 0]


def test_reference_tokenizer_of_the_pinned_weights(settings: Settings) -> None:
    try:
        path = reference_tokenizer_path(settings)
    except ConfigurationError as error:
        pytest.skip(str(error))
    content = path.read_bytes()
    path.unlink()
    assert reference_tokenizer_path(settings).read_bytes() == content
    tokenizer = reference_tokenizer(settings)
    assert tokenizer.get_vocab_size() == 49152
    assert tokenizer.encode("<|im_start|>user").ids[0] == 1
    assert tokenizer.encode("x 2024").tokens == ["x", "Ġ", "2", "0", "2", "4"]
    assert tokenizer.decode(tokenizer.encode(TEXTS[0]).ids) == TEXTS[0]
    assert TokenCounter(tokenizer).count(TEXTS) == token_counts(tokenizer, TEXTS)


def test_unknown_tokenizer_is_a_configuration_error(settings: Settings) -> None:
    mix = settings.corpus.mix.model_copy(update={"reference_tokenizer": "nowhere"})
    wrong = settings.model_copy(update={"corpus": settings.corpus.model_copy(update={"mix": mix})})
    with pytest.raises(ConfigurationError, match="reference_tokenizer"):
        reference_tokenizer_path(wrong)
