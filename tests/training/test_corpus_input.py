"""Narrow columns of a corpus file, read in whole arrays, against the same read row by row."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.schema import CHAT_FORM, DOMAIN_OF_KIND, KINDS, table_of
from tests.training.conftest import corpus_row
from training.corpus_input import Selection, Stratum, documents_in, texts_at

stages_of = st.sampled_from([[], ["I"], ["II"], ["I", "II"], ["III"], ["IV", "I"], None])
rows_of = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(KINDS),
            "form": st.sampled_from([CHAT_FORM, "plain", None]),
            "split": st.sampled_from(["train", "held_out", None]),
            "stages": stages_of,
            "tokens": st.sampled_from([0, 3, 50, None]),
            "weight": st.sampled_from([0.0, 1.0, 2.0, 5.0, None]),
        }
    ),
    max_size=30,
)
WEIGHTS = {"agent": 2.0, "code": 0.0}


def written(path, changes):
    rows = [corpus_row("text", f"text {number}", stages=["I"]) | change for number, change in enumerate(changes)]
    pq.write_table(table_of("corpus", rows), path, row_group_size=7)
    return rows


@given(rows_of, st.sampled_from([None, 10]), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_a_stratum_chooses_what_each_row_says(tmp_path_factory, changes, crop, seed):
    path = tmp_path_factory.mktemp("corpus") / "part.parquet"
    rows = written(path, changes)
    selection = Selection(seed, crop, WEIGHTS)
    with pq.ParquetFile(path) as parquet:
        documents = documents_in(parquet, "part.parquet", selection)
    for kind in KINDS:
        for stage in ("", "I", "II", "III"):
            stratum = Stratum("any", kind, stage)
            found, tokens = documents.rows_of(stratum)
            expected = []
            for number, row in enumerate(rows):
                of_stage = not stage or stage in (row["stages"] or [])
                fits = row["kind"] == kind and row["split"] == "train" and of_stage
                share = (row["weight"] or 0.0) / (WEIGHTS.get(DOMAIN_OF_KIND[kind], 1.0) or 1.0)
                if "I" in (row["stages"] or []) and not (share >= 1.0 or selection.takes(row["doc_id"], share)):
                    continue
                if fits and (row["form"] == CHAT_FORM) == (stage == "III"):
                    expected.append((number, min(row["tokens"] or 0, crop or 10**9)))
            assert list(zip(found.tolist(), tokens.tolist(), strict=True)) == expected


def test_the_chance_of_a_document_is_its_weight_and_the_seed_decides():
    taken = [[Selection(seed, None, {}).takes(f"d{number}", 0.3) for number in range(4000)] for seed in (1, 2)]
    assert all(1050 < sum(found) < 1350 for found in taken)  # 1200, five standard deviations
    both = sum(one and two for one, two in zip(*taken, strict=True))
    assert 260 < both < 460  # 360 when independent
    assert not any(Selection(1, None, {}).takes(f"d{number}", 0.0) for number in range(100))


@pytest.mark.parametrize("chosen", [[], [0], [6, 7, 8], [3, 19], list(range(20))])
def test_texts_come_by_row_and_other_row_groups_are_not_read(tmp_path, chosen):
    written(tmp_path / "part.parquet", [{}] * 20)
    with pq.ParquetFile(tmp_path / "part.parquet") as parquet:
        parts = list(texts_at(parquet, np.array(chosen, dtype=np.int64)))
    assert [text for _, table in parts for text in table["text"].to_pylist()] == [f"text {row}" for row in chosen]
    assert [row for rows, _ in parts for row in rows.tolist()] == chosen
    assert len(parts) == len({row // 7 for row in chosen})
