from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.schema import canonical_json
from training.base_model import load_model, load_tokenizer
from training.chat import CHATML, render_calls, tokenise_chat
from training.evaluation.benchmark_loss import (
    Written,
    call_measures,
    gold_loss,
    losses_of_answers,
    spans_of_calls,
)
from training.evaluation.scoring import token_nats
from training.evaluation.subject import Conversation

TOOLS = [{"name": "put", "parameters": {"type": "object", "properties": {"key": {"type": "string"}}}}]
CONVERSATION = Conversation(TOOLS, [{"role": "user", "content": "put <|im_end|> there"}])
GOLD = "[put(key='<|im_end|>')]"


@pytest.fixture(scope="module")
def model_and_tokenizer(tiny_model):
    return load_model(tiny_model).eval(), load_tokenizer(tiny_model)


@pytest.mark.parametrize("end", ["<|im_end|>", "<|endoftext|>"])
def test_the_right_call_is_scored_as_training_learns_it(tiny_model, end):
    model, tokenizer = load_model(tiny_model).eval(), load_tokenizer(tiny_model)
    tokenizer.chat_template = CHATML.replace("<|im_end|>", end)
    messages = [*CONVERSATION.messages, {"role": "assistant", "content": GOLD}]
    chat = tokenise_chat(tokenizer, canonical_json({"tools": TOOLS, "messages": messages}), 10_000)
    ((start, stop),) = chat.loss_spans
    loss = gold_loss(model, tokenizer, CONVERSATION, GOLD)
    assert loss.scored.nats == token_nats(model, chat.input_ids[:start], chat.input_ids[start:stop])
    assert loss.scored.text_bytes == len(GOLD + end)
    tokens = chat.input_ids[start:stop]
    assert spelled(tokenizer, tokens, loss.is_name) == "put"
    assert spelled(tokenizer, tokens, loss.is_argument).startswith("(key=")
    assert not loss.is_name[-1]
    assert not loss.is_argument[-1]


def spelled(tokenizer, tokens, chosen) -> str:
    return tokenizer.decode([token for token, is_chosen in zip(tokens, chosen, strict=True) if is_chosen])


def test_answers_that_share_a_prompt_are_scored_as_each_alone(model_and_tokenizer):
    golds = [GOLD, "[put(key='b'), put(key='bucket')]", "[put(key='group name', size=3)]"]
    answers = [*map(Written, golds), Written("[put(", ends_turn=False), Written("[delete(", ends_turn=False)]
    shared = losses_of_answers(*model_and_tokenizer, CONVERSATION, answers, share_prompt=True)
    alone = losses_of_answers(*model_and_tokenizer, CONVERSATION, answers, share_prompt=False)
    for one, other in zip(shared, alone, strict=True):
        assert one.scored.nats == pytest.approx(other.scored.nats, rel=1e-5)
        assert (one.is_name, one.is_argument, one.scored.text_bytes) == (
            other.is_name, other.is_argument, other.scored.text_bytes,
        )  # fmt: skip
    again = losses_of_answers(*model_and_tokenizer, CONVERSATION, answers, share_prompt=True)
    assert again == shared
    assert [gold_loss(*model_and_tokenizer, CONVERSATION, gold) for gold in golds] == alone[:3]


def test_measures_are_sums_over_tokens(model_and_tokenizer):
    loss = gold_loss(*model_and_tokenizer, CONVERSATION, "[put(key='b'), get(key='c')]")
    measures = call_measures(loss)
    nats, tokens = measures["nats_per_token"]
    assert tokens == len(loss.scored.nats)
    assert nats == pytest.approx(sum(loss.scored.nats))
    assert measures["bits_per_byte"] == (pytest.approx(nats / math.log(2)), loss.scored.text_bytes)
    assert measures["item_mean_nats_per_token"] == (pytest.approx(nats / tokens), 1)
    of_names, of_arguments = measures["name_nats_per_token"], measures["argument_nats_per_token"]
    assert of_names[0] + of_arguments[0] < nats
    assert 0 < of_names[1] + of_arguments[1] < tokens


def test_a_text_without_a_call_has_no_names(model_and_tokenizer):
    loss = gold_loss(*model_and_tokenizer, CONVERSATION, "bucket")
    assert set(call_measures(loss)) == {"nats_per_token", "bits_per_byte", "item_mean_nats_per_token"}


NAME = st.from_regex(r"[a-z]{1,5}(\.[a-zé]{1,4})?", fullmatch=True).filter(lambda name: not _is_reserved(name))
ARGUMENTS = st.dictionaries(
    st.from_regex(r"[a-z]{2,6}_", fullmatch=True),
    st.text(max_size=12) | st.integers() | st.lists(st.text(max_size=5)),
    max_size=3,
)


def _is_reserved(name: str) -> bool:
    import keyword

    return any(map(keyword.iskeyword, name.split(".")))


@given(st.lists(st.tuples(NAME, ARGUMENTS), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_spans_of_rendered_calls(calls):
    text = render_calls(calls)
    names, arguments = spans_of_calls(text)
    assert [text[start:end] for start, end in names] == [name for name, _ in calls]
    assert all(text[start] == "(" and text[end - 1] == ")" for start, end in arguments)
    assert [end for _, end in names] == [start for start, _ in arguments]


@pytest.mark.parametrize(
    ("text", "names", "arguments"),
    [
        ("torch.hub.load('a', model='b')", ["torch.hub.load"], ["('a', model='b')"]),
        ("f(\n 'é',\n 2)", ["f"], ["(\n 'é',\n 2)"]),
        ("load('a').predict('b')", ["load"], ["('a').predict('b')"]),  # a call of what a call returned
        ("load(repo='a', 'b')", ["load"], ["(repo='a', 'b')"]),  # no Python
        ("load-from-hf --repo-id='a'", [], []),
        ("(" * 5000, [], []),
        ("", [], []),
    ],
)
def test_spans_of_other_texts(text, names, arguments):
    found = spans_of_calls(text)
    assert [[text[start:end] for start, end in spans] for spans in found] == [names, arguments]
