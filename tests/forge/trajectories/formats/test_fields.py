from __future__ import annotations

from typing import Any

import pytest

from forge.schema import Step, ToolCall
from forge.trajectories.formats.fields import UnusableRecordError, call_of, called, observation

DEEP: Any = {}
for _ in range(64):
    DEEP = {"next": DEEP}


@pytest.mark.parametrize("arguments", [{"city": "Oslo"}, ' {"city": "Oslo"}\n'])
def test_a_call_wherever_its_fields_stand(arguments: object) -> None:
    call = ToolCall("rain", {"city": "Oslo"}, "c1")
    assert called("rain", arguments, "turn 1", "c1") == call
    for key in ("arguments", "parameters"):
        assert call_of({"name": "rain", key: arguments, "id": "c1"}, 1) == call
        assert call_of({"id": "c1", "type": "function", "function": {"name": "rain", key: arguments}}, 1) == call


@pytest.mark.parametrize("arguments", [None, "", " \n", {}, "{}"])
def test_a_call_without_arguments(arguments: object) -> None:
    assert (
        called("rain", arguments, "turn 1")
        == call_of({"name": "rain", "arguments": arguments}, 1)
        == ToolCall("rain", {})
    )


NAMES: list[object] = [None, "", 1, ["rain"]]
ARGUMENTS: list[object] = ["{", "Oslo", "[]", "null", [], 0, True, float("nan"), b"{}"]
VALUES: list[object] = [b"x", "\ud800", 2**64, {1j: 1}]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        *((name, {}, "malformed_record") for name in NAMES),
        *(("rain", arguments, "malformed_arguments") for arguments in ARGUMENTS),
        *(("rain", {"a": value}, "malformed_arguments") for value in VALUES),
        ("rain", DEEP, "too_deeply_nested"),
    ],
)
def test_what_is_no_call(name: object, arguments: object, reason: str) -> None:
    with pytest.raises(UnusableRecordError, match="turn 1") as raised:
        called(name, arguments, "turn 1")
    assert raised.value.reason == reason
    with pytest.raises(UnusableRecordError, match="turn 1") as raised:
        call_of({"function": {"name": name, "arguments": arguments}}, 1)
    assert raised.value.reason == reason


def test_a_result_is_data() -> None:
    assert observation(None) == Step("tool", "")
    assert observation("dry", "") == Step("tool", "dry")
    assert observation([{"type": "text", "text": "dry"}], {"code": 1}) == Step(
        "tool", '[{"text":"dry","type":"text"}]', error='{"code":1}'
    )
