"""A checkpoint is traced to its release, its base model, and every document that its stages saw."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge.checkpoint_trace import DOCUMENTS, trace_checkpoint
from forge.schema import content_hash
from forge.trace import UnknownDocument


def run_of(published: Any) -> Path:
    return published.settings.home_path / "runs" / "run1"


def checkpoint(run: Path, name: str, **state: Any) -> Path:
    """A checkpoint of run1 as the trainer leaves it."""
    folder = run / name
    folder.mkdir(parents=True)
    stated = {"run_id": "run1", "release_id": "r", "order_hash": "o", "tokens": 1, **state}
    manifest = orjson.dumps({"state": stated, "files": {}})
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "_COMPLETE").write_text(content_hash(manifest))
    return folder


def seen(run: Path, stage: str, rows: list[tuple[str, int, int]], up_to: int | None = None) -> None:
    table = pa.table(
        {
            "doc_id": [row[0] for row in rows],
            "tokens": pa.array([row[1] for row in rows], pa.int64()),
            "first_step": pa.array([row[2] for row in rows], pa.int64()),
        }
    )
    metadata = None if up_to is None else {"step": str(up_to)}
    pq.write_table(table.replace_schema_metadata(metadata), run / f"seen-{stage}.parquet")


def test_a_model_names_its_release_base_and_documents(published: Any) -> None:
    seen(run_of(published), "I", [(published.ids["api"], 10, 1), (published.ids["code"], 20, 2)], up_to=3)
    found = trace_checkpoint(run_of(published) / "models" / "stage-I", published.lake)
    facts = found.facts
    assert (facts["release_id"], facts["order_hash"], facts["base_model"]) == (
        published.first.release_id, "oh", {"sha": "s"},
    )  # fmt: skip
    assert facts["complete"]
    assert facts["stages"]["I"] == {
        "step": 3, "order_hash": "oh", "documents": 2, "tokens": 30, "tokens_are_exact": True, "seen_up_to_step": 3,
    }  # fmt: skip
    assert facts["kinds"] == {
        "I": [{"kind": "code", "documents": 1, "tokens": 20}, {"kind": "api_doc", "documents": 1, "tokens": 10}]
    }
    assert [row["source"] for row in facts["sources"]] == ["sources", "apis"]
    assert facts["licenses"] == [{"license": "MIT", "documents": 2, "tokens": 30}]
    assert facts["missing"] == []
    assert found.documents.schema == DOCUMENTS
    assert {row["doc_id"]: row["kind"] for row in found.documents.to_pylist()} == {
        published.ids["api"]: "api_doc", published.ids["code"]: "code",
    }  # fmt: skip


def test_a_checkpoint_in_mid_stage_knows_only_what_came_before(published: Any) -> None:
    run = run_of(published)
    folder = checkpoint(run, "checkpoints/I-000001", stage="I", step=1, steps=3)
    facts = trace_checkpoint(folder).facts
    assert facts["stages"]["I"]["documents"] == 1, "the document first seen in step 2 is not in it"
    assert not facts["stages"]["I"]["tokens_are_exact"]
    seen(run, "I", [("a", 5, 1), ("b", 6, 2)], up_to=1)
    assert trace_checkpoint(folder).facts["stages"]["I"]["tokens_are_exact"]
    seen(run, "I", [("a", 5, 1), ("b", 6, 2)], up_to=2)
    assert not trace_checkpoint(folder).facts["stages"]["I"]["tokens_are_exact"]


def test_later_stages_hold_what_the_earlier_ones_saw_but_not_the_reverse(published: Any) -> None:
    run = run_of(published)
    seen(run, "I", [(published.ids["api"], 10, 1), (published.ids["code"], 20, 2)])
    seen(run, "II", [(published.ids["api"], 7, 1)], up_to=4)
    seen(run, "III", [("x" * 64, 9, 1)], up_to=9)
    second = checkpoint(
        run, "models/stage-II", stage="II", step=4, steps=4, release_id=published.first.release_id, order_hash="o2"
    )
    found = trace_checkpoint(second, published.lake)
    assert {name: stage["tokens"] for name, stage in found.facts["stages"].items()} == {"I": 30, "II": 7}
    assert found.facts["stages"]["II"]["order_hash"] == "o2"
    api = next(row for row in found.facts["kinds"]["II"])
    assert api == {"kind": "api_doc", "documents": 1, "tokens": 7}
    sources = {row["source"]: row for row in found.facts["sources"]}
    assert sources["apis"] == {"source": "apis", "documents": 1, "tokens": 17}, "one document, the tokens of two stages"
    assert list(trace_checkpoint(run / "models" / "stage-I").facts["stages"]) == ["I"]


def test_a_record_that_ends_before_the_checkpoint_is_said_to(published: Any) -> None:
    run = run_of(published)
    seen(run, "I", [("a", 5, 1)], up_to=2)
    [missing] = trace_checkpoint(run / "models" / "stage-I", published.lake).facts["missing"]
    assert "after step 2" in missing


def test_what_cannot_be_found_out_is_named_not_invented(published: Any, tmp_path: Path) -> None:
    run = run_of(published)
    facts = trace_checkpoint(run / "models" / "stage-I").facts
    assert (facts["kinds"], facts["sources"]) == ({}, [])
    assert facts["missing"] == ["kinds, sources, licences: no lake was given"]

    other = replace(published.lake, root=str(tmp_path / "empty"))
    assert "release" in trace_checkpoint(run / "models" / "stage-I", other).facts["missing"][0]

    moved = tmp_path / "elsewhere" / "models" / "stage-I"
    shutil.copytree(run / "models" / "stage-I", moved)
    facts = trace_checkpoint(moved, published.lake).facts
    assert (facts["stages"], facts["base_model"], facts["order_hash"]) == ({}, None, "oh")
    assert "run1 is not around" in facts["missing"][0]

    foreign = checkpoint(run, "models/stage-III", stage="III", step=1, run_id="run9")
    assert trace_checkpoint(foreign, published.lake).facts["stages"] == {}, "the folder is another run's"

    (run / "seen-I.parquet").write_bytes(b"PAR1 cut")
    assert "cannot be read" in trace_checkpoint(run / "models" / "stage-I").facts["missing"][0]


@pytest.mark.parametrize("change", ["manifest", "marker"])
def test_a_changed_checkpoint_is_not_called_complete(published: Any, change: str) -> None:
    folder = run_of(published) / "models" / "stage-I"
    if change == "manifest":
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"tokens":300', '"tokens":400'))
    else:
        (folder / "_COMPLETE").unlink()
    assert not trace_checkpoint(folder).facts["complete"]


@pytest.mark.parametrize(
    "manifest", [None, b"{", b"[]", b'{"state": {}}', b'{"state": {"stage": "IX", "step": 1}}', b'{"state": 3}']
)
def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path, manifest: bytes | None) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_bytes(manifest)
    with pytest.raises(UnknownDocument, match=r"no readable manifest\.json"):
        trace_checkpoint(tmp_path)
