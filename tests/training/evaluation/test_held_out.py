from __future__ import annotations

import pyarrow.parquet as pq

from forge.schema import CHAT_FORM, KINDS, content_hash
from tests.training.conftest import open_file
from training.evaluation.held_out import held_out_documents


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
