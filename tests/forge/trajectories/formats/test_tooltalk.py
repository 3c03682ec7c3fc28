"""ToolTalk: conversations whose assistant turns hold the calls that were made for them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry, tooltalk
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons


def made(name: str, parameters: object, response: object, exception: object = None) -> dict[str, Any]:
    return {"request": {"api_name": name, "parameters": parameters}, "response": response, "exception": exception}


RECORD: dict[str, Any] = {
    "name": "Tea-easy",
    "conversation_id": "7f0e",
    "suites_used": ["Kitchen"],
    "apis_used": ["FindTea", "BrewTea"],
    "scenario": "Somebody wants tea.",
    "user": {"username": "ada", "password": "not told to the assistant"},
    "metadata": {"location": "Bergen", "session_token": "98-b4", "username": None, "cups": 2},
    "conversation": [
        {"index": 0, "role": "user", "text": "Tea, please."},
        {
            "index": 1,
            "role": "assistant",
            "text": "Your tea is ready.",
            "apis": [
                made("FindTea", {"session_token": "98-b4"}, {"teas": [{"text": "green", "left": 3}]}),
                made("BrewTea", {"tea": "green"}, None, "No water"),
                made("BrewTea", {"tea": "green", "water": True}, {"status": "ok"}),
            ],
        },
        {"index": 2, "role": "user", "text": "Thanks!"},
    ],
}


def with_calls(*apis: object) -> dict[str, Any]:
    return {**RECORD, "conversation": [{"role": "assistant", "text": "Done.", "apis": list(apis)}]}


def test_calls_come_before_the_text_of_their_turn() -> None:
    (only,) = episodes(tooltalk.read, RECORD)
    assert only.task == "Tea, please."
    assert only.episode == "7f0e"
    assert list(only.steps) == [
        Step("system", "location: Bergen\nsession_token: 98-b4\ncups: 2"),
        Step("user", "Tea, please."),
        Step("assistant", calls=(ToolCall("FindTea", {"session_token": "98-b4"}),)),
        Step("tool", '{"teas":[{"left":3,"text":"green"}]}'),
        Step("assistant", calls=(ToolCall("BrewTea", {"tea": "green"}),)),
        Step("tool", "", error="No water"),
        Step("assistant", calls=(ToolCall("BrewTea", {"tea": "green", "water": True}),)),
        Step("tool", '{"status":"ok"}'),
        Step("assistant", "Your tea is ready."),
        Step("user", "Thanks!"),
    ]
    assert check(only) is None
    assert registry.format_of_record(RECORD) == "tooltalk"


def test_a_call_whose_result_is_not_recorded_has_no_observation() -> None:
    (only,) = episodes(tooltalk.read, with_calls(made("FindTea", {}, None)))
    assert [step.role for step in only.steps] == ["system", "assistant", "assistant"]


def test_an_empty_result_is_one() -> None:
    (only,) = episodes(tooltalk.read, with_calls(made("FindTea", {}, []), made("FindTea", {}, "")))
    assert [step.content for step in only.steps if step.role == "tool"] == ["[]", ""]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (made("FindTea", None, None), "malformed_arguments"),
        (made("FindTea", "tea", None), "malformed_arguments"),
        (made("", {}, None), "malformed_record"),
        ({"response": {}}, "malformed_record"),
        (None, "malformed_record"),
        (made("FindTea", {}, {"count": 2**70}), "malformed_record"),
        (made("FindTea", {}, {"tea": "\ud800"}), "malformed_record"),
    ],
)
def test_what_is_no_call(call: object, reason: str) -> None:
    assert reasons(tooltalk.read, with_calls(call)) == [reason]


def test_conversations_of_another_layout_do_not_match() -> None:
    assert not tooltalk.matches({"conversation": [{"role": "user", "content": "Tea"}]})
    assert not tooltalk.matches({"conversation": []})
    assert not tooltalk.matches({"conversation": "Tea"})


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_is_a_problem_and_no_exception(data: st.DataObject) -> None:
    record = data.draw(damaged(RECORD))
    tooltalk.matches(record)
    found_in(tooltalk.read, record)
