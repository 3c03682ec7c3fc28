from __future__ import annotations

from dataclasses import replace

import orjson

from forge.schema import CHAT_FORM, Step, ToolCall, Trajectory
from forge.trajectories.render import FEEDBACK_FORM, PLAN_FORM, TRANSCRIPT_FORM, render, render_version
from forge.trajectories.shown_tools import MAX_TOOLS, shown_tools

MAIL = {
    "name": "send_email",
    "description": "Sends an\n e-mail.",
    "parameters": {
        "type": "object",
        "properties": {"to": {"type": "array"}, "cc": {"type": "array"}},
        "required": ["to"],
    },
}
MAILING = Trajectory(
    task="Write to Ann.",
    tools=(MAIL,),
    steps=(
        Step("user", "Write to Ann."),
        Step("assistant", thought="Ann is ann@x.org.", calls=(ToolCall("send_email", {"to": ["ann@x.org"]}, "c1"),)),
        Step("tool", "sent", answers="c1"),
        Step("assistant", "Done."),
    ),
    outcome="success",
    reward=1.0,
    environment="mail",
    license="MIT",
    generator="ground_truth",
    source="s",
    item_id="i",
)
SHELL = replace(
    MAILING,
    task="List files.",
    tools=({"name": "shell", "description": "Runs.", "parameters": {}},),
    steps=(
        Step("user", "List files."),
        Step("assistant", calls=(ToolCall("shell", {"command": "ls \\\n  -a"}),)),
        Step("tool", "a\nb\n"),
        Step("assistant", calls=(ToolCall("shell", {"command": "pwd"}),)),
        Step("tool", ""),
        Step("assistant", "Then Python:", calls=(ToolCall("python", {"code": "def f():\n    return 1"}),)),
        Step("tool", "", error="ValueError: no"),
    ),
)


def texts(trajectory: Trajectory, max_characters: int = 100_000) -> dict[str, str]:
    return {document.form: document.text for document in render(trajectory, 0.0, max_characters)}


def test_transcript_of_function_calls() -> None:
    assert texts(MAILING)[TRANSCRIPT_FORM] == (
        "Tools:\n- send_email(cc?: array, to: array): Sends an e-mail.\n\n"
        "Task: Write to Ann.\n\n"
        'Thought: Ann is ann@x.org.\nAction: send_email {"to":["ann@x.org"]}\nsent\n\n'
        "Assistant: Done.\n"
    )


def test_transcript_of_prompts() -> None:
    assert texts(SHELL)[TRANSCRIPT_FORM] == (
        "Task: List files.\n\n$ ls \\\n  -a\na\nb\n$ pwd\n\n"
        "Assistant: Then Python:\n>>> def f():\n...     return 1\nError: ValueError: no\n"
    )


def test_chat_messages() -> None:
    chat = orjson.loads(texts(MAILING)[CHAT_FORM])
    assert chat["tools"] == [{"type": "function", "function": MAIL}]
    assert chat["messages"] == [
        {"role": "user", "content": "Write to Ann."},
        {
            "role": "assistant",
            "content": "Ann is ann@x.org.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "send_email", "arguments": {"to": ["ann@x.org"]}}}
            ],
        },
        {"role": "tool", "content": "sent", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Done."},
    ]


FAILING = replace(
    MAILING,
    tools=(MAIL, {"name": "log", "description": "Notes\n what was done. Briefly."}),
    steps=(
        Step("user", "Write to Ann."),
        Step("assistant", calls=(ToolCall("send_email", {"to": "Ann"}, "c1"),)),
        Step("tool", '{"error": "to: a list is expected"}', answers="c1"),
        Step("assistant", thought="A list, then.", calls=(ToolCall("send_email", {"to": ["ann@x.org"]}, "c2"),)),
        Step("tool", "sent", answers="c2"),
        Step("assistant", calls=(ToolCall("log", {"what": "sent"}, "c3"),)),
        Step("tool", "ok", answers="c3"),
        Step("assistant", "Done."),
    ),
)


def test_a_plan_has_the_calls_that_succeeded_and_no_observations() -> None:
    assert texts(FAILING)[PLAN_FORM] == (
        "Task: Write to Ann.\n\nTools:\n- log(): Notes what was done. Briefly.\n"
        "- send_email(cc?: array, to: array): Sends an e-mail.\n\n"
        "Plan:\n1. send_email: Sends an e-mail\n2. log: Notes what was done\n\n"
        'Calls:\nsend_email {"to":["ann@x.org"]}\nlog {"what":"sent"}\n'
    )
    assert PLAN_FORM not in texts(MAILING), "one call is no plan"
    assert PLAN_FORM not in texts(replace(FAILING, outcome="failure"))
    assert PLAN_FORM not in texts(replace(FAILING, tools=(MAIL,))), "a bare name says nothing"


def test_a_plan_knows_what_was_thought_before_anything_was_observed_and_nothing_later() -> None:
    first, *rest = FAILING.steps[1:]
    told = replace(FAILING, steps=(FAILING.steps[0], replace(first, thought="Write, then\nlog."), *rest))
    assert "Plan:\nWrite, then log.\n1. send_email" in texts(told)[PLAN_FORM]
    assert "A list, then." not in texts(told)[PLAN_FORM]


def test_of_parallel_calls_a_plan_leaves_out_only_the_failed_one() -> None:
    both = (ToolCall("send_email", {"to": "Ann"}, "c1"), ToolCall("log", {"what": "x"}, "c9"))
    steps = (FAILING.steps[0], Step("assistant", calls=both), FAILING.steps[2], Step("tool", "ok", answers="c9"))
    text = texts(replace(FAILING, steps=(*steps, *FAILING.steps[3:])))[PLAN_FORM]
    assert text.endswith('Calls:\nlog {"what":"x"}\nsend_email {"to":["ann@x.org"]}\nlog {"what":"sent"}\n')


def test_no_chat_teaches_a_call_that_nobody_offered() -> None:
    assert CHAT_FORM not in texts(replace(MAILING, tools=()))
    shell = orjson.loads(texts(replace(SHELL, tools=()))[CHAT_FORM])
    assert [tool["function"]["name"] for tool in shell["tools"]] == ["python", "shell"]
    assert CHAT_FORM not in texts(replace(SHELL, tools=(), steps=(Step("system", "Answer in XML."), *SHELL.steps)))


def test_a_corrected_mistake_is_no_target_of_the_chat() -> None:
    messages = orjson.loads(texts(FAILING)[CHAT_FORM])["messages"]
    assert [number for number, message in enumerate(messages) if message.get("loss") is False] == [1]


def test_an_error_is_shown_once_also_inside_json() -> None:
    said = 'no "to"\nat all'
    steps = (*MAILING.steps[:2], Step("tool", orjson.dumps({"error": said}).decode(), error=said, answers="c1"))
    assert texts(replace(MAILING, steps=steps))[TRANSCRIPT_FORM].count("at all") == 1


def test_a_task_is_told_once() -> None:
    asked = (Step("user", "\nQuestion: Write to Ann.\n"), *MAILING.steps[1:])
    assert texts(replace(MAILING, steps=asked))[TRANSCRIPT_FORM].count("Write to Ann.") == 1
    assert not texts(replace(MAILING, task="", steps=MAILING.steps[1:]))[TRANSCRIPT_FORM].startswith("Task:")


def test_feedback_shows_the_failed_call_its_error_and_what_corrected_it() -> None:
    assert texts(FAILING)[FEEDBACK_FORM] == (
        "Task: Write to Ann.\n\nTools:\n- send_email(cc?: array, to: array): Sends an e-mail.\n\n"
        'Failed:\nAction: send_email {"to":"Ann"}\n{"error": "to: a list is expected"}\n\n'
        'Corrected:\nThought: A list, then.\nAction: send_email {"to":["ann@x.org"]}\nsent\n'
    )
    assert FEEDBACK_FORM not in texts(MAILING)
    assert FEEDBACK_FORM not in texts(FAILING, 150), "not one correction fits"


def test_at_a_prompt_only_a_command_of_the_same_program_corrects() -> None:
    def session(*commands: tuple[str, str]) -> dict[str, str]:
        steps = [Step("user", "Commit.")]
        for command, answer in commands:
            steps += [Step("assistant", calls=(ToolCall("shell", {"command": command}),)), Step("tool", answer)]
        return texts(replace(SHELL, task="Commit.", steps=tuple(steps)))

    wrong = ("git comit", "bash: git: command not found")
    assert FEEDBACK_FORM not in session(wrong, ("ls", "a"))
    assert session(wrong, ("git commit", "ok"))[FEEDBACK_FORM] == (
        "Task: Commit.\n\nFailed:\n$ git comit\nbash: git: command not found\n\nCorrected:\n$ git commit\nok\n"
    )


def test_documents_are_marked_with_what_became_of_the_episode() -> None:
    def marks(run: Trajectory) -> dict[str, str | None]:
        return {document.form: document.outcome for document in render(run, 0.0, 10_000)}

    assert set(marks(MAILING).values()) == {"success"}
    assert set(marks(replace(MAILING, outcome="failure")).values()) == {"failure"}
    assert set(marks(replace(FAILING, outcome="failure")).values()) == {"recovered"}


def test_episodes_that_differ_in_call_ids_only_are_exact_duplicates_of_each_other_in_every_form() -> None:
    def renamed(step: Step) -> Step:
        calls = tuple(replace(call, call_id=f"x{call.call_id}") for call in step.calls)
        return replace(step, calls=calls, answers=step.answers and f"x{step.answers}")

    other = replace(MAILING, steps=tuple(map(renamed, MAILING.steps)), source="elsewhere")
    keys = [{document.form: document.text_key for document in render(run, 0.0, 10_000)} for run in (MAILING, other)]
    assert keys[0] == keys[1]
    assert len(set(keys[0].values())) == len(keys[0]), "forms are no duplicates of each other"
    shorter = replace(MAILING, steps=MAILING.steps[:-1])
    assert {document.text_key for document in render(shorter, 0.0, 10_000)}.isdisjoint(keys[0].values())


def test_turns_that_the_source_does_not_train_on_say_so_in_the_chat() -> None:
    quiet = replace(MAILING, steps=(*MAILING.steps[:-1], Step("assistant", "Done.", loss=False)))
    messages = orjson.loads(texts(quiet)[CHAT_FORM])["messages"]
    assert [message.get("loss") for message in messages] == [None, None, None, False]


def test_only_the_first_request_of_a_conversation_is_its_task() -> None:
    talk = replace(MAILING, steps=(*MAILING.steps, Step("user", "Thanks."), Step("assistant", "Bye.")))
    assert texts(talk)[TRANSCRIPT_FORM].endswith("Assistant: Done.\n\nUser: Thanks.\n\nAssistant: Bye.\n")


def test_a_chat_without_a_user_starts_with_the_task() -> None:
    chat = orjson.loads(texts(replace(MAILING, steps=MAILING.steps[1:]))[CHAT_FORM])
    assert chat["messages"][0] == {"role": "user", "content": "Write to Ann."}
    assert texts(replace(MAILING, steps=MAILING.steps[1:]))[TRANSCRIPT_FORM].startswith("Task: Write to Ann.\n\nTools:")


def test_documents_are_trajectories_of_one_split_that_depends_on_the_task_only() -> None:
    other = replace(MAILING, steps=(*MAILING.steps[:-1], Step("assistant", "It is sent.")), item_id="j", reward=0.0)
    for share in (0.0, 0.3, 0.5, 0.7, 1.0):
        splits = {document.split for run in (MAILING, other) for document in render(run, share, 10_000)}
        assert len(splits) == 1
    assert {document.kind for document in render(MAILING, 0.0, 10_000)} == {"trajectory"}
    assert {document.entity_key for document in render(MAILING, 0.0, 10_000)} == {None}


def test_shown_tools_hold_every_called_tool_and_few_others() -> None:
    many = tuple({**MAIL, "name": f"tool_{number}"} for number in range(30))
    shown = shown_tools(replace(MAILING, tools=(*many, MAIL)))
    assert len(shown) == MAX_TOOLS
    assert MAIL in shown
    assert shown == sorted(shown, key=lambda tool: str(tool["name"]))
    called = tuple(Step("assistant", calls=(ToolCall(f"tool_{number}", {}),)) for number in range(30))
    assert len(shown_tools(replace(MAILING, tools=(*many, MAIL), steps=called))) == 30
    assert shown_tools(replace(MAILING, tools=(MAIL, *many[::-1]))) == shown, "the order of the source does not matter"


def test_what_is_too_long_loses_the_middle_of_observations_then_its_last_steps() -> None:
    steps = [Step("user", "Go.")]
    for number in range(50):
        steps += [Step("assistant", calls=(ToolCall("shell", {"command": f"c{number}"}),)), Step("tool", "o" * 9000)]
    long = replace(SHELL, task="Go.", steps=tuple(steps))
    for limit in (1500, 5000, 20_000):
        documents = texts(long, limit)
        assert set(documents) == {TRANSCRIPT_FORM, CHAT_FORM}
        assert all(len(text) <= limit for text in documents.values())
        assert "characters left out" in documents[TRANSCRIPT_FORM]
        messages = orjson.loads(documents[CHAT_FORM])["messages"]
        assert any("tool_calls" in message for message in messages)
        assert messages[-1]["role"] != "user"
    assert set(texts(long, 60)) == {TRANSCRIPT_FORM}, "no chat where not one action fits"


def test_render_version_is_a_hash() -> None:
    assert render_version() == render_version()
    assert len(render_version()) == 32
