"""The loader is a pure function of the step; ranks share one order; arrays say what the packed rows say."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from tests.training.conftest import open_file
from training.base_model import load_tokenizer
from training.loader import NO_TARGET, StageLoader
from training.packed_shards import BadPackedShard
from training.stage_data import stage_data

SHARD_BYTES = 4 * 64 * 5  # five sequences a shard


@pytest.fixture
def data_of(small_release, training_settings, tiny_model, tmp_path, shard_cache):
    def make(stage="I", name=None, shard_bytes=SHARD_BYTES, **changes):
        training = training_settings.model_copy(update=changes)
        folder = tmp_path / (name or f"packed-{stage}")
        tokenizer = load_tokenizer(tiny_model)
        return stage_data(
            small_release, open_file, training, stage, tokenizer, folder, shard_cache, lambda _: None,
            shard_bytes=shard_bytes,
        )  # fmt: skip

    return make


def rows_of(data):
    """Every packed row by its id, read the plain way."""
    rows = {}
    for stratum in data.plan["strata"].values():
        for shard in stratum["shards"]:
            for row in pa.ipc.open_file(data.folder / shard["path"]).read_all().to_pylist():
                rows[row["sequence_id"]] = row | {"kind": stratum["kind"]}
    return rows


def assert_equal(one, two):
    for field in dataclasses.fields(one):
        assert np.array_equal(getattr(one, field.name), getattr(two, field.name)), field.name


@pytest.mark.parametrize("stage", ["I", "II", "III"])
def test_a_batch_says_what_the_packed_rows_say(data_of, stage):
    data = data_of(stage)
    rows, loader = rows_of(data), StageLoader(data, batch_tokens=256 if stage != "III" else 768, seed=1)
    length, width = data.sequence_tokens, data.max_pieces + 1
    assert data.max_pieces == max(len(row["doc_ids"]) + (row["document_offsets"][-1] < length) for row in rows.values())
    for step in range(1, loader.steps + 1):
        batch = loader.batch(step)
        assert batch.step == step
        assert batch.sequence_ids.tolist() == loader.sequence_ids(step).tolist()
        expected = [rows[sequence_id] for sequence_id in batch.sequence_ids.tolist()]
        assert loader.doc_ids(step) == [doc_id for row in expected for doc_id in row["doc_ids"]]
        assert batch.kinds == tuple(row["kind"] for row in expected)
        tokens = targets = 0
        for number, row in enumerate(expected):
            assert batch.input_ids[number].tolist() == row["input_ids"]
            starts = [offset for offset in row["document_offsets"] if offset < length]
            assert batch.cu_seqlens[number].tolist() == starts + [length] * (width - len(starts))
            labels = [NO_TARGET] * length
            for span in row["loss_spans"]:
                for place in range(span["start"], span["end"]):
                    labels[place - 1] = row["input_ids"][place]
            assert batch.labels[number].tolist() == labels
            positions = []
            for start, end in zip(starts, [*starts[1:], length], strict=True):
                positions += range(end - start)
            assert batch.position_ids[number].tolist() == positions
            tokens += row["document_offsets"][-1]
            targets += sum(label != NO_TARGET for label in labels)
        assert loader.counts(step) == (tokens, targets)
        assert targets > 0
        shapes = [batch.input_ids, batch.position_ids, batch.labels, batch.cu_seqlens, batch.sequence_ids]
        assert [array.dtype for array in shapes] == [np.int64, np.int64, np.int64, np.int32, np.int64]


def test_batches_do_not_depend_on_what_was_read_before(data_of):
    one, two = (StageLoader(data_of(), batch_tokens=256, seed=1) for _ in range(2))
    straight = [one.batch(step) for step in range(1, one.steps + 1)]
    assert len(straight) == 6
    for step in (5, 2, 6):
        assert_equal(two.batch(step), straight[step - 1])
    for first in (1, 4):
        for batch, expected in zip(two.batches(first), straight[first - 1 :], strict=True):
            assert_equal(batch, expected)


def test_ranks_share_one_global_order(data_of):
    whole = StageLoader(data_of(), batch_tokens=256, seed=1)
    ranks = [StageLoader(data_of(), batch_tokens=256, seed=1, rank=rank, world_size=2) for rank in range(2)]
    for step in range(1, whole.steps + 1):
        parts, batch = [loader.batch(step) for loader in ranks], whole.batch(step)
        for rank, part in enumerate(parts):
            for name in ("sequence_ids", "input_ids", "position_ids", "labels", "cu_seqlens", "kinds"):
                assert np.array_equal(getattr(part, name), getattr(batch, name)[rank::2]), name
        assert ranks[0].counts(step) == whole.counts(step)
        assert sum(int((part.labels != NO_TARGET).sum()) for part in parts) == whole.counts(step)[1]
    assert {loader.order_hash() for loader in ranks} == {whole.order_hash()}
    with pytest.raises(ValueError, match=r"4 sequences of 64 tokens cannot be split over 3 ranks.*multiple of 192"):
        StageLoader(data_of(), batch_tokens=256, seed=1, world_size=3)


def test_micro_batches_are_the_batch_in_parts(data_of):
    batch = StageLoader(data_of(), batch_tokens=256, seed=1).batch(2)
    parts = list(batch.micro_batches(3))
    assert [len(part.kinds) for part in parts] == [3, 1]
    assert all(part.step == 2 for part in parts)
    assert np.array_equal(np.concatenate([part.labels for part in parts]), batch.labels)


def test_no_sequence_comes_twice_before_all_came_once_and_one_shard_is_hot(data_of):
    data = data_of()
    loader = StageLoader(data, batch_tokens=256, seed=1)
    drawn = np.concatenate([loader.sequence_ids(step) for step in range(1, loader.steps + 1)])
    assert any(len(stratum["shards"]) > 1 for stratum in data.plan["strata"].values())
    for name, stratum in data.plan["strata"].items():
        mine = [number for number in (drawn - stratum["first"]).tolist() if 0 <= number < stratum["sequences"]]
        assert len(mine) == stratum["draws"], name
        assert len(set(mine)) == min(len(mine), stratum["sequences"]), name
        shards = [number // data.sequences_per_shard for number in mine]
        changes = sum(one != other for one, other in itertools.pairwise(shards))
        assert changes == len(set(shards)) - 1, name


@pytest.mark.parametrize("shard_bytes", [SHARD_BYTES, 10**6])
def test_epochs_are_complete_and_differ(data_of, training_settings, shard_bytes):
    stage = training_settings.stages["I"].model_copy(update={"tokens": 10**9, "kind_shares": {"api_doc": 1.0}})
    data = data_of(stages={"I": stage}, name="epochs", shard_bytes=shard_bytes)
    loader = StageLoader(data, batch_tokens=64, seed=1)
    (stratum,) = data.plan["strata"].values()
    assert stratum["epochs"] == 4.0
    drawn = np.concatenate([loader.sequence_ids(step) for step in range(1, loader.steps + 1)]).reshape(4, -1)
    assert all(sorted(epoch) == list(range(stratum["sequences"])) for epoch in drawn.tolist())
    assert len({tuple(epoch) for epoch in drawn.tolist()}) == 4
    shards = [[number for number, _ in itertools.groupby(epoch // data.sequences_per_shard)] for epoch in drawn]
    assert all(sorted(epoch) == list(range(len(stratum["shards"]))) for epoch in shards)
    assert len({tuple(epoch) for epoch in shards}) > 1 or len(stratum["shards"]) == 1  # of few shards some orders agree
    seen = loader.seen(loader.steps)
    assert pa.compute.sum(seen["tokens"]).as_py() == 4 * stratum["tokens"]
    assert max(seen["first_step"].to_pylist()) <= stratum["sequences"]


@pytest.mark.parametrize("up_to_step", [0, 1, 4, 6, 99])
def test_seen_counts_every_token_of_every_document(data_of, up_to_step):
    data = data_of()
    rows, loader = rows_of(data), StageLoader(data, batch_tokens=256, seed=1)
    tokens, first = Counter(), {}
    for step in range(1, min(up_to_step, loader.steps) + 1):
        for sequence_id in loader.sequence_ids(step).tolist():
            row = rows[sequence_id]
            for number, doc_id in enumerate(row["doc_ids"]):
                tokens[doc_id] += row["document_offsets"][number + 1] - row["document_offsets"][number]
                first.setdefault(doc_id, step)
    expected = [{"doc_id": name, "tokens": tokens[name], "first_step": first[name]} for name in sorted(tokens)]
    seen = loader.seen(up_to_step)
    assert seen.to_pylist() == expected
    assert seen.schema.types == [pa.string(), pa.int64(), pa.int64()]


def test_the_order_hash_follows_data_seed_and_batch(data_of):
    def order_hash(data, batch_tokens=256, seed=1):
        return StageLoader(data, batch_tokens=batch_tokens, seed=seed).order_hash()

    data = data_of()
    assert order_hash(data) == order_hash(data_of())
    others = [order_hash(data, seed=2), order_hash(data, 128), order_hash(data_of(name="other", seed=12))]
    assert len({order_hash(data), *others}) == 4


def test_what_fails_in_the_reading_thread_is_raised_and_an_abandoned_one_ends(data_of):
    data = data_of()
    loader = StageLoader(data, batch_tokens=256, seed=1)
    batches = loader.batches(1)
    next(batches)
    assert loader.wait_seconds > 0.0
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]
    shard = data.folder / next(iter(data.plan["strata"].values()))["shards"][0]["path"]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(BadPackedShard, match="sha256") as raised:
        list(StageLoader(data_of(), batch_tokens=256, seed=1).batches(1))
    assert str(shard) in str(raised.value)
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]


def test_steps_outside_the_stage_are_an_error(data_of):
    loader = StageLoader(data_of(), batch_tokens=256, seed=1)
    for step in (0, loader.steps + 1):
        with pytest.raises(ValueError, match=r"outside 1\.\.6"):
            loader.batch(step)
