"""Logs of ReAct agents: where episodes begin and end, what the log says of them, one in memory at a time."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.schema import Step, ToolCall, Trajectory
from forge.stored_files import Problem
from forge.trajectories.checks import MAX_CHARACTERS, check
from forge.trajectories.formats import registry
from forge.trajectories.formats.fields import Found
from forge.trajectories.formats.react_text import MAX_INSTRUCTION_CHARACTERS, matches_text, read_text

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"
RULE = "#" * 40
REFLEXION = f"""
{RULE}
BEGIN TRIAL 1
Trial summary: Correct: 1, Incorrect: 1, Halted: 1
{RULE}
------------- BEGIN CORRECT AGENTS -------------

Question: What is blue?
Thought 1: I look at the sky.
Action 1: Search[sky]
Observation 1: The sky is blue.
Question marks are not blue.

-----
2
Thought 2: It is the sky.
Action 2: Finish[the sky]
Observation 2: Answer is CORRECT
Correct answer: Sky

Question: What is solved?
Correct answer: This

------------- BEGIN INCORRECT AGENTS -----------

Question: Who is it?You have attempted to answer following question before and failed. Improve.
Reflections:
- I gave up.
Thought 1: I do not know.
Action 1: Finish[me]
Observation 1: Answer is INCORRECT
Correct answer: You

------------- BEGIN HALTED AGENTS --------------

Question: Where is it?
Thought 1: There?
Action 1: Search[it]
Observation 1: Could not find [it].
Correct answer: Here
{RULE}
BEGIN TRIAL 2
Trial summary: Correct: 0, Incorrect: 0, Halted: 0
{RULE}
"""
FEVER = """7 Claim: Ice is hot.
Thought 1: I search ice.
Action 1: Search[ice]
Observation 1: Ice is frozen.

ohh...  It is not.

Action 2:

Finish[REFUTES]
Thought 2: It is not.
Action 2: Finish[REFUTES]
Observation 2: Episode finished, reward = 1


{'steps': 2, 'answer': 'REFUTES', 'gt_answer': 'REFUTES', 'question_idx': 7, 'em': 1, 'reward': 1, 'f1': 1}\x20

1 1 1.0 4.08
-----------

9 Claim: Ice is ice.
Thought 1: Hm.
Action 1: Lookup[ice]
Observation 1: No more results.


{'steps': 8, 'answer': '', 'gt_answer': 'SUPPORTS', 'question_idx': 9, 'em': 0, 'reward': 0, 'f1': 0}\x20

1 2 0.5 4.08
-----------

"""
WEBSHOP = """-----------------
0
Action: reset
Observation:\x20
Webshop\x20
Instruction: \x20
i want a blue cup, and price lower than 9.00 dollars\x20
[Search]\x20

Action: search[cup]
Observation:\x20
[Back to Search]\x20
[B01]\x20
Cup\x20

Action: think[B01 is a cup.]
Observation: OK.

Action: click[Back to Search]
Observation:\x20
Webshop\x20
Instruction: \x20
i want a blue cup, and price lower than 9.00 dollars\x20

Action: click[Buy Now]
Observation: Your score (min 0.0, max 1.0): 0.5

1 0.5 0.0 0.0
-------------
-----------------
1
Action: reset
Observation:\x20
Webshop\x20
Instruction: \x20
i want soap\x20

Action: click[Buy Now]
Observation: Your score (min 0.0, max 1.0): 1.0

2 0.75 0.5 0.0
-------------
0.75 0.5 0.0
"""
ROOM = "You are in the middle of a room. Looking quickly around you, you see a desk 1.\nYour task is to: take pen.\n"
ALFWORLD = f"""
#####

Environment #3:
{ROOM}
> think: First the desk.
OK.
> go to desk 1
On the desk 1, you see a pen 1.
> take pen 1 from desk 1
You pick up the pen 1.

STATUS: OK


#####
{ROOM}> go to desk 1
Nothing happens.

STATUS: FAIL

#####
"""


def found_in(text: str) -> list[Found]:
    return list(read_text(StringIO(text)))


def episodes(text: str) -> list[Trajectory]:
    return [found for found in found_in(text) if isinstance(found, Trajectory)]


def test_sections_and_reflections() -> None:
    found = found_in(REFLEXION)
    assert [(one.part, one.reason) for one in found if isinstance(one, Problem)] == [("2", "no_steps")]
    blue, who, where = (one for one in found if isinstance(one, Trajectory))
    assert [(one.episode, one.outcome) for one in (blue, who, where)] == [
        ("1", "success"),
        ("3", "failure"),
        ("4", "failure"),
    ]
    assert blue.task == "What is blue?"
    assert blue.steps == (
        Step("user", "What is blue?"),
        Step("assistant", thought="I look at the sky.", calls=(ToolCall("Search", {"input": "sky"}),)),
        Step("tool", "The sky is blue.\nQuestion marks are not blue.\n\n-----\n2"),
        Step("assistant", thought="It is the sky.", calls=(ToolCall("Finish", {"input": "the sky"}),)),
        Step("tool", "Answer is CORRECT"),
    )
    assert who.task == "Who is it?"
    assert who.steps[0].content == (
        "Who is it?You have attempted to answer following question before and failed. Improve.\n"
        "Reflections:\n- I gave up."
    )
    assert where.steps[-1].content == "Could not find [it]."


def test_what_the_last_observation_says_counts_outside_of_sections() -> None:
    log = "Question: a?\nAction 1: Finish[b]\nObservation 1: Answer is {}\n"
    assert [one.outcome for one in episodes(log.format("CORRECT") + log.format("INCORRECT") + log.format("x"))] == [
        "success",
        "failure",
        "unknown",
    ]


def test_rewards_of_fever() -> None:
    hot, ice = episodes(FEVER)
    assert (hot.task, hot.outcome, hot.reward) == ("Claim: Ice is hot.", "success", 1.0)
    assert (ice.outcome, ice.reward) == ("failure", 0.0)
    assert [(step.role, step.content, step.thought) for step in hot.steps] == [
        ("user", "Claim: Ice is hot.", None),
        ("assistant", None, "I search ice."),
        ("tool", "Ice is frozen.", None),
        ("assistant", None, "It is not."),
        ("tool", "Episode finished, reward = 1", None),
    ]
    assert ice.steps[-1].content == "No more results."


def test_rewards_of_webshop() -> None:
    cup, soap = episodes(WEBSHOP)
    assert (cup.task, cup.outcome, cup.reward) == (
        "i want a blue cup, and price lower than 9.00 dollars",
        "unknown",
        0.5,
    )
    assert (soap.task, soap.outcome, soap.reward, soap.environment) == ("i want soap", "success", 1.0, "webshop")
    assert (cup.steps[0].content or "").startswith("Webshop \nInstruction:")
    assert [call.name for step in cup.steps for call in step.calls] == ["search", "click", "click"]
    assert cup.steps[3].thought == "B01 is a cup."
    assert cup.steps[-1].content == "Your score (min 0.0, max 1.0): 0.5"


def test_transcripts_of_alfworld() -> None:
    taken, failed = episodes(ALFWORLD)
    assert (taken.task, taken.outcome, taken.environment) == ("take pen.", "success", "alfworld")
    assert taken.steps == (
        Step("user", ROOM.strip()),
        Step("assistant", thought="First the desk.", calls=(ToolCall("act", {"action": "go to desk 1"}),)),
        Step("tool", "On the desk 1, you see a pen 1."),
        Step("assistant", calls=(ToolCall("act", {"action": "take pen 1 from desk 1"}),)),
        Step("tool", "You pick up the pen 1."),
    )
    assert failed.outcome == "failure"


def test_alfworlds_notebook_numbers_acts() -> None:
    log = f"pick_and_place-Pen-1/trial_1\npick_and_place put\n{ROOM}Act 1: go to desk 1\nObs 1: A desk.\n"
    first, second = episodes((log + "1 r True rs [1] cnts [1]\n------------\n\n") * 2)
    assert first.steps == second.steps
    assert (first.outcome, first.reward, first.steps[-1]) == ("success", 1.0, Step("tool", "A desk."))
    assert first.steps[0] == Step("user", ROOM.strip())


def test_what_stands_before_the_first_question_is_told_in_every_episode() -> None:
    claims = "Claim: a\nAction 1: Finish[x]\n\nClaim: b\nAction 1: Finish[y]\n"
    told = [episode.steps[0] for episode in episodes(f"\nSay whether it is so.\n{claims}")]
    assert told == [Step("system", "Say whether it is so.")] * 2
    assert episodes("x" * (MAX_INSTRUCTION_CHARACTERS + 1) + f"\n{claims}")[0].steps[0] == Step("user", "Claim: a")


def test_the_explanation_of_a_format_is_no_episode() -> None:
    prompt = "Use this:\nQuestion: the input question you must answer\nThought: think\nAction: the action\nBegin!\n\n"
    (episode,) = episodes(
        prompt + "Question: a?\nThought: b\nAction: c\nAction Input: d\nObservation: e\nFinal Answer: f"
    )
    assert (episode.steps[0].content or "").startswith("Use this:\nQuestion: the input")
    assert episode.task == "a?"
    assert episode.steps[-1].content == "Final Answer: f"


def test_an_episode_may_begin_without_a_label() -> None:
    (episode,) = episodes("Find the cup.\nThought: b\nAction: c\nObservation: 42\n")
    assert (episode.task, episode.steps[-1].content) == ("Find the cup.", "42")


@pytest.mark.parametrize(
    ("head", "is_log"),
    [
        (REFLEXION, True),
        (FEVER, True),
        (WEBSHOP, True),
        (ALFWORLD, True),
        (f"{RULE}\nBEGIN TRIAL 6\n------------- BEGIN CORRECT AGENTS -------------\n\nQuestion: a?\n", True),
        ("Action: wash the dishes.\n", False),
        ("> a quotation\n", False),
        ("Question: a?\nThought: b\nAnswer: c\n", False),
        ("", False),
    ],
)
def test_matches_text(head: str, is_log: bool) -> None:
    assert matches_text(head) is is_log
    assert (registry.format_of_text(head) == "react_text") is is_log


def test_an_endless_episode_is_a_problem_and_the_next_is_read() -> None:
    held = 0

    def lines() -> Iterator[str]:
        nonlocal held
        yield "Question: a?\nAction: b\nObservation: "
        for _ in range(3 * MAX_CHARACTERS // 1000):
            held += 1
            yield "x" * 999 + "\n"
        yield "Question: c?\n"
        yield "Action: d\n"

    first, second = read_text(lines())
    assert isinstance(first, Problem)
    assert (first.reason, first.part) == ("oversized", "1")
    assert isinstance(second, Trajectory)
    assert second.task == "c?"


def test_episodes_come_as_their_lines_do() -> None:
    lines = StringIO(FEVER * 3)
    next(read_text(lines))
    assert lines.tell() < len(FEVER)


@given(
    st.lists(
        st.sampled_from([*REFLEXION.splitlines(True), *FEVER.splitlines(True), *WEBSHOP.splitlines(True)])
        | st.sampled_from(
            ["> go\n", ROOM, "STATUS: OK\n", "\x00", "\ud800", "1 r x rs [\n", "{'steps': 1, 'reward': 1.1.1\n"]
        )
        | st.text(max_size=20),
        max_size=40,
    ).map("".join)
)
def test_no_text_raises(text: str) -> None:
    found = found_in(text)
    numbers = [one.episode if isinstance(one, Trajectory) else one.part for one in found]
    assert numbers == [str(number) for number in range(1, len(found) + 1)]
    decisions = [check(one) for one in found if isinstance(one, Trajectory)]
    assert {decision.reason for decision in decisions if decision} <= {"looping", "malformed_record", "no_action"}
    matches_text(text)


@pytest.mark.parametrize(
    "piece", ["-", "#", " ", "\n", "1 ", "Claim: \n", "Action: reset\n", "a-", "{'steps': 1, ", ">\n"]
)
def test_time_is_linear(piece: str) -> None:
    begin = time.process_time()
    text = piece * (MAX_CHARACTERS // 32 // len(piece))
    matches_text(text)
    found_in(ROOM + text)
    found_in(text)
    assert time.process_time() - begin < 3


LOGS = {
    "base/100_questions_5_trials.txt": 512,
    "base/base_react_thought_log.txt": 102,
    "reflexion/100_questions_5_trials.txt": 498,
    "reflexion/100_questions_7_trials.txt": 695,
    "reflexion/100_questions_trials_6_to_7.txt": 197,
    "reflexion/50_sample_react_reflect_correct.txt": 17,
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the checkout")
@pytest.mark.parametrize(("name", "questions"), LOGS.items())
def test_reflexions_logs(name: str, questions: int) -> None:
    text = (SAMPLES / "reflexion" / "hotpotqa_runs" / "root" / "ReAct" / name).read_text(encoding="utf-8")
    found = found_in(text)
    read = [one for one in found if isinstance(one, Trajectory)]
    assert len(found) == len(re.findall(r"^Question: ", text, re.MULTILINE)) == questions
    unattempted = sum(
        not re.search(r"^Action 1: ", part, re.MULTILINE) for part in re.split(r"^Question: ", text, flags=re.M)[1:]
    )
    assert [one.reason for one in found if isinstance(one, Problem)] == ["no_steps"] * unattempted
    steps = [step for one in read for step in one.steps]
    assert sum(len(step.calls) for step in steps) == len(re.findall(r"^Action \d+: ", text, re.MULTILINE))
    assert sum(step.role == "tool" for step in steps) == len(re.findall(r"^Observation \d+: ", text, re.MULTILINE))
    assert sum(step.thought is not None for step in steps) == len(re.findall(r"^Thought \d+: ", text, re.MULTILINE))
    assert {decision.reason for decision in map(check, read) if decision} <= {"looping"}
    counted: Counter[str] = Counter()
    for section in re.split(r"^-+ BEGIN ", text, flags=re.MULTILINE)[1:]:
        outcome = "success" if section.startswith("CORRECT") else "failure"
        counted[outcome] += len(re.findall(r"^Action 1: ", section, re.MULTILINE))
    assert Counter(one.outcome for one in read) == counted
    written = [*(step.content or "" for step in steps), *(step.thought or "" for step in steps)]
    assert not any(re.search(r"BEGIN (TRIAL|CORRECT)|^Correct answer:|^####", words, re.MULTILINE) for words in written)
