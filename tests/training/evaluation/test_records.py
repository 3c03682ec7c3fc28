from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.records import ItemRecord, RecordFile, read_records

RECORDS = [
    ItemRecord("a", "x", {"accuracy": (1.0, 1.0)}, answer="f()\n\u2028", problem="", detail={"turns": 2}),
    ItemRecord("b", "y", {"nats_per_token": (12.25, 4.0), "bits_per_byte": (17.0, 30.0)}),
    ItemRecord("c", "x", {"accuracy": (0.0, 1.0)}, problem="wrong"),
]


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "made" / "task.jsonl", "k")
    file.append(RECORDS[:2])
    file.append(RECORDS)
    again = RecordFile(file.path, "k")
    assert list(again.records.values()) == RECORDS == list(read_records(file.path, "k").values())
    assert read_records(file.path, "other") == {} == read_records(tmp_path / "absent.jsonl", "k")
    assert len(file.path.read_bytes().splitlines()) == 4


def test_another_key_starts_anew(tmp_path: Path) -> None:
    RecordFile(tmp_path / "task.jsonl", "k").append(RECORDS)
    assert RecordFile(tmp_path / "task.jsonl", "other").records == {}
    assert RecordFile(tmp_path / "task.jsonl", "k").records == {}


@given(st.data())
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "task.jsonl"
    RecordFile(path, "k").append(RECORDS)
    whole = path.read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:kept])
    file = RecordFile(path, "k")
    assert list(file.records.values()) == RECORDS[: max(whole[:kept].count(b"\n") - 1, 0)]
    file.append(RECORDS)
    assert path.read_bytes() == whole


def test_records_that_came_before_an_error_or_a_stop_are_kept(tmp_path: Path) -> None:
    def broken():
        yield RECORDS[0]
        raise OSError("gone")

    file = RecordFile(tmp_path / "task.jsonl", "k")
    with pytest.raises(OSError, match="gone"):
        file.extend(broken(), stop=False)
    assert list(RecordFile(file.path, "k").records) == ["a"]
    stop: list[int] = []

    def stopping():
        yield RECORDS[1]
        stop.append(1)
        yield RECORDS[2]
        raise AssertionError("asked on after the stop")

    file.extend(stopping(), stop)
    assert list(RecordFile(file.path, "k").records) == ["a", "b", "c"]
