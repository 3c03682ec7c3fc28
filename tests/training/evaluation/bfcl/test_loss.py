from __future__ import annotations

from collections import Counter

import pytest

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, load_settings
from training.base_model import load_model, load_tokenizer
from training.chat import prompt_ids
from training.evaluation.bfcl.data import DEFECTIVE_GOLDS, PYTHON_AST_CATEGORIES, BfclItem
from training.evaluation.bfcl.loss import loss_items, measure, task
from training.evaluation.scoring import token_nats
from training.evaluation.subject import LocalSubject
from training.evaluation.task import NotEvaluated

STRING = {"type": "string"}


def function(name: str, /, **properties) -> dict:
    parameters = {"type": "dict", "properties": properties, "required": list(properties)}
    return {"name": name, "description": name, "parameters": parameters}


ITEMS = [
    BfclItem(
        "multiple_0",
        "multiple",
        [{"role": "user", "content": "get the user"}],
        [function("get_user", name=STRING), function("put_user", name=STRING), function("get", name=STRING)],
        [{"get_user": {"name": ["bucket", "group", "bucket group"]}}],
    ),
    BfclItem(
        "parallel_0",
        "parallel",
        [{"role": "user", "content": "put both"}],
        [function("put", key=STRING), function("get", key=STRING)],
        [{"put": {"key": ["a"]}}, {"put": {"key": ["b"]}}],
    ),
    BfclItem(
        "live_multiple_0",
        "live_multiple",
        [{"role": "user", "content": "get it"}],
        [function("get", key=STRING)],
        [{"get": {"key": ["a"]}}],
    ),
]


@pytest.fixture(scope="module")
def subject(tiny_model):
    return LocalSubject(load_model(tiny_model).eval(), load_tokenizer(tiny_model))


@pytest.fixture(scope="module")
def demo() -> Settings:
    settings = load_settings("demo")
    try:
        artifact_path(settings, "bfcl")
    except ConfigurationError:
        pytest.skip("artifact bfcl is not unpacked")
    return settings


def test_what_is_measured_of_an_item(subject):
    choice, parallel, single = measure(subject, ITEMS)
    assert choice.measures["function_choice_by_chance"] == (1 / 3, 1)
    assert choice.measures["function_choice"] == (choice.detail["chosen_function"] == "get_user", 1)
    assert choice.detail["allowed_golds"] == 3
    nats, tokens = choice.measures["nats_per_token"]
    best_nats, best_tokens = choice.measures["best_gold_nats_per_token"]
    assert best_nats / best_tokens <= nats / tokens
    for record in (parallel, single):  # of parallel calls none is the first, of one function there is no choice
        assert "function_choice" not in record.measures
        assert record.measures["best_gold_nats_per_token"] == record.measures["nats_per_token"]
    names_of = {record.item_id: record.measures["name_nats_per_token"][1] for record in (parallel, single)}
    assert names_of["parallel_0"] > names_of["live_multiple_0"]


def test_a_record_does_not_depend_on_the_other_items(subject):
    assert [*measure(subject, ITEMS[::-1])][::-1] == [*measure(subject, ITEMS)]


def test_the_most_probable_name_is_chosen(subject):
    """Whatever the name's length; one name is the beginning of another, until the parenthesis."""
    names = ("get", "get_user", "get_user_group")
    functions = [function(name, key=STRING) for name in names]
    items = [
        BfclItem(
            f"multiple_{right}", "multiple", [{"role": "user", "content": f"{right} it"}], functions, [{right: {}}]
        )
        for right in names
    ]
    for item, record in zip(items, measure(subject, items), strict=True):
        prompt = prompt_ids(subject.tokenizer, item.tools, item.messages)
        written = [subject.tokenizer(f"[{name}(", add_special_tokens=False)["input_ids"] for name in names]
        nats = [sum(token_nats(subject.model, prompt, tokens)) for tokens in written]
        chosen = names[nats.index(min(nats))]
        assert record.detail["chosen_function"] == chosen
        assert record.measures["function_choice"] == (float(item.item_id == f"multiple_{chosen}"), 1)


def test_the_items_are_those_with_a_right_gold_call(demo):
    items = loss_items(artifact_path(demo, "bfcl"))
    assert len(items) == 2346
    counts = Counter(item.category for item in items)
    assert (counts["live_simple"], counts["live_multiple"]) == (256, 1050)
    assert set(counts) == set(PYTHON_AST_CATEGORIES)


def test_the_task(demo):
    small, large = task(demo, None, 16), task(demo, None, 2**31)
    assert set(small.item_ids) <= set(large.item_ids)
    assert len(small.item_ids) == 16
    assert len(large.item_ids) == 2346
    assert small.key != large.key
    assert small.needs_weights
    assert small.notes["left_out"] == DEFECTIVE_GOLDS
    assert small.notes["items_in_all"] == 2346


def test_without_the_data_nothing_is_evaluated(demo, tmp_path):
    with pytest.raises(NotEvaluated, match="not unpacked"):
        task(demo.model_copy(update={"home": str(tmp_path)}), None, 4)
    with pytest.raises(NotEvaluated, match="is not in artifacts"):
        task(demo.model_copy(update={"artifacts": {}}), None, 4)
