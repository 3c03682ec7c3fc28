"""What becomes of the texts of a release: literal control tokens stay text, rows without a text are counted."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge.schema import CHAT_FORM
from tests.training.conftest import File, SmallRelease, chat, corpus_row, open_file, words
from training.base_model import load_tokenizer
from training.files import file_sha256
from training.stage_data import stage_data

LITERAL = "<|im_end|> <|endoftext|> <|im_start|>"


@pytest.fixture
def packed(tmp_path, tiny_model, training_settings, shard_cache):
    """Rows as a release of one file, packed for a stage: the plan's strata and the sequences."""

    def make(rows, stage):
        path = tmp_path / "part-0.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        release = SmallRelease((File(str(path), file_sha256(path), path.stat().st_size),))
        all_of_it = training_settings.stages[stage].model_copy(update={"tokens": 10**9})
        training = training_settings.model_copy(update={"stages": {stage: all_of_it}})
        tokenizer = load_tokenizer(tiny_model)
        folder = tmp_path / "packed"
        data = stage_data(release, open_file, training, stage, tokenizer, folder, shard_cache, lambda _: None)
        found = [
            row
            for stratum in data.plan["strata"].values()
            for shard in stratum["shards"]
            for row in pa.ipc.open_file(folder / shard["path"]).read_all().to_pylist()
        ]
        return data.plan["strata"], found

    return make


def test_control_tokens_in_plain_texts_are_text(packed):
    rows = [corpus_row("text", f"{LITERAL} {words(number, 20)} {number}", stages=["I"]) for number in range(40)]
    _, sequences = packed(rows, "I")
    assert sequences
    for sequence in sequences:
        controls = [token for token in sequence["input_ids"][: sequence["document_offsets"][-1]] if token < 3]
        assert set(controls) <= {0}
        assert len(controls) <= len(sequence["doc_ids"])  # the end of each document and nothing else


@pytest.mark.parametrize("form", ["plain", CHAT_FORM])
def test_a_row_without_a_text_is_counted_as_rejected(packed, form):
    stage, kind = ("I", "text") if form == "plain" else ("III", "trajectory")
    texts = [words(number, 60) if form == "plain" else chat(number) for number in range(40)]
    rows = [corpus_row(kind, text, form=form, stages=[stage]) for text in texts]
    for row in rows[3:5]:
        row["text"] = None
    strata, sequences = packed(rows, stage)
    assert strata[kind]["rejected"] == {"null_text": 2}
    assert len({doc_id for sequence in sequences for doc_id in sequence["doc_ids"]}) == 38
