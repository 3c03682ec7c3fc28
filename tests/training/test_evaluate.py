"""Evaluation of a checkpoint end to end on a tiny model, and the rows that it writes."""

from __future__ import annotations

import math

import orjson
import pytest

from forge.config import load_settings
from forge.lake import Lake
from training.base_model import load_model, load_tokenizer
from training.checkpoint import BadCheckpoint
from training.evaluate import comparison_lines, evaluate_checkpoint, write_evaluations
from training.evaluation.scoring import token_nats
from training.process import StopRequest
from training.run import StageMissing
from training.stage import train_stage


@pytest.fixture
def evaluated_settings(tmp_path):
    """Settings whose `bfcl` artifact is a folder of two small items of ours."""
    home = tmp_path / "home"
    settings = load_settings("demo").model_copy(update={"home": str(home)})
    artifact = home / "artifacts" / "bfcl"
    data = artifact / "bfcl_eval" / "data"
    (data / "possible_answer").mkdir(parents=True)
    (artifact / ".complete").write_text(settings.artifacts["bfcl"].sha256)
    for category in ("simple_python", "multiple"):
        function = {
            "name": "get_user",
            "description": "Get",
            "parameters": {"type": "dict", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        }
        question = {"id": f"{category}_0", "question": [[{"role": "user", "content": "get x"}]], "function": [function]}
        answer = {"id": f"{category}_0", "ground_truth": [{"get_user": {"name": ["x", "y"]}}]}
        (data / f"BFCL_v4_{category}.json").write_bytes(orjson.dumps(question) + b"\n")
        (data / "possible_answer" / f"BFCL_v4_{category}.json").write_bytes(orjson.dumps(answer) + b"\n")
    return settings


def test_every_metric_is_written_with_its_count_and_runs_keep_their_rows(make_run, evaluated_settings, tmp_path):
    run, lines = make_run(), []
    with pytest.raises(StageMissing):
        evaluate_checkpoint(run, evaluated_settings, "I", lines.append)
    train_stage(run, "I", stop=StopRequest(), say=lines.append, cpu=True)
    results = [evaluate_checkpoint(run, evaluated_settings, name, lines.append) for name in ("base", "I")]
    found = {(metric["benchmark"], metric["metric"]): metric for metric in results[0]["metrics"]}
    for benchmark, items in [("bfcl", 2), ("bfcl:simple_python", 1), ("bfcl:multiple", 1)] + [
        (f"held_out:{kind}", 6) for kind in ("api_doc", "trajectory", "web", "code", "text")
    ]:
        for metric in ("nats_per_token", "bits_per_byte", "item_mean_nats_per_token"):
            assert found[benchmark, metric]["items"] == items
            assert 0.0 < found[benchmark, metric]["value"] < 20.0
    assert found["bfcl", "ast_accuracy"]["items"] == 2
    assert found["bfcl", "ast_accuracy"]["value"] == 0.0
    assert len(results[0]["answers"]) == 2
    assert len({result["prompt_hash"] for result in results}) == 1

    lake = Lake(str(tmp_path / "lake"))
    for result in [*results, *results]:
        write_evaluations(lake, result)
    rows = lake.read("evaluations").to_pylist()
    assert len(rows) == sum(len(result["metrics"]) for result in results)
    assert {(row["checkpoint"], row["stage"]) for row in rows} == {("base", ""), ("I", "I")}
    assert {row["release_id"] for row in rows} == {"r-small"}

    again = evaluate_checkpoint(run, evaluated_settings, "I", lines.append)
    assert again == results[1]
    assert "checkpoint I is evaluated" in lines[-1]
    table = list(comparison_lines(results))
    assert table[0].split() == ["benchmark", "metric", "items", "base", "I"]
    assert len(table) == 1 + len(results[0]["metrics"])


def test_token_nats_are_log_probabilities(tiny_model):
    import torch

    model, tokenizer = load_model(tiny_model).eval(), load_tokenizer(tiny_model)
    ids = tokenizer("create user bucket")["input_ids"]
    nats = token_nats(model, ids[:2], ids[2:])
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    expected = [-float(torch.log_softmax(logits[place - 1], -1)[ids[place]]) for place in range(2, len(ids))]
    assert nats == pytest.approx(expected, rel=1e-4)
    assert all(math.isfinite(nat) for nat in nats)
    with pytest.raises(ValueError, match="context"):
        token_nats(model, [], ids)


def test_a_model_trained_on_another_chat_rendering_is_not_evaluated(make_run, evaluated_settings, monkeypatch):
    run = make_run()
    train_stage(run, "I", stop=StopRequest(), say=lambda _: None, cpu=True)
    evaluate_checkpoint(run, evaluated_settings, "I", lambda _: None)
    monkeypatch.setattr("training.chat.RENDERING_VERSION", "of another version")
    with pytest.raises(BadCheckpoint, match="chat rendering"):
        evaluate_checkpoint(run, evaluated_settings, "I", lambda _: None)
    evaluate_checkpoint(run, evaluated_settings, "base", lambda _: None)
