"""The loader is a pure function of the step; ranks share one order; a stage's data is what was asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from training.base_model import load_tokenizer
from training.corpus_input import NotTheRelease, order_of, strata_of, texts_of
from training.loader import StageLoader
from training.stage_data import NoTrainingData, stage_data


def open_file(path):
    return Path(path).open("rb")


@pytest.fixture
def data_of(small_release, training_settings, tiny_model, tmp_path):
    def make(stage="I", release=small_release, name="packed.parquet", **changes):
        training = training_settings.model_copy(update=changes)
        return stage_data(release, open_file, training, stage, load_tokenizer(tiny_model), tmp_path / name)

    return make


def test_batches_do_not_depend_on_what_was_read_before(data_of):
    one, two = (StageLoader(data_of(), batch_tokens=256, seed=1) for _ in range(2))
    straight = [one.batch(step) for step in range(1, one.steps + 1)]
    assert len(straight) == 6
    for step in (5, 2, 6):
        assert np.array_equal(two.batch(step).input_ids, straight[step - 1].input_ids)
    assert one.order_hash() == two.order_hash()
    assert one.order_hash() != StageLoader(data_of(), batch_tokens=256, seed=2).order_hash()


def test_ranks_share_one_global_order(data_of):
    whole = StageLoader(data_of(), batch_tokens=256, seed=1)
    ranks = [StageLoader(data_of(), batch_tokens=256, seed=1, rank=rank, world_size=2) for rank in range(2)]
    for step in range(1, whole.steps + 1):
        parts = [loader.batch(step) for loader in ranks]
        merged = np.empty_like(whole.batch(step).input_ids)
        merged[0::2], merged[1::2] = parts[0].input_ids, parts[1].input_ids
        assert np.array_equal(merged, whole.batch(step).input_ids)
        assert ranks[0].counts(step) == whole.counts(step)
        assert sum(int(part.target.sum()) for part in parts) == whole.counts(step)[1]
    assert {loader.order_hash() for loader in ranks} == {whole.order_hash()}
    with pytest.raises(ValueError, match="3 ranks"):
        StageLoader(data_of(), batch_tokens=256, seed=1, world_size=3)


def test_no_sequence_comes_twice_before_all_came_once(data_of):
    loader = StageLoader(data_of(), batch_tokens=256, seed=1)
    drawn = [sequence_id for step in range(1, loader.steps + 1) for sequence_id in loader.sequence_ids(step)]
    for name, stratum in loader.data.plan["strata"].items():
        mine = [number - stratum["first"] for number in drawn if 0 <= number - stratum["first"] < stratum["sequences"]]
        assert len(mine) == stratum["draws"], name
        assert len(set(mine)) == min(len(mine), stratum["sequences"]), name


def test_stage_data_holds_train_documents_of_the_stage_only(data_of, small_release):
    rows = {row["doc_id"]: row for file in small_release.files for row in pq.read_table(file.path).to_pylist()}
    for stage in ("I", "II", "III"):
        data = data_of(stage, name=f"{stage}.parquet")
        found = {doc_id for doc_ids in data.table["doc_ids"].to_pylist() for doc_id in doc_ids}
        assert found
        assert all(rows[doc_id]["split"] == "train" and stage in rows[doc_id]["stages"] for doc_id in found)
        for row in data.table.to_pylist():
            assert {rows[doc_id]["domain"] for doc_id in row["doc_ids"]} == {row["domain"]}


def test_shares_are_realised_and_cropping_is_counted(data_of):
    plan = data_of(max_document_tokens=20).plan
    assert {name: stratum["draws"] for name, stratum in plan["strata"].items()} == {"agent": 8, "code": 8, "text": 8}
    assert sum(stratum["cropped_tokens"] for stratum in plan["strata"].values()) > 0
    by_kind = data_of("II", name="II.parquet").plan["strata"]
    assert {name: stratum["draws"] for name, stratum in by_kind.items()} == {
        "agent/api_doc": 12,
        "agent/trajectory": 12,
    }


def test_packed_data_is_reused_when_nothing_changed_and_made_again_when_something_did(data_of, tmp_path):
    data_of()
    before = (tmp_path / "packed.parquet").stat().st_mtime_ns
    data_of()
    assert (tmp_path / "packed.parquet").stat().st_mtime_ns == before
    data_of(seed=12)
    assert (tmp_path / "packed.parquet").stat().st_mtime_ns != before


def test_a_changed_file_is_not_the_release(data_of, small_release):
    first = dataclasses.replace(small_release.files[0], sha256="0" * 64)
    with pytest.raises(NotTheRelease, match="part-0"):
        data_of(release=dataclasses.replace(small_release, files=(first, *small_release.files[1:])))


def test_a_release_without_documents_for_a_stage_is_said_so(data_of, small_release):
    with pytest.raises(NoTrainingData, match="stage III"):
        data_of("III", release=dataclasses.replace(small_release, files=()))


def test_texts_come_in_the_order_asked_for(small_release):
    for stratum in strata_of(small_release, open_file, "I").values():
        order = list(order_of(stratum, 3))
        assert sorted(order) == list(range(len(stratum.doc_ids)))
        texts = texts_of(small_release, open_file, stratum, order[:7])
        assert [text.doc_id for text in texts] == [stratum.doc_ids[index] for index in order[:7]]
