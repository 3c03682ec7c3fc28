from __future__ import annotations

import pyarrow.parquet as pq
import pytest
import torch

from forge.schema import CHAT_FORM, KINDS, content_hash
from tests.training.conftest import open_file
from training.base_model import load_model, load_tokenizer
from training.corpus_input import CorpusText
from training.evaluation import held_out
from training.evaluation.held_out import held_out_documents, score_document
from training.evaluation.subject import LocalSubject
from training.evaluation.task import NotEvaluated


def test_the_first_of_each_kind_by_hash_and_never_a_training_document(small_release, shard_cache):
    rows = [row for file in small_release.files for row in pq.read_table(file.path).to_pylist()]
    found = held_out_documents(small_release, open_file, shard_cache, 3, 7)
    assert sorted(found) == sorted(KINDS)
    for kind, texts in found.items():
        mine = [row for row in rows if row["kind"] == kind and row["split"] == "held_out" and row["form"] != CHAT_FORM]
        mine.sort(key=lambda row: content_hash("held_out", "7", row["doc_id"]))
        assert len(mine) > 3
        assert [(text.doc_id, text.text) for text in texts] == [(row["doc_id"], row["text"]) for row in mine[:3]]
    assert found != held_out_documents(small_release, open_file, shard_cache, 3, 8)


def test_the_first_token_is_context_as_in_training(tiny_model):
    model, tokenizer = load_model(tiny_model).eval(), load_tokenizer(tiny_model)
    text = "créate user bucket" * 3
    ids = tokenizer(text, return_tensors="pt")["input_ids"][:, :9]
    with torch.no_grad():
        log_probabilities = torch.log_softmax(model(ids, use_cache=False).logits[0], -1)
    expected = [-float(log_probabilities[place - 1, ids[0, place]]) for place in range(1, 9)]
    scored = score_document(model, tokenizer, text, 9)
    assert scored.nats == pytest.approx(expected, rel=1e-4)
    assert scored.text_bytes == len(tokenizer.decode(ids[0, 1:]).encode())
    assert score_document(model, tokenizer, "", 9) is None
    assert score_document(model, tokenizer, "x", 9) is None


def test_a_control_token_in_a_document_is_text(tiny_model):
    model, tokenizer = load_model(tiny_model).eval(), load_tokenizer(tiny_model)
    scored = score_document(model, tokenizer, "<|endoftext|>" * 2, 99)
    assert len(scored.nats) > 2
    assert scored.text_bytes == 25


def test_the_task_measures_each_kind(make_run, tiny_model):
    run = make_run("run")
    task = held_out.task(run.settings, run, 7)
    assert len(task.item_ids) == 7
    subject = LocalSubject(load_model(tiny_model).eval(), load_tokenizer(tiny_model))
    records = list(task.measure(subject, task.item_ids))
    texts = {text.doc_id: text for texts in run.held_out_documents().values() for text in texts}
    assert {record.category for record in records} == set(KINDS)
    for record in records:
        text = texts[record.item_id]
        scored = score_document(
            subject.model, subject.tokenizer, text.text, run.settings.evaluation.held_out_max_tokens
        )
        assert record.category == text.kind
        assert record.measures["nats_per_token"] == (scored.total_nats, len(scored.nats))
        assert record.measures["bits_per_byte"][1] == scored.text_bytes
    assert held_out.task(run.settings, run, 8).key != task.key


def test_a_document_too_short_to_score_is_told(tiny_model):
    subject = LocalSubject(load_model(tiny_model).eval(), load_tokenizer(tiny_model))
    (record,) = held_out.measure(subject, [CorpusText("d", "web", "x")], 9)
    assert (record.measures, record.problem) == ({}, "fewer than two tokens")


def test_without_a_run_there_are_no_held_out_documents(make_run):
    with pytest.raises(NotEvaluated, match="a run's release"):
        held_out.task(make_run("run").settings, None, 4)
