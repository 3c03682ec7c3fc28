"""Seal-Tools: planned calls, whose results have names that later calls use."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry, seal_tools
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

DATASET = Path(__file__).resolve().parents[5] / "shared" / "samples" / "seal-tools" / "Seal-Tools_Dataset"


def planned(api: str, parameters: object, *responses: str) -> dict[str, Any]:
    return {"api": api, "parameters": parameters, "responses": list(responses)}


RECORD = {
    "id": "dev-difficult-7",
    "query": "Make a list for the trip and put tea on it.",
    "calling": [
        planned("createList", {"title": "trip"}, "API_call_0", "API_call_1"),
        planned("addEntry", {"list_id": "API_call_0", "entry": "tea", "count": 2}, "API_call_2"),
    ],
}


def test_calls_of_one_turn_with_the_names_of_what_they_return() -> None:
    (only,) = episodes(seal_tools.read, RECORD)
    assert only.task == RECORD["query"]
    assert only.episode == "dev-difficult-7"
    assert list(only.steps) == [
        Step("user", "Make a list for the trip and put tea on it."),
        Step(
            "assistant",
            calls=(
                ToolCall("createList", {"title": "trip"}, "API_call_0,API_call_1"),
                ToolCall("addEntry", {"list_id": "API_call_0", "entry": "tea", "count": 2}, "API_call_2"),
            ),
        ),
    ]
    assert check(only) is None
    assert registry.format_of_record(RECORD) == "seal_tools"


def test_a_name_that_two_calls_have_is_no_id() -> None:
    calling = [
        planned("a", {}, "API_call_0"),
        planned("b", {}, "API_call_0"),
        planned("c", {}, "API_call_1"),
        planned("d", {}),
    ]
    (only,) = episodes(seal_tools.read, {**RECORD, "calling": calling})
    assert [call.call_id for call in only.steps[1].calls] == [None, None, "API_call_1", None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"calling": []}, "no_steps"),
        ({"calling": ["createList"]}, "malformed_record"),
        ({"calling": [planned("", {})]}, "malformed_record"),
        ({"calling": [planned("createList", ["trip"])]}, "malformed_arguments"),
        ({"query": None}, "malformed_record"),
    ],
)
def test_what_cannot_be_used(change: dict[str, Any], reason: str) -> None:
    assert reasons(seal_tools.read, {**RECORD, **change}) == [reason]


@settings(max_examples=200, deadline=None)
@given(record=damaged(RECORD))
def test_damage_is_a_problem_and_no_exception(record: Any) -> None:
    seal_tools.matches(record)
    found_in(seal_tools.read, record)


@pytest.mark.skipif(not DATASET.is_dir(), reason="the samples are not here")
def test_real_records() -> None:
    counted: Counter[str] = Counter()
    for name in ("dev", "test_in_domain", "test_out_domain"):
        for line in (DATASET / f"{name}.jsonl").read_bytes().splitlines():
            record = orjson.loads(line)
            (only,) = episodes(seal_tools.read, record)
            assert check(only) is None
            assert only.episode == record["id"]
            assert [call.name for call in only.steps[1].calls] == [call["api"] for call in record["calling"]]
            ids = ",".join(call.call_id or "" for call in only.steps[1].calls)
            assert ids == ",".join(response for call in record["calling"] for response in call["responses"])
            counted[name] += 1
    assert counted == {"dev": 700, "test_in_domain": 700, "test_out_domain": 654}
