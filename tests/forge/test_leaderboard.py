"""The leaderboard: which rows stand on one board, in which order, and which never meet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.lake import Lake
from forge.leaderboard import Board, UnknownMetric, _board, boards, markdown
from forge.schema import canonical_json, table_of

RELEASES = ("a" * 32, "b" * 32)


def row(checkpoint: str, value: float, **changed: Any) -> dict[str, Any]:
    found = {
        "run_id": "run1", "release_id": RELEASES[0], "checkpoint": checkpoint, "stage": "", "benchmark": "bfcl_loss",
        "category": "all", "metric": "nats_per_token", "value": value, "low": value - 0.1, "high": value + 0.1,
        "items": 500, "leaves_out": "", "prompt_hash": "prompt", "created_at": "2026-11-21T03:00:00+00:00",
        "task_key": "key", **changed,
    }  # fmt: skip
    found["detail"] = canonical_json({"task_key": found.pop("task_key"), "precision": "fp32"})
    return found


def write(lake: Lake, *rows: dict[str, Any]) -> None:
    for number, found in enumerate(rows):
        key = f"part-{number}"
        lake.write("evaluations", table_of("evaluations", [found | {"partition_key": key}]), key, str(found))


def order(board: Board) -> list[tuple[int, str]]:
    return [(place.rank, place.checkpoint) for place in board.places]


def test_losses_rise_and_accuracies_fall_down_the_board(lake: Lake) -> None:
    losses = [row("base", 1.2), row("I", 1.1), row("III", 0.9), row("III", 1.0, release_id=RELEASES[1], run_id="run2")]
    accuracy = {"benchmark": "bfcl", "metric": "accuracy"}
    write(lake, *losses, row("base", 0.2, **accuracy), row("III", 0.6, **accuracy), row("II", 0.6, **accuracy))
    [board] = boards(lake)
    assert board.name == "bfcl_loss/nats_per_token"
    assert order(board) == [(1, "III"), (2, "III"), (3, "I"), (4, "base")]
    assert board.places[1].release_id == RELEASES[1]
    assert [place.is_apart for place in board.places] == [False, False, False, True]
    [board] = boards(lake, "bfcl/accuracy")
    assert order(board) == [(1, "II"), (1, "III"), (3, "base")], "equal values share a rank"
    [board] = boards(lake, release=RELEASES[1][:6])
    assert order(board) == [(1, "III")]


def test_other_items_or_prompts_are_another_board(lake: Lake) -> None:
    write(
        lake, row("base", 1.2), row("I", 1.1), row("II", 0.1, task_key="fewer items"),
        row("III", 0.2, prompt_hash="other prompt"),
    )  # fmt: skip
    found = boards(lake)
    assert [len(board.places) for board in found] == [2, 1, 1]
    assert order(found[0]) == [(1, "I"), (2, "base")]
    assert {(board.task_key, board.prompt_hash) for board in found} == {
        ("key", "prompt"), ("fewer items", "prompt"), ("key", "other prompt"),
    }  # fmt: skip


def test_rows_that_do_not_say_what_was_measured_are_on_no_board(lake: Lake) -> None:
    write(
        lake, row("base", 1.2), row("I", 0.1) | {"detail": "{}"}, row("II", 0.1) | {"detail": None},
        row("III", 0.1) | {"detail": "{broken"}, row("III", 0.1, run_id="x") | {"detail": "[]"},
        row("III", float("nan"), run_id="y"), row("III", 0.1, run_id="z") | {"value": None},
    )  # fmt: skip
    [board] = boards(lake)
    assert order(board) == [(1, "base")]


def test_categories_and_overall_scores_have_boards_of_their_own(lake: Lake) -> None:
    score = {"benchmark": "bfcl", "metric": "accuracy"}
    write(
        lake,
        row("III", 0.5, category="v4", leaves_out="agentic", **score),
        row("III", 0.7, category="multiple", **score),
    )  # fmt: skip
    [board] = boards(lake, "bfcl/v4/accuracy")
    assert (board.category, board.leaves_out) == ("v4", "agentic")
    assert "without agentic" in markdown([board])
    [board] = boards(lake, "bfcl/multiple/accuracy")
    assert board.places[0].value == 0.7


def test_a_row_without_an_interval_is_shown_without_one(lake: Lake) -> None:
    write(lake, row("III", 0.9), row("base", 1.2) | {"low": None, "high": None})
    [board] = boards(lake)
    assert board.places[1].is_apart is None
    assert "| 2 | aaaaaaaaaaaa | run1 | base | 1.2000 | - | 500 | - |" in markdown([board])


def test_an_unknown_metric_lists_those_over_whole_benchmarks(lake: Lake) -> None:
    with pytest.raises(UnknownMetric, match="none"):
        boards(lake)
    write(lake, row("base", 1.2), row("base", 0.5, category="simple", metric="accuracy"))
    with pytest.raises(UnknownMetric, match=r"over whole benchmarks: bfcl_loss/nats_per_token;"):
        boards(lake, "mmlu/accuracy")
    with pytest.raises(UnknownMetric, match="for release ffff"):
        boards(lake, release="ffff")


def test_names_cannot_break_the_markdown(lake: Lake) -> None:
    write(lake, row("a | b\n<script>", 0.9))
    text = markdown(boards(lake))
    assert "<script" not in text
    assert "a \\| b &lt;script>" in text


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_ranks_count_those_that_are_strictly_better(values: list[int]) -> None:
    rows = [row(f"model{number}", float(value)) for number, value in enumerate(values)]
    board = _board("key", "prompt", rows)
    assert [place.value for place in board.places] == sorted(map(float, values))
    for place in board.places:
        assert place.rank == 1 + sum(value < place.value for value in values)
