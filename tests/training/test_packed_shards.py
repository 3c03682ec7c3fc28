"""Packed shards: what is written is read back, cut at the right places; a broken one is not trained on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.schema import TABLES
from training.files import file_sha256
from training.packed_shards import BadPackedShard, PackedShards, PackedShardWriter, ragged
from training.packing import pack, whole_document

LENGTH, PER_SHARD = 16, 3
CONSTANTS = {"stage": "I", "domain": "text", "partition_key": "2026-11-21"}


@pytest.fixture
def written(tmp_path):
    documents = [whole_document(f"d{number}", range(1, 2 + number * 7 % 30)) for number in range(40)]
    batches = [batch for part in (documents[:25], documents[25:]) for batch in pack(part, LENGTH, 0)]
    writer = PackedShardWriter(tmp_path, "text", PER_SHARD, 1000, CONSTANTS)
    for batch in batches:
        writer.add([batch])
    writer.close()
    return writer, pa.Table.from_batches(batches).to_pylist()


def plan_of(writer):
    return {"text": {"shards": writer.shards}}


def test_shards_hold_all_sequences_in_order_under_their_ids(written, tmp_path):
    writer, rows = written
    found = []
    for number, shard in enumerate(writer.shards):
        path = tmp_path / shard["path"]
        assert path.name == f"text-{number:05d}.arrow"
        assert (shard["sha256"], shard["size_bytes"]) == (file_sha256(path), path.stat().st_size)
        table = pa.ipc.open_file(path).read_all()
        assert table.schema == TABLES["packed"]
        assert table.num_rows == shard["sequences"]
        found += table.to_pylist()
    assert [shard["sequences"] for shard in writer.shards[:-1]] == [PER_SHARD] * (len(writer.shards) - 1)
    assert 1 <= writer.shards[-1]["sequences"] <= PER_SHARD
    expected = [row | CONSTANTS | {"sequence_id": 1000 + number} for number, row in enumerate(rows)]
    assert found == expected


def test_what_is_mapped_is_what_was_written_and_copies_nothing(written, tmp_path):
    writer, rows = written
    before = pa.total_allocated_bytes()
    shards = PackedShards(tmp_path, plan_of(writer), LENGTH)
    for number in range(len(writer.shards)):
        shard = shards.shard("text", number)
        assert shards.shard("text", number) is shard
        assert not shard.input_ids.flags.owndata
        doc_ids, row_of, tokens_of = shard.pieces()
        pieces = list(zip(doc_ids.to_pylist(), row_of.tolist(), tokens_of.tolist(), strict=True))
        for place in range(shard.sequences):
            row = rows[number * PER_SHARD + place]
            assert shard.input_ids[place].tolist() == row["input_ids"]
            assert shard.doc_ids(place) == row["doc_ids"]
            assert shard.tokens[place] == row["document_offsets"][-1]
            assert shard.target_tokens[place] == sum(span["end"] - span["start"] for span in row["loss_spans"])
            lengths = np.diff(row["document_offsets"]).tolist()
            expected = list(zip(row["doc_ids"], [place] * len(lengths), lengths, strict=True))
            assert [piece for piece in pieces if piece[1] == place] == expected
    assert pa.total_allocated_bytes() == before


@pytest.mark.parametrize("harm", ["changed", "cut", "removed"])
def test_a_broken_shard_is_named_with_what_was_wanted_and_found(written, tmp_path, harm):
    writer, _ = written
    path = tmp_path / "text-00001.arrow"
    content = bytearray(path.read_bytes())
    if harm == "changed":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if harm == "cut" else content)
    found = file_sha256(path)
    if harm == "removed":
        path.unlink()
    shards = PackedShards(tmp_path, plan_of(writer), LENGTH)
    assert shards.shard("text", 0).sequences == PER_SHARD
    with pytest.raises(BadPackedShard) as raised:
        shards.shard("text", 1)
    assert str(path) in str(raised.value)
    assert writer.shards[1]["sha256"] in str(raised.value)
    assert ("no file" if harm == "removed" else f"sha256 {found}") in str(raised.value)
    assert "packed again" in str(raised.value)


@given(st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_ragged_rows(rows, data):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    values = [value for row in rows for value in row]
    bounds = np.cumsum([0, *map(len, rows)])
    owner, within, place = ragged(bounds, np.array(chosen, dtype=np.int64))
    expected = [
        (number, position, value) for number, row in enumerate(chosen) for position, value in enumerate(rows[row])
    ]
    assert list(zip(owner.tolist(), within.tolist(), [values[found] for found in place], strict=True)) == expected
