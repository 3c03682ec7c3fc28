from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest

from forge.config import load_settings
from training.base_model import load_model, load_tokenizer
from training.chat import prompt_ids
from training.evaluation.apibench import HUBS, apibench_items, loss_task
from training.evaluation.scoring import token_nats
from training.evaluation.subject import LocalSubject
from training.evaluation.task import NotEvaluated

GORILLA = Path(__file__).parents[4] / "shared" / "samples" / "gorilla"


def settings_with(folder: Path | None):
    settings = load_settings("demo")
    folders = {"apibench": str(folder)} if folder else {}
    return settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"folders": folders})})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "apibench"
    folder.mkdir(parents=True)
    rows = [
        {
            "code": "###Instruction: Get a group.\n###Output: <<<api_call>>>: get('group')",
            "api_call": "hub.get('group')",
        },
        {"code": "### Instruction: Put the\nkey.\n### Output: ...", "api_call": "put-key --name='a'"},
        {"code": "###Instruction: List the users.", "api_call": "list('user').get('name')"},
    ]
    for hub in HUBS:
        (folder / f"{hub}_eval.json").write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    return tmp_path


def test_items_are_instructions_and_calls(checkout):
    items = apibench_items(checkout)
    assert [item.item_id for item in items[:4]] == ["huggingface_0", "huggingface_1", "huggingface_2", "torchhub_0"]
    assert [item.instruction for item in items[:3]] == ["Get a group.", "Put the\nkey.", "List the users."]
    assert items[0].api_call == "hub.get('group')"


def test_the_call_is_scored_after_the_instruction(checkout, tiny_model):
    task = loss_task(settings_with(checkout), None, 6)
    assert len(task.item_ids) == 6
    assert task.needs_weights
    subject = LocalSubject(load_model(tiny_model).eval(), load_tokenizer(tiny_model))
    records = {record.item_id: record for record in task.measure(subject, task.item_ids)}
    assert Counter(record.category for record in records.values()) == dict.fromkeys(HUBS, 2)
    by_id = {item.item_id: item for item in apibench_items(checkout)}
    for item_id, record in records.items():
        item = by_id[item_id]
        context = prompt_ids(subject.tokenizer, [], [{"role": "user", "content": item.instruction}])
        tokens = subject.tokenizer(item.api_call + "<|im_end|>", add_special_tokens=False)["input_ids"]
        assert record.measures["nats_per_token"] == (sum(token_nats(subject.model, context, tokens)), len(tokens))
        assert ("name_nats_per_token" in record.measures) == ("(" in item.api_call)


def test_the_key_follows_the_data(checkout):
    before = loss_task(settings_with(checkout), None, 100).key
    assert loss_task(settings_with(checkout), None, 100).key == before
    assert loss_task(settings_with(checkout), None, 4).key != before
    path = checkout / "data" / "apibench" / "torchhub_eval.json"
    path.write_bytes(path.read_bytes().replace(b"hub.get", b"hub.put"))
    assert loss_task(settings_with(checkout), None, 100).key != before


def test_what_is_missing_is_said(checkout, tmp_path):
    with pytest.raises(NotEvaluated, match="names no checkout"):
        loss_task(settings_with(None), None, 10)
    with pytest.raises(NotEvaluated, match="No such file"):
        loss_task(settings_with(tmp_path / "elsewhere"), None, 10)
    with (checkout / "data" / "apibench" / "torchhub_eval.json").open("ab") as file:
        file.write(b'{"code": "###Instruction: x"}\n')
    with pytest.raises(NotEvaluated, match=r"torchhub_eval\.json: line 4"):
        loss_task(settings_with(checkout), None, 10)


@pytest.mark.skipif(not GORILLA.is_dir(), reason="no checkout of gorilla beside this one")
def test_the_real_files():
    items = apibench_items(GORILLA)
    assert Counter(item.hub for item in items) == {"huggingface": 911, "torchhub": 186, "tensorflow": 688}
    assert not any("###Output" in item.instruction or "<<<api_call>>>" in item.instruction for item in items)
