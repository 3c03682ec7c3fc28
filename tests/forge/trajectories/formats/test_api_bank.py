"""API-Bank, levels 1 and 2: the turns of a file are one dialogue."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import api_bank, registry
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

DIALOGUES = Path(__file__).resolve().parents[5] / "shared" / "samples" / "api-bank" / "api-bank" / "lv1-lv2-samples"


def call(result: object, **parameters: object) -> dict[str, Any]:
    return {"role": "API", "api_name": "QueryTea", "param_dict": parameters, "result": result}


TURNS: list[dict[str, Any]] = [
    {"role": "User", "text": "Which teas are there?"},
    {"role": "AI", "text": "Let me look."},
    call(
        {
            "api_name": "QueryTea",
            "input": {"of": ["day"]},
            "output": [{"content": "green", "cups": 2}],
            "exception": None,
        },
        of="['day']",
    ),
    call({"input": {}, "output": None, "exception": "No such kind."}, kind="blue"),
    {"role": "AI", "text": "Green tea, two cups."},
]


def test_a_file_is_a_dialogue() -> None:
    (only,) = episodes(api_bank.read_file, TURNS)
    assert only.task == "Which teas are there?"
    assert list(only.steps) == [
        Step("user", "Which teas are there?"),
        Step("assistant", "Let me look."),
        Step("assistant", calls=(ToolCall("QueryTea", {"of": "['day']"}),)),
        Step("tool", '[{"content":"green","cups":2}]'),
        Step("assistant", calls=(ToolCall("QueryTea", {"kind": "blue"}),)),
        Step("tool", "", error="No such kind."),
        Step("assistant", "Green tea, two cups."),
    ]
    assert only.outcome == "unknown"
    assert check(only) is None
    assert registry.format_of_file(TURNS[0]) == "api_bank"
    assert registry.format_of_record(TURNS[0]) is None


@pytest.mark.parametrize("result", ["3 cups", {"cups": 3}, 3])
def test_a_result_of_another_shape_is_shown_whole(result: object) -> None:
    (only,) = episodes(api_bank.read_file, [call(result)])
    assert only.steps[1].content == (result if isinstance(result, str) else orjson.dumps(result).decode())


def test_a_call_without_a_result_has_no_observation() -> None:
    (only,) = episodes(api_bank.read_file, [call(None)])
    assert len(only.steps) == 1


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"role": "Nurse", "text": "Tea?"}, "malformed_record"),
        ({"role": "User"}, "malformed_record"),
        ({"role": "API", "param_dict": {}}, "malformed_record"),
        ({"role": "API", "api_name": "QueryTea", "param_dict": ["green"]}, "malformed_arguments"),
        (call({"output": 2**70}), "malformed_record"),
    ],
)
def test_a_turn_that_cannot_be_used(turn: dict[str, Any], reason: str) -> None:
    assert reasons(api_bank.read_file, [*TURNS, turn]) == [reason]


@pytest.mark.parametrize(
    "first", [{"role": "user", "text": "x"}, {"role": "User"}, {"role": ["User"], "text": "x"}, {}]
)
def test_other_files_do_not_match(first: dict[str, Any]) -> None:
    assert not api_bank.matches_first(first)


@settings(max_examples=200, deadline=None)
@given(turns=damaged(TURNS))
def test_damage_is_a_problem_and_no_exception(turns: list[Any]) -> None:
    records = [turn for turn in turns if isinstance(turn, dict)]
    for record in records:
        api_bank.matches_first(record)
    found_in(api_bank.read_file, records)


@pytest.mark.skipif(not DIALOGUES.is_dir(), reason="the samples are not here")
def test_real_dialogues() -> None:
    """Every turn is a step and every call two, one to make it and one for its result."""
    counted: Counter[str] = Counter()
    for path in sorted(DIALOGUES.glob("*/*.jsonl")):
        turns = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        counted["files"] += 1
        counted["empty"] += not turns
        if not turns:
            continue
        (only,) = episodes(api_bank.read_file, turns)
        calls = sum(turn["role"] == "API" for turn in turns)
        assert len(only.steps) == len(turns) + calls
        refused = check(only)
        assert (refused is None) == (calls > 0)
        counted["calls"] += calls
        counted["turns"] += len(turns)
        counted["without a call"] += refused is not None
    assert counted == {"files": 264, "empty": 1, "turns": 2_582, "calls": 508, "without a call": 2}
