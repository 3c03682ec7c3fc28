"""A run's metrics are read whatever state a crash left them in, and tokens are counted over all stages."""

from __future__ import annotations

import math
from pathlib import Path

import orjson
from hypothesis import given
from hypothesis import strategies as st

from training.run_history import read_history


def write(path: Path, *lines: object) -> Path:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines) + b"\n")
    return path


def step(stage: str, number: int, tokens: int, loss: float | None = 1.0, **more: object) -> dict[str, object]:
    return {"stage": stage, "step": number, "tokens": tokens, "loss": loss, "loss_by_kind": {"code": loss}} | more


def test_tokens_are_counted_over_all_stages(tmp_path: Path) -> None:
    probe = {"event": "benchmark", "stage": "II", "step": 0, "tokens": 0, "metrics": {"bfcl": 2.0}}
    path = write(tmp_path / "m", step("I", 1, 10), step("I", 2, 20), probe, step("II", 1, 5), step("III", 1, 7))
    history = read_history(path)
    assert [(found.stage, found.tokens) for found in history.steps] == [("I", 10), ("I", 20), ("II", 25), ("III", 32)]
    [measured] = history.measurements
    assert (measured.tokens, measured.metrics) == (20, {"bfcl": 2.0}), "where stage I ended"
    assert history.stages == ("I", "II", "III")


def test_without_later_stages(tmp_path: Path) -> None:
    probe = {"event": "benchmark", "stage": "II", "step": 1, "tokens": 5, "metrics": {"bfcl": 2.0}}
    history = read_history(write(tmp_path / "m", step("I", 1, 10), step("II", 1, 5), probe)).up_to("I")
    assert (history.stages, history.measurements) == (("I",), ())


def test_events_are_no_steps_and_the_last_line_of_a_step_counts(tmp_path: Path) -> None:
    other = {"event": "something", "stage": "I", "step": 1, "tokens": 10}
    path = write(tmp_path / "m", step("I", 2, 20, 3.0), other, step("I", 1, 10, 4.0), step("I", 2, 20, 2.0))
    history = read_history(path)
    assert [(found.step, found.loss) for found in history.steps] == [(1, 4.0), (2, 2.0)]
    assert history.measurements == ()


def test_what_a_crash_leaves_is_left_out(tmp_path: Path) -> None:
    strange = [b'{"stage": "I", "st', b"[]", b"3", {"stage": "IX", "step": 1, "tokens": 1}, {"stage": "I", "step": 1}]
    history = read_history(write(tmp_path / "m", step("I", 1, 10, None, skipped=True), *strange))
    [only] = history.steps
    assert math.isnan(only.loss)
    assert math.isnan(only.loss_by_kind["code"])
    assert only.is_skipped
    assert read_history(tmp_path / "absent").steps == ()


@given(cut=st.integers(0, 400))
def test_any_cut_keeps_the_steps_before_it(tmp_path_factory, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    lines = [orjson.dumps(step("I", number, 10 * number)) + b"\n" for number in range(1, 6)]
    path.write_bytes(b"".join(lines)[:cut])
    whole = sum(1 for end in range(1, 6) if cut >= sum(map(len, lines[:end])) - 1)
    assert [found.step for found in read_history(path).steps] == list(range(1, whole + 1))
