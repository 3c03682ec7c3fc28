"""ADP standard trajectories from elsewhere, built by hand from the schema, and what our own look like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.formats import adp, registry, remainder
from forge.trajectories.formats.fields import UnusableRecordError
from tests.forge.trajectories.formats.damage import damaged, found_in


def said(content: object, source: str = "user", **other: object) -> dict[str, Any]:
    return {"class_": "text_observation", "content": content, "source": source, **other}


def action(function: str, description: str | None = None, **kwargs: object) -> dict[str, Any]:
    return {"class_": "api_action", "function": function, "kwargs": kwargs, "description": description}


def code(language: str, content: str) -> dict[str, Any]:
    return {"class_": "code_action", "language": language, "content": content, "description": f"Some {language}."}


def message(content: str, description: str | None = None) -> dict[str, Any]:
    return {"class_": "message_action", "content": content, "description": description}


def steps_of(*items: dict[str, Any]) -> tuple[Step, ...]:
    (found,) = adp.read({"id": "1", "content": list(items), "details": {}})
    assert isinstance(found, Trajectory)
    return tuple(found.steps)


def test_code_actions_are_calls_of_a_shell_of_python_or_of_something_that_runs_code() -> None:
    found = steps_of(
        said("Count the files."),
        code("bash", "ls | wc -l"),
        said("12", "environment"),
        code("sh", "true"),
        said("", "user"),
        code("python3", "print(1)"),
        said("1"),
        code("mysql", "SELECT 1"),
        said("[(1,)]"),
        message("<finish> 12 </finish>", "Twelve."),
    )
    assert [call for step in found for call in step.calls] == [
        ToolCall("shell", {"command": "ls | wc -l"}),
        ToolCall("shell", {"command": "true"}),
        ToolCall("python", {"code": "print(1)"}),
        ToolCall("execute_code", {"language": "mysql", "code": "SELECT 1"}),
    ]
    assert [step.role for step in found] == ["user", *("assistant", "tool") * 4, "assistant"]
    assert found[1].content == "Some bash."
    assert found[4] == Step("tool", "")
    assert found[-1] == Step("assistant", "<finish> 12 </finish>", thought="Twelve.")


def test_observations_answer_the_actions_right_before_them() -> None:
    found = steps_of(
        said("Instructions."),
        said("Understood.", "agent"),
        said("Task."),
        action("look", None),
        said("A lamp."),
        said("By the way, hurry."),
        action("take", "First the lamp.", item="lamp"),
        action("take", None, item="book"),
        said("Taken.", "environment"),
        said("Taken too.", "environment"),
        action("wait", "I wait."),
        message("Done."),
        said("Thanks.", "environment"),
    )
    assert [(step.role, step.content) for step in found] == [
        ("user", "Instructions."),
        ("assistant", "Understood."),
        ("user", "Task."),
        ("assistant", None),
        ("tool", "A lamp."),
        ("user", "By the way, hurry."),
        ("assistant", "First the lamp."),
        ("tool", "Taken."),
        ("tool", "Taken too."),
        ("assistant", "I wait."),
        ("assistant", "Done."),
        ("user", "Thanks."),
    ]
    assert [call.arguments["item"] for call in found[6].calls] == ["lamp", "book"]


def test_named_calls_and_reasoning_of_newer_versions() -> None:
    found = steps_of(
        said("You are terse.", "environment", name="system"),
        said("Task."),
        {**action("a", "Both."), "tool_call_id": "c1", "reasoning_content": "Two at once."},
        {**action("b"), "tool_call_id": "c2"},
        said("two", "environment", tool_call_id="c2"),
        said("one", "environment", tool_call_id="c1", reward=1.0),
    )
    assert found[0] == Step("system", "You are terse.")
    assert found[2] == Step("assistant", "Both.", "Two at once.", (ToolCall("a", {}, "c1"), ToolCall("b", {}, "c2")))
    assert found[3:] == (Step("tool", "two", answers="c2"), Step("tool", "one", answers="c1"))


def test_pages_and_pictures() -> None:
    page = {"class_": "web_observation", "html": None, "axtree": "button 'Go'", "url": "http://x.test"}
    picture = {
        "class_": "image_observation",
        "content": "a.png",
        "annotations": [{"text": "Go"}],
        "source": "environment",
    }
    found = steps_of(
        said("Press Go."),
        {**page, "image_observation": None, "viewport_size": None},
        action("click", "Go.", bid="1"),
        {**page, "axtree": None, "html": "<p>Went</p>", "image_observation": picture, "viewport_size": [1, 2]},
        action("shot"),
        picture,
        action("read"),
        {"class_": "json_observation", "content": {"b": 1, "a": None}, "source": "environment"},
    )
    assert found[1] == Step("user", "URL: http://x.test\nbutton 'Go'")
    assert found[3] == Step("tool", 'URL: http://x.test\n<p>Went</p>\n[Image: a.png]\n[{"text":"Go"}]')
    assert found[5] == Step("tool", '[Image: a.png]\n[{"text":"Go"}]')
    assert found[7] == Step("tool", '{"a":null,"b":1}')


def test_details_say_what_the_episode_was() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    record = {
        "id": "repo-7",
        "content": [said("An observation."), action("look")],
        "details": {
            "resolved": "True",
            "tools": json.dumps(tools),
            "model_name": "big-model",
            "task_description": "Press the button.",
        },
    }
    assert registry.format_of_record(record) == "adp"
    (found,) = adp.read(record)
    assert isinstance(found, Trajectory)
    assert (found.episode, found.outcome, found.generator, found.task) == (
        "repo-7",
        "success",
        "big-model",
        "Press the button.",
    )
    assert found.tools == ({"name": "look", "parameters": {"type": "object"}},)


def test_our_records_look_like_adp() -> None:
    steps = (
        Step("system", "Be brief."),
        Step("user", "Count."),
        Step(
            "assistant",
            "I count.",
            "Easy.",
            (ToolCall("shell", {"command": "ls"}, "c1"), ToolCall("a", {"n": 1}, "c2")),
        ),
        Step("tool", "two", answers="c2"),
        Step("tool", "one", answers="c1"),
        Step("assistant", "Three.", loss=True),
    )
    trajectory = Trajectory("Count.", (), steps, "success", 1.0, "os", "", "human", "", "", "os_0")
    written = adp.write(trajectory)
    assert written == {
        "id": "os_0",
        "content": [
            said("Be brief.", "environment", name="system"),
            said("Count."),
            {
                "class_": "code_action",
                "language": "bash",
                "content": "ls",
                "description": "I count.",
                "reasoning_content": "Easy.",
                "tool_call_id": "c1",
            },
            {**action("a", None, n=1), "tool_call_id": "c2"},
            said("two", "environment", tool_call_id="c2"),
            said("one", "environment", tool_call_id="c1"),
            message("Three."),
        ],
        "details": {
            "reward": 1.0,
            "environment": "os",
            "model_name": "human",
            remainder.KEY: {"steps": {"5": {"loss": True}}},
        },
    }
    assert list(adp.read(written)) == [trajectory]


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([], "no_steps"),
        ([{"class_": "dream"}], "malformed_record"),
        ([{"class_": None}], "malformed_record"),
        ([{"class_": "api_action", "function": 7}], "malformed_record"),
        ([{"class_": "api_action", "function": "f", "kwargs": ["not", "an", "object"]}], "malformed_arguments"),
        ([{"class_": "code_action", "language": "bash"}], "malformed_record"),
        ("text", "malformed_record"),
    ],
)
def test_why_a_record_is_unusable(items: object, reason: str) -> None:
    with pytest.raises(UnusableRecordError) as raised:
        list(adp.read({"id": "1", "content": items, "details": {}}))
    assert raised.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(
    record=damaged(
        {
            "id": "1",
            "content": [
                said("x"),
                {**action("f", "d", a=1), "tool_call_id": "c"},
                said("y", "environment", tool_call_id="c"),
                code("bash", "ls"),
                {"class_": "web_observation", "url": "u", "image_observation": {"content": "a", "annotations": [1]}},
            ],
            "details": {"tools": [{"name": "f", "parameters": {}}], remainder.KEY: {"steps": {"0": {"loss": True}}}},
        }
    )
)
def test_damage_is_a_problem_and_no_exception(record: Any) -> None:
    assert isinstance(adp.matches(record), bool)
    assert found_in(adp.read, record)
