from __future__ import annotations

import pytest

from forge.schema import canonical_json
from training.base_model import load_model, load_tokenizer
from training.chat import CHATML, tokenise_chat
from training.evaluation.benchmark_loss import score_item
from training.evaluation.bfcl.data import BfclItem
from training.evaluation.scoring import token_nats

ITEM = BfclItem(
    "item_0",
    "simple_python",
    [{"role": "user", "content": "put <|im_end|> there"}],
    [{"name": "put", "parameters": {"type": "dict", "properties": {"key": {"type": "string"}}, "required": ["key"]}}],
    [{"put": {"key": ["<|im_end|>"]}}],
)


@pytest.mark.parametrize("end", ["<|im_end|>", "<|endoftext|>"])
def test_the_right_call_is_scored_as_training_learns_it(tiny_model, end):
    model, tokenizer = load_model(tiny_model).eval(), load_tokenizer(tiny_model)
    tokenizer.chat_template = CHATML.replace("<|im_end|>", end)
    messages = [*ITEM.messages, {"role": "assistant", "content": ITEM.gold_call}]
    chat = tokenise_chat(tokenizer, canonical_json({"tools": ITEM.tools, "messages": messages}), 10_000)
    ((start, stop),) = chat.loss_spans
    scored = score_item(model, tokenizer, ITEM)
    assert scored.gold.nats == token_nats(model, chat.input_ids[:start], chat.input_ids[start:stop])
    assert scored.gold.text_bytes == len("[put(key='<|im_end|>')]" + end)
    name = tokenizer.decode(chat.input_ids[start : start + scored.name_tokens])
    assert name == "[put"
