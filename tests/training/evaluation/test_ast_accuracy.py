from __future__ import annotations

import pytest
import torch

from training.base_model import load_model, load_tokenizer
from training.chat import CHATML, prompt_text
from training.evaluation.ast_accuracy import answers_of, check
from training.evaluation.bfcl import BfclItem, sample

PARAMETERS = {
    "type": "dict",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "scale": {"type": "float"},
        "exact": {"type": "boolean"},
        "where": {"type": "array"},
        "budget": {"type": "dict"},
    },
    "required": ["city", "days"],
}
ITEM = BfclItem(
    "item_0",
    "simple_python",
    [{"role": "user", "content": "Weather?"}],
    [{"name": "weather.get", "description": "", "parameters": PARAMETERS}],
    "weather.get",
    {
        "city": ["San Francisco", "SF"],
        "days": [3],
        "scale": ["", 2.0],
        "exact": ["", True],
        "where": ["", ["a", "b"]],
        "budget": ["", {"min": [1], "max": [5, 6], "unit": ["", "EUR"]}],
    },
)


def test_the_gold_call_is_right():
    assert ITEM.gold_call == "[weather.get(city='San Francisco', days=3)]"
    assert check(ITEM, ITEM.gold_call).problem == ""


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("weather.get(city='san-francisco', days=3)", True),
        ("weather.get(city='SF', days=3, scale=2, exact=True, where=['A', 'b'])", True),
        ("weather.get(city='SF', days=3, budget={'min': 1, 'max': 6})", True),
        ("weather.get(city='SF', days=3, budget={'min': 1, 'max': 7})", False),
        ("weather.get(city='SF', days=3, budget={'min': 1})", False),
        ("weather.get(city='SF', days=3, budget={'min': 1, 'max': 5, 'more': 1})", False),
        ("weather.get(city='SF')", False),
        ("weather.get(city='LA', days=3)", False),
        ("weather.get(city='SF', days='3')", False),
        ("weather.get(city='SF', days=True)", False),
        ("weather.get(city='SF', days=3, exact=1)", False),
        ("weather.get(city='SF', days=3, where=['a'])", False),
        ("weather.get(city='SF', days=3, hours=1)", False),
        ("weather.put(city='SF', days=3)", False),
        ("[weather.get(city='SF', days=3), weather.get(city='SF', days=3)]", False),
        ("The weather is fine.", False),
    ],
)
def test_answers_are_judged(text, right):
    answer = check(ITEM, text)
    assert (answer.problem == "") is right
    assert answer.decoded is (text != "The weather is fine.")


def test_padding_does_not_change_a_greedy_answer(tiny_model):
    model, tokenizer = load_model(tiny_model).eval(), load_tokenizer(tiny_model)
    other = BfclItem("item_1", "multiple", [{"role": "user", "content": "list user " * 9}], *[ITEM.functions], "x", {})
    together = answers_of(model, tokenizer, [ITEM, other], max_new_tokens=6)
    assert together == [answers_of(model, tokenizer, [item], max_new_tokens=6)[0] for item in (ITEM, other)]
    ids = tokenizer(prompt_text(tokenizer, ITEM.tools, ITEM.messages), return_tensors="pt")["input_ids"]
    with torch.no_grad():
        for _ in range(6):
            ids = torch.cat([ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
    assert tokenizer.decode(ids[0, -6:]).startswith(together[0])


def test_a_larger_sample_keeps_the_smaller_one_and_balances_categories():
    items = [
        BfclItem(f"{category}_{number}", category, [], [], "f", {})
        for category in ("simple_python", "multiple")
        for number in range(20)
    ]
    small, large = sample(items, 6, 3, "x"), sample(items, 12, 3, "x")
    assert large[:6] == small
    assert sum(item.category == "multiple" for item in small) == 3
    assert small != sample(items, 6, 4, "x")


def test_an_answer_ends_where_the_template_ends_a_turn(tiny_model):
    model, tokenizer = load_model(tiny_model).eval(), load_tokenizer(tiny_model)
    torch.nn.init.zeros_(model.model.norm.weight)  # all logits are 0: it writes token 0, <|endoftext|>
    assert answers_of(model, tokenizer, [ITEM], max_new_tokens=3) == ["<|endoftext|>" * 3]
    tokenizer.chat_template = CHATML.replace("<|im_end|>", "<|endoftext|>")
    assert answers_of(model, tokenizer, [ITEM], max_new_tokens=3) == [""]
