"""Labelled text as steps: labels, actions as calls, thoughts, which call an observation answers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import MAX_CHARACTERS
from forge.trajectories.formats.fields import UnusableRecordError
from forge.trajectories.formats.react_steps import (
    Turn,
    arguments_of_text,
    assistant_steps,
    call_of_action,
    chat_steps,
    is_react,
    labelled,
    last_request,
    prompted,
    stated_reward,
    steps_of,
)
from forge.trajectories.observations import answers


def steps_in(text: str) -> list[Step]:
    return steps_of(labelled(text)[1])


def act(action: str) -> ToolCall:
    return ToolCall("act", {"action": action})


@pytest.mark.parametrize(
    ("action", "call"),
    [
        ("Search[Oslo [city]]", ToolCall("Search", {"input": "Oslo [city]"})),
        ("finish[]", ToolCall("finish", {"input": ""})),
        ("get_relations(#1, a.b)", ToolCall("get_relations", {"input": "#1, a.b"})),
        ("go to desk 1", act("go to desk 1")),
        ("Search[a] or else", act("Search[a] or else")),
        ("Search[a], Search[b]", ToolCall("Search", {"input": "a], Search[b"})),  # as its environment reads it
        ("finish", ToolCall("finish", {})),
        ('f with Action Input: {"a": 1}', ToolCall("f", {"a": 1})),
        ("bash\n\n```bash\nls -l\n\ncd\n```", ToolCall("shell", {"command": "ls -l\n\ncd"})),
        ("Operation\n```sql\nSELECT 1\n```", ToolCall("sql", {"query": "SELECT 1"})),
        ("```python\n  x\n```", ToolCall("python", {"code": "  x"})),
        ("bash\n```bash\nls\n```\nand wait", act("bash\n```bash\nls\n```\nand wait")),
        ("bash\n```bash\nls", act("bash\n```bash\nls")),
        ("run\n```cobol\nx\n```", act("run\n```cobol\nx\n```")),
        ("", act("")),
    ],
)
def test_an_action_is_a_call_and_keeps_its_text(action: str, call: ToolCall) -> None:
    assert call_of_action(action) == call


def test_labels_numbered_or_not_in_any_spelling() -> None:
    text = (
        "Hi\nThought 1: a\nb\n ACTION: go\nObs 2: seen\nThink: c\n\nAct 12: Look[x]\nObservation 3:\n    if x:\n  y\n"
    )
    before, parts = labelled(text)
    assert before == "Hi\n"
    assert parts == [
        ("thought", "a\nb"),
        ("action", "go"),
        ("observation", "seen"),
        ("thought", "c"),
        ("action", "Look[x]"),
        ("observation", "    if x:\n  y"),
    ]
    assert labelled("Thoughts: no\nAction one: no\nNotAction: no")[1] == []


def test_thoughts_go_with_the_next_action() -> None:
    assert steps_in("Thought: a\nThought: b\nAction: go\nObservation: ok\nThought: end") == [
        Step("assistant", thought="a\nb", calls=(act("go"),)),
        Step("tool", "ok"),
        Step("assistant", thought="end"),
    ]


def test_thinking_is_a_thought_where_the_environment_only_acknowledges_it() -> None:
    assert steps_in("Action: think[a]\nObservation: OK.\nAction: think[cut\nObservation: OK.\nAction: click[b]") == [
        Step("assistant", thought="a\ncut", calls=(ToolCall("click", {"input": "b"}),))
    ]
    assert steps_in("Action: think: a\nObservation: OK, and more") == [
        Step("assistant", calls=(ToolCall("think", {"input": "a"}),)),
        Step("tool", "OK, and more"),
    ]


def test_action_input_and_final_answer() -> None:
    text = 'Thought: t\nAction: find\nAction Input: {"q": 1}\nObservation: r\nThought: done\nFinal Answer: 7'
    assert steps_in(text) == [
        Step("assistant", thought="t", calls=(ToolCall("find", {"q": 1}),)),
        Step("tool", "r"),
        Step("assistant", "Final Answer: 7", thought="done"),
    ]
    assert steps_in("Action: find\nAction Input: not {json\nEnd Action")[0].calls == (
        ToolCall("find", {"input": "not {json"}),
    )
    assert steps_in('Action: Answer\nFinal Answer: ["a"]')[0].calls == (ToolCall("Answer", {"input": '["a"]'}),)
    assert steps_in("Action Input: alone") == [Step("assistant", "Action Input: alone")]


def test_arguments_are_bounded() -> None:
    with pytest.raises(UnusableRecordError) as found:
        arguments_of_text('{"a":' * 100 + "1" + "}" * 100)
    assert found.value.reason == "too_deeply_nested"


def test_an_observation_without_an_action_is_said_by_the_user() -> None:
    steps = steps_in("Thought: a\nObservation: x\nAction: go\nObservation: y\nObservation: z")
    assert [(step.role, step.content) for step in steps] == [
        ("assistant", None),
        ("user", "x"),
        ("assistant", None),
        ("tool", "y"),
        ("user", "z"),
    ]


def test_several_actions_in_a_row_are_answered_in_order() -> None:
    steps = steps_in("Action: a\nAction: b\nObservation: of a\nObservation: of b\nAction: c\nObservation: of c")
    assert [call.call_id for step in steps for call in step.calls] == [None] * 3
    assert [answer.call.arguments["action"] for answer in answers(steps)] == ["a", "b", "c"]


def test_calls_have_names_where_one_stays_without_an_answer() -> None:
    steps = steps_in("Action: a\nAction: never\nObservation: of a\nThought: so\nAction: c\nObservation: of c")
    assert [answer.call.arguments["action"] for answer in answers(steps)] == ["a", "c"]


def test_prompted_transcript() -> None:
    before, parts = prompted("A room.\n> think: where\nOK.\n>go to desk 1\nA desk.\nA pen.\n> take pen 1\n")
    assert before == "A room.\n"
    assert steps_of(parts) == [
        Step("assistant", thought="where", calls=(act("go to desk 1"),)),
        Step("tool", "A desk.\nA pen."),
        Step("assistant", calls=(act("take pen 1"),)),
    ]


def test_a_message_is_one_step_where_possible() -> None:
    assert assistant_steps("I sum up.\nAction: go") == [Step("assistant", "I sum up.", calls=(act("go"),))]
    assert assistant_steps("Hm.\nFinal Answer: 1") == [Step("assistant", "Hm."), Step("assistant", "Final Answer: 1")]
    assert assistant_steps("Only words.") == [Step("assistant", "Only words.")]
    assert assistant_steps("Action: go\nObservation: invented\nAction: on") == [
        Step("assistant", calls=(act("go"),)),
        Step("assistant", "Observation: invented"),
        Step("assistant", calls=(act("on"),)),
    ]


def test_chat_in_which_the_user_observes() -> None:
    turns = [
        Turn("system", "Rules."),
        Turn("user", "First."),
        Turn("assistant", "Act: bash\n```bash\nls\n```", False),
        Turn("user", "a b"),
        Turn("assistant", "Act: answer(2)", False),
        Turn("user", "Second."),
        Turn("assistant", "Action: go", True),
        Turn("user", "Observation: gone"),
        Turn("assistant", "Action: finish[x]", True),
        Turn("user", "Observation: done"),
        Turn("user", "Observation: of nothing"),
    ]
    steps = chat_steps(turns)
    assert [step.role for step in steps] == [
        *("system", "user", "assistant", "tool", "assistant", "user"),
        *("assistant", "tool", "assistant", "tool", "user"),
    ]
    assert [step.loss for step in steps if step.role == "assistant"] == [False, False, True, True]
    assert [answer.call.name for answer in answers(steps)] == ["shell", "act", "finish"]
    assert steps[7].content == "gone"
    assert steps[10].content == "Observation: of nothing"
    assert last_request(steps) == "Second."


@pytest.mark.parametrize(
    ("words", "reward"),
    [
        ("Episode finished, reward = 1", 1.0),
        ("Episode finished, reward = False", 0.0),
        ("Your score (min 0.0, max 1.0): 0.25", 0.25),
        ("reward = 1", None),
        ("Your score (min 0.0, max 1.0): much", None),
    ],
)
def test_stated_reward(words: str, reward: float | None) -> None:
    assert stated_reward(words) == reward


def test_is_react() -> None:
    assert is_react("Thought: a\nAction: b")
    assert not is_react("Action: restart the printer.")


WORDS = st.sampled_from(
    [
        *(
            "Thought 1:",
            "Action:",
            "Act:",
            "Observation:",
            "Obs 3:",
            "Action Input:",
            "Final Answer:",
            "think[",
            "think:",
        ),
        *(
            "OK.",
            "```",
            "bash",
            "\n",
            "\n> ",
            " ",
            "]",
            "x[",
            "(",
            ")",
            '{"a": 1}',
            "End Action",
            "finish",
            "\ud800",
            "é",
        ),
    ]
)


@given(st.lists(WORDS, max_size=40).map("".join))
def test_any_text_is_steps_and_no_word_is_lost(text: str) -> None:
    for steps in (steps_in(text), assistant_steps(text), steps_of(prompted(text)[1])):
        list(answers(steps))
        assert all(step.role in ("assistant", "tool", "user") for step in steps)
    kept = "".join(
        f"{step.content}{step.thought}{[(call.name, dict(call.arguments)) for call in step.calls]}"
        for step in assistant_steps(text)
    )
    assert text.count("é") == kept.count("é")


@pytest.mark.parametrize(
    "piece",
    ["-", " ", "\n ", "Action: ", "Act:\n", "Thought 1", "> \n", "a[", "```", "Act:\nObs:\n", "think[", "9", "{"],
)
def test_time_is_linear(piece: str) -> None:
    text = piece * (MAX_CHARACTERS // 32 // len(piece))
    begin = time.process_time()
    steps_in(text)
    assistant_steps(text)
    steps_of(prompted(text)[1])
    stated_reward(text)
    assert time.process_time() - begin < 2


def test_many_open_actions_are_answered_in_linear_time() -> None:
    begin = time.process_time()
    steps = steps_in("Act: a\n" * 20_000 + "Obs: b\n" * 20_000)
    assert sum(step.role == "tool" for step in steps) == 20_000
    assert time.process_time() - begin < 2
