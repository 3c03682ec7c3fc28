"""Contexts and continuations become tokens as lm-eval makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from training.base_model import load_model, load_tokenizer
from training.evaluation.general.encoding import encode_pairs, max_tokens_of
from training.evaluation.scoring import Continuation


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.fixture
def beginning(tokenizer: Any) -> Any:
    """A tokenizer that begins every text with its BOS, as Llama's does."""
    bos = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    return tokenizer


def only(tokenizer: Any, context: str, continuation: str) -> Continuation:
    [found] = encode_pairs(tokenizer, [(context, continuation)])
    return found


def parts(tokenizer: Any, found: Continuation) -> tuple[str, str]:
    return tokenizer.decode(found.tokens[: found.start]), tokenizer.decode(found.tokens[found.start :])


def test_the_space_belongs_to_the_continuation(tokenizer: Any) -> None:
    assert parts(tokenizer, only(tokenizer, "get user:", " name")) == ("get user:", " name")


@pytest.mark.parametrize("spaces", [" ", "  ", "\n", " \n "])
def test_spaces_at_the_end_of_a_context_go_over(tokenizer: Any, spaces: str) -> None:
    found = only(tokenizer, "get user" + spaces, "name")
    assert parts(tokenizer, found) == ("get user", spaces + "name")
    assert found == only(tokenizer, "get user", spaces + "name")


def test_what_precedes_an_empty_context_is_the_bos(tokenizer: Any) -> None:
    first = tokenizer.bos_token_id
    assert only(tokenizer, "", "name") == Continuation((first, *tokenizer.encode("name")), 1)
    assert only(tokenizer, "", tokenizer.bos_token + "name") == only(tokenizer, "", "name")


def test_without_a_bos_it_is_the_eos(tokenizer: Any) -> None:
    eos = tokenizer.eos_token_id
    tokenizer.bos_token = None
    assert only(tokenizer, "", "name").tokens[0] == eos


def test_a_tokenizer_that_adds_a_bos_adds_one(beginning: Any) -> None:
    bos, first = beginning.bos_token, beginning.bos_token_id
    found = only(beginning, "get", " name")
    assert found.tokens[0] == first
    assert found.tokens.count(first) == 1
    assert parts(beginning, found) == (bos + "get", " name")
    assert only(beginning, bos + "get", " name") == found
    assert only(beginning, "", "name").tokens.count(first) == 1


def test_a_continuation_that_the_context_swallows_is_scored_with_its_last_token(tokenizer: Any) -> None:
    whole = tokenizer.encode("get bucket")
    before = next(cut for cut in range(5, 10) if len(tokenizer.encode("get bucket"[:cut])) >= len(whole))
    found = only(tokenizer, "get bucket"[:before], "get bucket"[before:])
    assert found == Continuation(tuple(whole), len(whole) - 1)


def test_a_single_token_that_swallows_its_context_is_scored_after_the_bos(tokenizer: Any) -> None:
    [token] = tokenizer.encode("bucket")
    assert only(tokenizer, "bucke", "t") == Continuation((tokenizer.bos_token_id, token), 1)


def test_a_pair_is_encoded_as_alone_whatever_stands_beside_it(tokenizer: Any) -> None:
    pairs = [("get user ", "name"), ("", "key"), ("list", " bucket"), ("get user", " name")]
    assert encode_pairs(tokenizer, pairs) == [only(tokenizer, *pair) for pair in pairs]


def test_the_longest_text_is_the_configuration_s(tokenizer: Any, tiny_model: Path) -> None:
    assert max_tokens_of(load_model(tiny_model), tokenizer) == 512
