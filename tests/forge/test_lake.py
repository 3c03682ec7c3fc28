"""The lake: pinned reads, fenced commits, races, killed writers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from forge.lake import CommitRefused, DataFileWriter, Lake, Slice, UnknownTable
from forge.schema import TABLES, Decision, Document, table_of

NIGHT, NEXT = "2026-11-21", "2026-11-22"


def documents(count: int, night: str, word: str = "text") -> pa.Table:
    rows = [Document("text", "plain", f"{word} {n}", "train").row(night) for n in range(count)]
    return table_of("documents", rows)


def test_a_table_that_does_not_exist_is_empty_and_has_no_version(lake: Lake) -> None:
    assert lake.read("documents").num_rows == 0
    assert lake.version("documents") is None
    with pytest.raises(UnknownTable, match="no table of the lake"):
        lake.read("dokuments")


def test_write_read_round_trip_with_columns_nights_and_versions(lake: Lake) -> None:
    first = lake.write("documents", documents(5, NIGHT), NIGHT, "a")
    second = lake.write("documents", documents(3, NEXT, "other"), NEXT, "b")
    assert (first.applied, first.rows, second.version) == (True, 5, first.version + 1)
    assert lake.read("documents").num_rows == 8
    assert lake.read("documents", up_to=NIGHT).to_pylist() == documents(5, NIGHT).to_pylist()
    assert lake.read("documents", ["doc_id", "partition_key"], partition_key=NEXT).column_names == [
        "doc_id",
        "partition_key",
    ]
    assert lake.read("documents", version=first.version).num_rows == 5


def test_rewriting_a_night_replaces_it_and_an_equal_fingerprint_does_nothing(lake: Lake) -> None:
    lake.write("documents", documents(5, NIGHT), NIGHT, "a")
    again = lake.write("documents", documents(5, NIGHT), NIGHT, "a")
    assert not again.applied
    changed = lake.write("documents", documents(2, NIGHT), NIGHT, "changed")
    assert changed.applied
    assert lake.read("documents").num_rows == 2


def test_an_empty_slice_is_committed_and_remembers_its_fingerprint(lake: Lake) -> None:
    lake.write("documents", documents(5, NIGHT), NIGHT, "a")
    lake.write("documents", documents(0, NIGHT), NIGHT, "empty")
    assert lake.read("documents").num_rows == 0
    assert lake.is_applied("documents", NIGHT, "empty")


def test_steps_of_a_side_table_do_not_touch_each_other(lake: Lake) -> None:
    for step in ("render", "mix"):
        rows = [Decision("s", f"{step}-{n}", step, "bad").row(NIGHT) for n in range(3)]
        lake.write("decisions", table_of("decisions", rows), NIGHT, step, step=step)
    lake.write("decisions", table_of("decisions", []), NIGHT, "none", step="mix")
    assert set(lake.read("decisions")["step"].to_pylist()) == {"render"}
    assert lake.read("decisions", step="mix").num_rows == 0
    with pytest.raises(ValueError, match="a step is given"):
        lake.fence("documents", NIGHT, "mix")
    with pytest.raises(ValueError, match="letters, digits"):
        Slice("documents", "../../etc")


def test_a_late_writer_with_other_content_is_refused_and_leaves_nothing(lake: Lake) -> None:
    late = lake.fence("documents", NIGHT)
    lake.write("documents", documents(5, NIGHT), NIGHT, "a")
    with pytest.raises(CommitRefused, match="another run"):
        lake.write("documents", documents(1, NIGHT), NIGHT, "other", fence=late)
    assert lake.read("documents").num_rows == 5
    parquet = sorted(Path(lake.table_uri("documents")).rglob("*.parquet"))
    assert len(parquet) == 1


def test_files_roll_at_the_target_size_and_keep_their_order(tmp_path: Path) -> None:
    small = Lake(str(tmp_path), target_file_bytes=1)
    chosen = Slice("documents", NIGHT)
    writer = DataFileWriter(small, chosen, "part")
    small.ensure("documents")
    for start in range(3):
        writer.write(documents(4, NIGHT, f"w{start}").to_batches()[0])
        writer.roll()
    files = writer.close()
    small.commit(small.fence("documents", NIGHT), files, "f")
    assert [file.rows for file in files] == [4, 4, 4]
    assert small.read("documents")["text"].to_pylist()[::4] == ["w0 0", "w1 0", "w2 0"]


RACER = """
import pathlib, sys, time
from forge.lake import CommitRefused, Lake
from forge.schema import Document, table_of
root, night, fingerprint, go = sys.argv[1:]
lake = Lake(root)
fence = lake.fence("documents", night)
rows = table_of("documents", [Document("text", "plain", f"text {n}", "train").row(night) for n in range(7)])
print("ready", flush=True)
while not pathlib.Path(go).exists():
    time.sleep(0.001)
try:
    commit = lake.write("documents", rows, night, fingerprint, fence=fence)
    print("applied" if commit.applied else "already")
except CommitRefused:
    print("refused")
"""


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("same", [True, False])
def test_six_writers_of_one_night_commit_once(lake: Lake, tmp_path: Path, exists: bool, same: bool) -> None:
    if exists:
        lake.write("documents", documents(1, NEXT), NEXT, "earlier")
    go = tmp_path / "go"
    racers = [  # processes of their own: delta-rs does not work in a fork of a process that used it
        subprocess.Popen(
            [sys.executable, "-c", RACER, lake.root, NIGHT, "f" if same else f"f{n}", str(go)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(6)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    go.touch()
    outcomes = sorted(racer.communicate(timeout=60)[0].strip() for racer in racers)
    assert outcomes == (["already"] * 5 + ["applied"] if same else ["applied"] + ["refused"] * 5)
    assert lake.read("documents", partition_key=NIGHT).num_rows == 7
    # One after another, from fresh handles: nothing more is committed.
    before = lake.version("documents")
    fingerprint = lake.fingerprints("documents")[f"documents/{NIGHT}"]
    for _ in range(6):
        assert not Lake(lake.root).write("documents", documents(7, NIGHT), NIGHT, fingerprint).applied
    assert lake.version("documents") == before


def _write_for_ever(root: str) -> None:
    lake = Lake(root)
    writer = DataFileWriter(lake, Slice("documents", NIGHT), "part")
    while True:
        writer.write(documents(1000, NIGHT, os.urandom(200).hex()).to_batches()[0])


def test_a_killed_writer_leaves_readers_on_the_old_version_and_vacuum_removes_its_files(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"), retention_hours=0)
    lake.write("documents", documents(5, NIGHT), NIGHT, "a")
    process = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(lake.root,))
    process.start()
    folder = Path(lake.table_uri("documents"))
    deadline = time.monotonic() + 30
    while len(list(folder.rglob("*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert len(list(folder.rglob("*.parquet"))) >= 2
    assert lake.read("documents").num_rows == 5
    lake.vacuum("documents", [lake.version("documents") or 0])
    assert len(list(folder.rglob("*.parquet"))) == 1
    assert lake.read("documents").num_rows == 5


def test_another_engine_reads_the_table_folder(lake: Lake) -> None:
    polars = pytest.importorskip("polars")
    lake.write("documents", documents(5, NIGHT), NIGHT, "a")
    lake.write("documents", documents(2, NIGHT, "new"), NIGHT, "b")
    frame = polars.read_delta(lake.table_uri("documents"))
    assert frame.height == 2
    assert sorted(frame["text"].to_list()) == ["new 0", "new 1"]


def test_a_table_that_lacks_newer_columns_is_read_and_written_on(lake: Lake) -> None:
    """`evaluations` as it was before intervals and categories: written then, read and added to now."""
    from deltalake import DeltaTable, write_deltalake

    newer = {"category", "low", "high", "leaves_out"}
    before = pa.schema([column for column in TABLES["evaluations"] if column.name not in newer])
    old = {"run_id": "run1", "benchmark": "bfcl", "metric": "ast_accuracy", "value": 0.5, "partition_key": "run1-base"}
    write_deltalake(
        lake.table_uri("evaluations"), pa.Table.from_pylist([old], schema=before), partition_by=["partition_key"]
    )
    [row] = lake.read("evaluations").to_pylist()
    assert row == dict.fromkeys(TABLES["evaluations"].names) | old
    assert lake.read("evaluations", ["low", "value"]).to_pylist() == [{"low": None, "value": 0.5}]

    new = old | {"category": "simple", "low": 0.25, "high": 0.75, "leaves_out": "", "partition_key": "run1-III"}
    lake.write("evaluations", table_of("evaluations", [new]), "run1-III", "a")
    rows = {row["partition_key"]: row for row in lake.read("evaluations").to_pylist()}
    assert (rows["run1-base"]["category"], rows["run1-III"]["category"]) == (None, "simple")
    assert rows["run1-III"]["high"] == 0.75
    stored = DeltaTable(lake.table_uri("evaluations")).to_pyarrow_table(columns=["partition_key", "low"]).to_pylist()
    assert {row["partition_key"]: row["low"] for row in stored} == {"run1-base": None, "run1-III": 0.25}
    assert not lake.write("evaluations", table_of("evaluations", [new]), "run1-III", "a").applied
