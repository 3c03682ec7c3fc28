"""FireAct's chats and runs: observations in user turns, rewards, and ordinary messages left alone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from time import process_time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.checks import check
from forge.trajectories.formats import registry
from forge.trajectories.formats.fireact import matches, read
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CHAT = {
    "messages": [
        said("user", "Question: Is it blue?\nA. yes\nB. no"),
        said("assistant", "Thought: I search.\nAction: search[it]"),
        said("user", "Observation: It is\nblue."),
        said("assistant", "Thought: I see: yes.\nAction: finish[A]"),
        said("user", "Observation: Episode finished, reward = True"),
    ]
}
RUN = {
    "reward": False,
    "em": False,
    "f1": 0.5,
    "gt": "yes",
    "pred": "no",
    "prompt": "",
    "traj": "Below is an instruction.\n\n### Instruction:\n\nIs it blue?\n\n### Response:\n"
    "Thought: No.\nAction:  finish[no]\nObservation: Episode finished, reward = False\n",
    "traj_by_line": ["Below is an instruction."],
}
CHAT_RUN = {**RUN, "reward": True, "prompt": [], "traj": CHAT["messages"]}
ORDINARY: list[dict[str, Any]] = [
    {"messages": [said("user", "Help?"), said("assistant", "Action: restart the printer."), said("user", "Thanks.")]},
    {"messages": [said("user", "Observation of birds?"), said("assistant", "Look up.")]},
    {"messages": []},
    {
        "messages": [
            said("user", "Weather?"),
            {**said("assistant", "Thought: a\nAction: b"), "tool_calls": [{"function": {"name": "f"}}]},
        ]
    },
    {"traj": CHAT["messages"][:1], "reward": 1, "task_id": 3},
]


def test_chat() -> None:
    (episode,) = episodes(read, CHAT)
    assert episode.task == "Is it blue?\nA. yes\nB. no"
    assert (episode.outcome, episode.reward) == ("success", 1.0)
    assert episode.steps == (
        Step("user", episode.task),
        Step("assistant", thought="I search.", calls=(ToolCall("search", {"input": "it"}),)),
        Step("tool", "It is\nblue."),
        Step("assistant", thought="I see: yes.", calls=(ToolCall("finish", {"input": "A"}),)),
        Step("tool", "Episode finished, reward = True"),
    )


def test_run_as_text() -> None:
    (episode,) = episodes(read, RUN)
    assert (episode.task, episode.outcome, episode.reward) == ("Is it blue?", "failure", 0.0)
    assert episode.steps == (
        Step("system", "Below is an instruction."),
        Step("user", "Is it blue?"),
        Step("assistant", thought="No.", calls=(ToolCall("finish", {"input": "no"}),)),
        Step("tool", "Episode finished, reward = False"),
    )
    (bare,) = episodes(read, {**RUN, "traj": "Question: a?\nAction: b"})
    assert bare.steps[0] == Step("user", "a?")


def test_run_as_chat_states_its_reward_beside_the_messages() -> None:
    (episode,) = episodes(read, CHAT_RUN)
    assert (episode.outcome, episode.reward) == ("success", 1.0)
    assert len(episode.steps) == 5
    (prompted,) = episodes(read, {**CHAT_RUN, "prompt": "Solved examples."})
    assert prompted.steps[0] == Step("system", "Solved examples.")


def test_an_observation_that_the_assistant_makes_up_stays_its_own_words() -> None:
    turns = [*CHAT["messages"][:4], said("assistant", "Observation: Episode finished, reward = 1"), CHAT["messages"][4]]
    (episode,) = episodes(read, {"messages": turns})
    assert [step.role for step in episode.steps] == ["user", "assistant", "tool", "assistant", "assistant", "tool"]
    assert episode.steps[4].content == "Observation: Episode finished, reward = 1"
    assert check(episode) is None


@pytest.mark.parametrize("record", [CHAT, RUN, CHAT_RUN])
def test_matches(record: dict[str, Any]) -> None:
    assert registry.format_of_record(record) == "fireact"


@pytest.mark.parametrize("record", ORDINARY)
def test_ordinary_messages_are_not_its_own(record: dict[str, Any]) -> None:
    assert not matches(record)


def test_what_cannot_be_used() -> None:
    assert reasons(read, {**RUN, "traj": "no labelled line"}) == ["no_steps"]
    assert reasons(read, {"messages": []}) == ["no_steps"]
    assert reasons(read, {"messages": [said("user", "a")]}) == ["no_steps"]
    assert reasons(read, {"messages": [said("bystander", "a")]}) == ["malformed_record"]


@given(st.sampled_from([CHAT, RUN, CHAT_RUN]).flatmap(damaged))
def test_damage_is_a_problem_and_no_exception(record: dict[str, Any]) -> None:
    matches(record)
    found_in(read, record)


def test_what_stands_between_the_response_and_the_first_label_is_said() -> None:
    run = {**RUN, "traj": "### Instruction:\nIs it blue?\n### Response:\nSure.\nAction: finish[no]"}
    assert [(step.role, step.content) for step in episodes(read, run)[0].steps] == [
        ("user", "Is it blue?"), ("assistant", "Sure."), ("assistant", None)
    ]  # fmt: skip


def test_many_instructions_take_linear_time() -> None:
    started = process_time()
    episodes(read, {**RUN, "traj": "### Instruction:\n" * 50_000 + "Action: finish[no]"})
    assert process_time() - started < 1


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
@pytest.mark.parametrize(
    ("name", "count"),
    [("hotpotqa", 500), ("hotpotqa_multimethod", 733), ("multitask", 1344), ("multitask_multimethod", 2063)],
)
def test_fireacts_chats(name: str, count: int) -> None:
    lines = (SAMPLES / f"fireact/data/finetune/gpt_format/{name}.jsonl").read_bytes().splitlines()
    assert len(lines) == count
    calls = observations = 0
    rewards: Counter[float | None] = Counter()
    for line in lines:
        record = orjson.loads(line)
        assert registry.format_of_record(record) == "fireact"
        (episode,) = episodes(read, record)
        assert check(episode) is None
        calls += sum(len(step.calls) for step in episode.steps)
        observations += sum(step.role == "tool" for step in episode.steps)
        rewards[episode.reward] += 1
    assert calls == len(re.findall(rb"\\nAction: ", b"\n".join(lines)))
    unanswered = {"multitask_multimethod": 5}.get(name, 0)  # said after a thought without an action
    assert (
        observations == len(re.findall(rb'"role": ?"user", ?"content": ?"Observation:', b"\n".join(lines))) - unanswered
    )
    won = sum(re.search(rb"reward = (1|True)", line[-60:]) is not None for line in lines)
    assert rewards == {1.0: won} | ({0.0: count - won} if won < count else {})


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
@pytest.mark.parametrize(("name", "count"), [("*_ft_gpt-3.5*", 465), ("*llama-2-13b*", 499), ("*llama-2-7b*", 500)])
def test_fireacts_runs(name: str, count: int) -> None:
    (file,) = (SAMPLES / "fireact/trajs").glob(f"{name}.json")
    runs = orjson.loads(file.read_bytes())
    assert {registry.format_of_record(run) for run in runs.values()} == {"fireact"}
    found = [episode for run in runs.values() for episode in episodes(read, run)]
    assert len(found) == len(runs) == count
    assert sum(one.outcome == "success" for one in found) == sum(run["reward"] for run in runs.values())
    assert {decision.reason for decision in map(check, found) if decision} <= {"looping"}
    texts = [
        run["traj"] if isinstance(run["traj"], str) else "\n".join(turn["content"] for turn in run["traj"])
        for run in runs.values()
    ]
    acts = sum(len(re.findall(r"^Action: ?", text, re.MULTILINE)) for text in texts)
    assert sum(len(step.calls) for one in found for step in one.steps) == acts
