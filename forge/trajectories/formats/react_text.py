"""Logs of ReAct agents as plain text: episodes that begin with ``Question:``, ``Claim:``, WebShop's reset or ALFWorld's
room, with ``Thought`` / ``Action`` / ``Observation`` lines, or ``> act`` and what is seen.

Of the logs' own lines the sections (``BEGIN CORRECT | INCORRECT | HALTED AGENTS``, Reflexion) and the rewards give the
outcome. The reference answer is a label and not part of an episode. Reflections stand in what the agent is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from forge.schema import Outcome, Step
from forge.stored_files import Problem
from forge.trajectories.checks import MAX_CHARACTERS
from forge.trajectories.formats.fields import Found, UnusableRecordError, outcome_of, trajectory
from forge.trajectories.formats.react_steps import labelled, prompted, stated_reward, steps_of

MAX_INSTRUCTION_CHARACTERS = 4_000
"""Of the text before the first question, which each episode repeats as its system prompt."""

_ROOM = "You are in the middle of a room."
_ACTION = re.compile(r"^(?:Action|ACTION|Act)(?: ?\d+)?:", re.MULTILINE)
_AROUND = re.compile(r"^(?:Thought|THOUGHT|Observation|OBSERVATION|Obs)(?: ?\d+)?:", re.MULTILINE)
_PROMPT = re.compile(r"^>", re.MULTILINE)
_SECTION = re.compile(r"^-+ BEGIN (CORRECT|INCORRECT|HALTED) AGENTS -+\s*$", re.MULTILINE)
_TRIAL = re.compile(r"BEGIN TRIAL \d+\s*$")
_EXPLAINED = "the input question you must answer"
"""LangChain's explanation of its format, which is an episode without content."""
_START = re.compile(
    rf"(?:\d+ )?(?:Question|Claim):(?! {_EXPLAINED})|{re.escape(_ROOM)}|Action: reset\s*$|Web[Ss]hop\s*$"
)
_RESET = re.compile(r"Action: reset\s*\nObservation:\s*")
_NOTHING_YET = re.compile(r"Observation(?: \d+)?:\s*$")
_INSTRUCTION = re.compile(r"Instruction:\s*(.*)")
_TASK_OF_ROOM = re.compile(r"Your task is to: (.*)")
_QUESTION = re.compile(r"(?:\d+ )?(?:Question: ?|(?=Claim:))")
_REFLECTIONS = re.compile(
    r"You have attempted to answer following question before and failed\.|^Reflections:", re.MULTILINE
)
_OUTCOMES: Mapping[str, Outcome] = {"CORRECT": "success", "INCORRECT": "failure", "HALTED": "failure"}
_ANSWERED = re.compile(r"Answer is (CORRECT|INCORRECT)\b")

# The logs' own lines after an episode.
_RULE = re.compile(r"[-#]{5,}$")
_NUMBERS = re.compile(r"[\d.e-]+(?: [\d.e-]+)*$")
_INFO = re.compile(r"\{'steps': \d+, .*'reward': (True|False|[\d.]{1,20})\b")
_STATUS = re.compile(r"STATUS: (OK|FAIL)$")
_RESULT = re.compile(r"\d+ r (True|False|[\d.]{1,20}) rs \[")
_OTHER = re.compile(
    r"Correct answer: |Trial summary: |Here is the task[.:]?$|Environment #\d+:$"
    r"|[\w-]+/trial_\w+$|(?:pick|look)_\w+ \w+$"
)
_FALLBACK = "ohh... "
"""ReAct's notebooks print a reply that they could not split, and then what they made of it."""


def matches_text(head: str) -> bool:
    if _ACTION.search(head):
        return bool(_AROUND.search(head))
    return (_ROOM in head and bool(_PROMPT.search(head))) or bool(_SECTION.search(head))


def read_text(lines: Iterator[str]) -> Iterator[Found]:
    """One episode is in memory at a time. Problems: ``no_steps`` (a question that nobody tried to answer, as in the
    later trials of Reflexion, which keep the questions already solved), ``oversized``; their part is the number."""
    instruction = ""
    number = 0
    for passage in _passages(lines):
        if not passage.starts:
            text = passage.text().strip()
            if not _ACTION.search(text) or _EXPLAINED in text:
                if number == 0 and len(text) <= MAX_INSTRUCTION_CHARACTERS:
                    instruction = text or instruction
                continue
        number += 1
        try:
            yield passage.episode(str(number), instruction)
        except UnusableRecordError as error:
            yield Problem(str(number), error.reason, str(error))


@dataclass
class _Passage:
    """The lines from one beginning to the next. ``starts``: whether they begin as an episode does."""

    starts: bool
    outcome: Outcome
    lines: list[str] = field(default_factory=list)
    characters: int = 0
    reward: float | None = None

    def add(self, line: str) -> None:
        self.characters += len(line)
        if self.characters <= MAX_CHARACTERS:
            self.lines.append(line)

    def text(self) -> str:
        """Without the log's own lines at the end, whose outcome and reward are kept."""
        is_ruled = False
        while self.lines:
            line = self.lines[-1].strip()
            is_ruled = is_ruled or bool(_RULE.match(line))
            if line and not _RULE.match(line) and not self._is_of_log(line, is_ruled):
                break
            self.lines.pop()
        return "".join(self.lines)

    def _is_of_log(self, line: str, is_ruled: bool) -> bool:
        if _NUMBERS.match(line):  # alone, a number is what was seen; above or below a rule, it counts episodes
            return is_ruled or (len(self.lines) > 1 and bool(_RULE.match(self.lines[-2].strip())))
        rewarded = _INFO.match(line) or _RESULT.match(line)
        if rewarded:
            self.reward = _number(rewarded[1])
            return True
        status = _STATUS.match(line)
        if status:
            self.outcome = "success" if status[1] == "OK" else "failure"
        return bool(status or _OTHER.match(line))

    def episode(self, number: str, instruction: str) -> Found:
        if self.characters > MAX_CHARACTERS:
            raise UnusableRecordError(
                "oversized", f"{self.characters:,} characters, at most {MAX_CHARACTERS:,} are read"
            )
        text = self.text()
        reset = _RESET.match(text)
        if reset:
            text = text[reset.end() :]
        is_room = _ROOM in text[: len(_ROOM) + 1]
        told, parts = prompted(text) if is_room and _PROMPT.search(text) else labelled(text)
        if not any(part.kind == "action" for part in parts):
            raise UnusableRecordError("no_steps", "a question without an attempt at it")
        steps = steps_of(parts)
        asked = _QUESTION.match(told)
        request = told[asked.end() if asked else 0 :].strip()
        last = next((step.content or "" for step in reversed(steps) if step.role == "tool"), "")
        reward = self.reward if self.reward is not None else stated_reward(last)
        judged = _ANSWERED.search(last)
        outcome = self.outcome
        if outcome == "unknown":
            outcome = _OUTCOMES[judged[1]] if judged else outcome_of(reward)
        is_shop = request[:7].lower() == "webshop"
        opening = [Step("system", instruction)] if instruction else []
        return trajectory(
            _task(request),
            [*opening, *([Step("user", request)] if request else []), *steps],
            outcome=outcome,
            reward=reward,
            environment="alfworld" if is_room else "webshop" if is_shop else "",
            episode=number,
        )


def _task(request: str) -> str:
    """What is asked, without the room or the page in which it is and without reflections on earlier attempts."""
    named = _TASK_OF_ROOM.search(request) or _INSTRUCTION.search(request)
    if named and named[1].strip():
        return named[1].strip()
    return _REFLECTIONS.split(request, maxsplit=1)[0].strip()


def _passages(lines: Iterator[str]) -> Iterator[_Passage]:
    passage = _Passage(starts=False, outcome="unknown")
    outcome: Outcome = "unknown"
    skipping = False
    for line in lines:
        section = _SECTION.match(line)
        starts = bool(_START.match(line)) and not _is_seen(line, passage)
        if section or starts or _TRIAL.match(line):
            yield passage
            outcome = _OUTCOMES[section[1]] if section else outcome if starts else "unknown"
            passage = _Passage(starts, outcome)
            skipping = False
            if not starts:
                continue
        elif skipping and line.startswith("Thought "):
            skipping = False
        elif line.startswith(_FALLBACK):
            skipping = True
        if not skipping:
            passage.add(line)
    yield passage


def _is_seen(line: str, passage: _Passage) -> bool:
    """WebShop's first page is also what an agent sees that goes back to it."""
    return line.startswith("Web") and bool(passage.lines) and bool(_NOTHING_YET.match(passage.lines[-1]))


def _number(value: str) -> float | None:
    if value in ("True", "False"):
        return float(value == "True")
    try:
        return float(value)
    except ValueError:
        return None
