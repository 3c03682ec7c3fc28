"""AgentInstruct: the six environments' ways to write an action, solved examples before the task, loss flags."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.agent_instruct import matches, read, turn_steps
from forge.trajectories.observations import answers
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons


def human(value: str) -> dict[str, Any]:
    return {"from": "human", "loss": None, "value": value}


def gpt(value: str, loss: bool = True) -> dict[str, Any]:
    return {"from": "gpt", "loss": loss, "value": value}


OS = {
    "id": "os_7",
    "conversations": [
        human("You act on an operating system.\n\nNow, my problem is:\n\nhow many files are in /a?"),
        gpt("Think: I list them.\n\nAct: bash\n\n```bash\nls /a\n```", False),
        human("The output of the OS:\nx y"),
        gpt("Think: Two.\n\nAct: answer(2)", False),
        human("Now, I will start a new problem in a new OS. My problem is:\n\nMake b."),
        gpt("Think: I make it.\n\nAct: bash\n\n```bash\nmkdir b\n\nls\n```"),
        human("The output of the OS:\nb"),
        gpt("Think: Done.\n\nAct: finish"),
    ],
}
DB = {
    "id": "db_1",
    "conversations": [
        human("I will ask, you operate."),
        gpt("Ok.", False),
        human("How many cups?"),
        gpt("I count.\nAction: Operation\n```sql\nSELECT COUNT(*) FROM cups\n```"),
        human("[(3,)]"),
        gpt('Three.\nAction: Answer\nFinal Answer: ["3"]'),
    ],
}
ALFWORLD = {
    "id": "alfworld_3",
    "conversations": [
        human("Interact with a household."),
        gpt("OK. I'll follow your instructions.", False),
        human("Here is your task. You are in a room.\nYour task is to: find a pen."),
        gpt("THOUGHT: The desk.\n ACTION: go to desk 1"),
        human("A pen."),
        gpt("ACTION: take pen 1"),
    ],
}
WEBSHOP = {
    "id": "webshop_0",
    "conversations": [
        human("You are web shopping."),
        gpt("Ok.", False),
        human("WebShop [SEP] Instruction: [SEP] a cup [SEP] Search"),
        gpt("Thought:\nI search.\n\nAction:\nsearch[cup]"),
        human("Instruction: [SEP] a cup [SEP] Buy Now"),
        gpt("Thought:\nI buy.\n\nAction:\nclick[Buy Now]"),
    ],
}
KG = {
    "id": "kg_2",
    "conversations": [
        human("You answer from a knowledge base."),
        gpt("I've understood, start please.", False),
        human("Question: who made it?\nEntities: [It]"),
        gpt("Thought: I look.\nAction: get_relations(It)", False),
        human("Observation: [made_by]"),
        gpt("Thought: It is #0.\nFinal Answer: #0", False),
        human("A new question: who broke it?\nEntities: [It]"),
        gpt("Thought: I look.\nAction: get_neighbors(It, broken_by)"),
        human("Observation: variable #0"),
        gpt("Thought: That is it.\nFinal Answer: #0"),
    ],
}
MIND2WEB = {
    "id": "mind2web_9",
    "conversations": [
        human("<html></html>\nTask: Find it.\nA. None\nB. <input>"),
        gpt("Thought: I type it.\nAnswer: B.\nAction: TYPE\nValue: 123 456"),
    ],
}
RECORDS: list[dict[str, Any]] = [OS, DB, ALFWORLD, WEBSHOP, KG, MIND2WEB]


@pytest.mark.parametrize(
    ("record", "environment", "task", "calls"),
    [
        (
            OS,
            "os",
            "Now, I will start a new problem in a new OS. My problem is:\n\nMake b.",
            [
                ("shell", {"command": "ls /a"}),
                ("answer", {"input": "2"}),
                ("shell", {"command": "mkdir b\n\nls"}),
                ("finish", {}),
            ],
        ),
        (
            DB,
            "db",
            "How many cups?",
            [("sql", {"query": "SELECT COUNT(*) FROM cups"}), ("Answer", {"input": '["3"]'})],
        ),
        (
            ALFWORLD,
            "alfworld",
            "Here is your task. You are in a room.\nYour task is to: find a pen.",
            [("act", {"action": "go to desk 1"}), ("act", {"action": "take pen 1"})],
        ),
        (
            WEBSHOP,
            "webshop",
            "WebShop [SEP] Instruction: [SEP] a cup [SEP] Search",
            [("search", {"input": "cup"}), ("click", {"input": "Buy Now"})],
        ),
        (
            KG,
            "kg",
            "A new question: who broke it?\nEntities: [It]",
            [("get_relations", {"input": "It"}), ("get_neighbors", {"input": "It, broken_by"})],
        ),
        (
            MIND2WEB,
            "mind2web",
            "<html></html>\nTask: Find it.\nA. None\nB. <input>",
            [("TYPE", {"choice": "B", "value": "123 456"})],
        ),
    ],
)
def test_environments(record: dict[str, Any], environment: str, task: str, calls: list[tuple[str, Any]]) -> None:
    assert registry.format_of_record(record) == "agent_instruct"
    (episode,) = episodes(read, record)
    assert check(episode) is None
    assert (episode.environment, episode.episode, episode.task) == (environment, record["id"], task)
    assert [(call.name, call.arguments) for step in episode.steps for call in step.calls] == calls
    assert [step.loss for step in episode.steps if step.role == "assistant"] == [
        turn["loss"] for turn in record["conversations"] if turn["from"] == "gpt"
    ]


def test_observations_answer_the_action_before_them_also_after_a_solved_example() -> None:
    (episode,) = episodes(read, OS)
    assert [step.role for step in episode.steps] == [
        *("user", "assistant", "tool", "assistant"),
        *("user", "assistant", "tool", "assistant"),
    ]
    assert [answer.call.arguments["command"] for answer in answers(episode.steps)] == ["ls /a", "mkdir b\n\nls"]
    assert episode.steps[2].content == "The output of the OS:\nx y"
    (asked,) = episodes(read, KG)
    assert [(answer.call.name, asked.steps[answer.observation].content) for answer in answers(asked.steps)] == [
        ("get_relations", "[made_by]"),
        ("get_neighbors", "variable #0"),
    ]
    assert asked.steps[-1] == Step("assistant", "Final Answer: #0", thought="That is it.", loss=True)


def test_roles_and_contents_instead_of_from_and_value() -> None:
    names = {"human": "user", "gpt": "assistant"}
    turns = [{"role": names[turn["from"]], "content": turn["value"]} for turn in WEBSHOP["conversations"]]
    (episode,) = episodes(read, {"item_id": "webshop_0", "conversations": turns})
    (original,) = episodes(read, WEBSHOP)
    assert episode.trajectory_id == original.trajectory_id
    assert episode.environment == "webshop"


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("Answer: A.\nAction: CLICK", Step("assistant", calls=(ToolCall("CLICK", {"choice": "A"}),))),
        ("Thought: t\nAnswer: A.", Step("assistant", thought="t\nAnswer: A.")),
        (
            "Why?\nThought: t\nAnswer: C\nAction: SET\nValue:\n5",
            Step("assistant", "Why?", thought="t", calls=(ToolCall("SET", {"choice": "C", "value": "5"}),)),
        ),
        ("The answer is 4.", Step("assistant", "The answer is 4.")),
    ],
)
def test_a_turn(said: str, step: Step) -> None:
    assert turn_steps(said) == [step]


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"conversations": [human("a")], "tools": "[]"},
        {"conversations": []},
        {"id": "os_1"},
    ],
)
def test_other_conversations_are_not_its_own(record: dict[str, Any]) -> None:
    assert not matches(record)


def test_what_cannot_be_used() -> None:
    assert reasons(read, {"id": "os_1", "conversations": []}) == ["no_steps"]
    assert reasons(read, {"id": "os_1", "conversations": ["a"]}) == ["malformed_record"]
    assert reasons(read, {"id": "os_1", "conversations": [{"from": "nobody", "value": ""}]}) == ["malformed_record"]


@given(st.sampled_from(RECORDS).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    matches(record)
    found_in(read, record)
