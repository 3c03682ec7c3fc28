"""Thought, action and observation out of text: what the ReAct formats share.

Labels stand at the beginning of a line: ``Thought 1:``, ``Action: Search[x]``, ``Observation 2:``, also Think, Act,
Obs, ``Action Input:`` (LangChain, ToolBench) and in capitals (AgentBench). ALFWorld's transcripts have
``> go to desk 1`` and, below it, what is seen. An action is a call where it says which: ``name[x]`` and ``name(x)``
have the argument ``input``, code in a fence is ``shell``, ``python`` or ``sql``, anything else is ``act``.

To think is an action in some environments, which answer "OK."; here it is a thought, and the "OK." is left out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from forge.schema import Role, Step, ToolCall, is_deeper_than
from forge.trajectories.formats.fields import MAX_NESTING, UnusableRecordError, content_of, parsed_json

Kind = Literal["thought", "action", "input", "observation", "answer"]


class Part(NamedTuple):
    """What stands after one label, without the white space around it."""

    kind: Kind
    text: str


class Turn(NamedTuple):
    """One message of a chat whose actions and observations are text. ``loss``: whether the source trains on it."""

    role: Role
    text: str
    loss: bool | None = None


_KINDS: Mapping[str, Kind] = {
    "thought": "thought",
    "think": "thought",
    "action": "action",
    "act": "action",
    "action input": "input",
    "observation": "observation",
    "obs": "observation",
    "final answer": "answer",
}
_SPELLINGS = sorted({form for name in _KINDS for form in (name.title(), name.upper())}, key=len, reverse=True)
_LABEL = re.compile(rf"^[ \t]*({'|'.join(_SPELLINGS)})(?: ?\d+)?:", re.MULTILINE)
_PROMPT = re.compile(r"^> ?(.*)$", re.MULTILINE)
_BRACKETED = re.compile(r"([\w.]+)\[(.*)\]", re.DOTALL)
_PARENTHESISED = re.compile(r"([\w.]+)\((.*)\)", re.DOTALL)
_WITH_INPUT = re.compile(r"([\w.]+) with Action Input:(.*)", re.DOTALL)
_OBSERVED = re.compile(r"\s*(?:Observation|OBSERVATION)(?: ?\d+)?:")
_REWARD = re.compile(
    r"Episode finished, reward = (True|False|[01](?:\.[0-9]{1,20})?)"
    r"|Your score \(min 0\.0, max 1\.0\): ([01](?:\.[0-9]{1,20})?)"
)
_REWARDS: Mapping[str, float] = {"True": 1.0, "False": 0.0}
_FENCE = "```"
_END_ACTION = "End Action"
_CODE: Mapping[str, tuple[str, str]] = {
    "bash": ("shell", "command"),
    "sh": ("shell", "command"),
    "shell": ("shell", "command"),
    "python": ("python", "code"),
    "sql": ("sql", "query"),
}
"""Language of a fence -> (tool, argument)."""
_RUNS_CODE = ("", "bash", "operation", "python")
"""Names of the action before a fence that say no more than the fence."""
_FINAL = ("answer", "finish", "finalaction")
"""Actions after which the environment has nothing to answer."""
_ACKNOWLEDGED = "OK."


def words_of(value: object, turn: int) -> str:
    """What a message says, empty for nothing. Raises ``malformed_record`` and ``too_deeply_nested`` for a value that
    has no text and cannot be written as one."""
    if isinstance(value, (dict, list)) and is_deeper_than(value, MAX_NESTING):
        raise UnusableRecordError("too_deeply_nested", f"turn {turn}: content of more than {MAX_NESTING} levels")
    return content_of(value) or ""


def labelled(text: str) -> tuple[str, list[Part]]:
    """(what stands before the first label, the labelled parts)."""
    labels = list(_LABEL.finditer(text))
    if not labels:
        return text, []
    ends = [label.start() for label in labels[1:]] + [len(text)]
    return text[: labels[0].start()], [
        _part(_KINDS[label[1].lower()], text[label.end() : end]) for label, end in zip(labels, ends, strict=True)
    ]


def is_react(text: str) -> bool:
    """Whether a message thinks and then acts."""
    kinds = {part.kind for part in labelled(text)[1]}
    return kinds >= {"thought", "action"}


def prompted(text: str) -> tuple[str, list[Part]]:
    """(what stands before the first ``>`` line, the actions and observations)."""
    actions = list(_PROMPT.finditer(text))
    if not actions:
        return text, []
    ends = [action.start() for action in actions[1:]] + [len(text)]
    parts: list[Part] = []
    for action, end in zip(actions, ends, strict=True):
        parts.append(Part("action", action[1].strip()))
        seen = _part("observation", text[action.end() : end])
        if seen.text:
            parts.append(seen)
    return text[: actions[0].start()], parts


def _part(kind: Kind, text: str) -> Part:
    """Without the white space around; what is seen keeps the indentation of a first line below its label."""
    words = text.strip()
    if kind == "observation":
        before = text[: len(text) - len(text.lstrip())]
        words = (before.rpartition("\n")[2] if "\n" in before else "") + words if words else ""
    return Part(kind, words)


def steps_of(parts: Sequence[Part]) -> list[Step]:
    """Parts as steps: a thought goes with the action after it. An observation that no call awaits is said by the
    user."""
    steps: list[Step] = []
    thoughts: list[str] = []
    awaited = 0
    was_answered = False
    position = 0

    def acted(content: str | None, *calls: ToolCall) -> None:
        steps.append(Step("assistant", content, thought="\n".join(thoughts) or None, calls=calls))
        thoughts.clear()

    while position < len(parts):
        kind, text = parts[position]
        following = parts[position + 1] if position + 1 < len(parts) else None
        position += 1
        if kind == "thought":
            thoughts.append(text)
        elif kind == "action":
            thinking = _thinking(text)
            if thinking is not None and (following is None or following.kind != "input"):
                if following is None or following.kind != "observation" or following.text == _ACKNOWLEDGED:
                    thoughts.append(thinking)
                    position += following is not None and following.kind == "observation"
                    continue
                call = ToolCall("think", {"input": thinking})
            elif following is not None and text and following.kind == ("answer" if text == "Answer" else "input"):
                call = ToolCall(text, arguments_of_text(following.text))
                position += 1
            else:
                call = call_of_action(text)
            awaited = 1 if was_answered else awaited + 1
            was_answered = False
            acted(None, call)
        elif kind == "observation":
            if thoughts:
                acted(None)
            steps.append(Step("tool" if awaited else "user", text))
            awaited -= bool(awaited)
            was_answered = True
        else:
            acted(f"Final Answer: {text}" if kind == "answer" else f"Action Input: {text}")
    if thoughts:
        acted(None)
    return _linked(steps)


def _linked(steps: list[Step]) -> list[Step]:
    """An observation answers the first action since the one before it. Where an action never got an answer (the last
    of a solved example, the second of a message), order does not tell this: there the calls are numbered."""
    answers: dict[int, int] = {}  # step of an observation -> its call
    waiting: deque[int] = deque()
    calls = 0
    was_answered = skips = False
    for number, step in enumerate(steps):
        if step.role == "tool" and waiting:
            skips = skips or waiting[0] != len(answers)
            answers[number] = waiting.popleft()
            was_answered = True
        elif step.role == "user" or (step.calls and was_answered):
            waiting.clear()
            was_answered = False
        waiting += range(calls, calls + len(step.calls))
        calls += len(step.calls)
    if not skips:
        return steps
    names = iter(range(calls))
    return [
        replace(step, answers=f"call_{answers[number]}")
        if number in answers
        else replace(step, calls=tuple(replace(call, call_id=f"call_{next(names)}") for call in step.calls))
        for number, step in enumerate(steps)
    ]


def _thinking(action: str) -> str | None:
    """What an action thinks, if that is all it does: ``think: x`` and ``think[x]``."""
    if action.startswith("think:"):
        return action.removeprefix("think:").strip()
    if action.startswith("think["):  # a long one may be cut before its bracket
        return action.removeprefix("think[").removesuffix("]").strip()
    return None


def call_of_action(action: str) -> ToolCall:
    """The call that a text means. Raises ``too_deeply_nested`` for such arguments."""
    action = action.removesuffix(_END_ACTION).rstrip()
    if _FENCE in action:
        code = _code_call(action)
        if code is not None:
            return code
    else:
        with_input = _WITH_INPUT.fullmatch(action)
        if with_input:
            return ToolCall(with_input[1], arguments_of_text(with_input[2]))
        named = _BRACKETED.fullmatch(action) or _PARENTHESISED.fullmatch(action)
        if named:
            return ToolCall(named[1], {"input": named[2]})
        if action.lower() in _FINAL:
            return ToolCall(action, {})
    return ToolCall("act", {"action": action})


def _code_call(action: str) -> ToolCall | None:
    fenced = fence_of(action)
    if fenced is None or fenced.before.strip().lower() not in _RUNS_CODE or fenced.after.strip():
        return None
    return code_call(fenced.language, fenced.code)


def code_call(language: str, code: str) -> ToolCall | None:
    """The call that runs ``code``; None in a language for which there is no tool."""
    tool = _CODE.get(language.lower())
    return ToolCall(tool[0], {tool[1]: code.strip("\n")}) if tool else None


class Fence(NamedTuple):
    before: str
    language: str
    code: str
    after: str


def fence_of(text: str) -> Fence | None:
    """The first fence of a text, up to the last mark that closes one."""
    before, opened, rest = text.partition(_FENCE)
    language, newline, rest = rest.partition("\n")
    code, closed, after = rest.rpartition(_FENCE)
    return Fence(before, language.strip(), code, after) if opened and newline and closed else None


def arguments_of_text(text: str) -> dict[str, object]:
    """The arguments after ``Action Input:``: a JSON object, else the text as ``input``."""
    text = text.strip().removesuffix(_END_ACTION).strip()
    found = parsed_json(text) if text.startswith("{") else None
    if not isinstance(found, dict):
        return {"input": text}
    if is_deeper_than(found, MAX_NESTING):
        raise UnusableRecordError("too_deeply_nested", f"arguments of more than {MAX_NESTING} levels")
    return found


def assistant_steps(text: str) -> list[Step]:
    """One message of the assistant. Text without a label is content; an observation that it makes up is, too."""
    before, parts = labelled(text)
    if not parts:
        return [Step("assistant", text or None)]
    steps: list[Step] = []
    start = 0
    for position, part in enumerate(parts):
        if part.kind == "observation":
            steps += steps_of(parts[start:position])
            steps.append(Step("assistant", f"Observation: {part.text}"))
            start = position + 1
    steps += steps_of(parts[start:])
    if before.strip():  # one message is one step where that is possible
        if steps[0].content is None:
            steps[0] = replace(steps[0], content=before.strip())
        else:
            steps.insert(0, Step("assistant", before.strip()))
    return steps


def chat_steps(turns: Iterable[Turn], read: Callable[[str], list[Step]] = assistant_steps) -> list[Step]:
    """A chat in which the user's messages carry the observations: such is one that answers an action, or that is
    labelled as one. ``read`` reads the assistant's messages."""
    steps: list[Step] = []
    awaiting: ToolCall | None = None
    for turn in turns:
        if turn.role == "assistant":
            said = read(turn.text)
            steps += said if turn.loss is None else [replace(step, loss=turn.loss) for step in said]
            awaiting = next((call for step in reversed(said) for call in reversed(step.calls)), awaiting)
            continue
        label = _OBSERVED.match(turn.text)
        answered = awaiting is not None and (label is not None or awaiting.name.lower() not in _FINAL)
        if turn.role == "tool" or (turn.role == "user" and answered):
            steps.append(Step("tool", turn.text[label.end() :].strip() if label else turn.text))
            awaiting = None
        else:
            steps.append(Step(turn.role, turn.text or None))
            awaiting = None if turn.role == "user" else awaiting
    return _linked(steps)


def last_request(steps: Sequence[Step]) -> str:
    """What the user said last before the last action: the task where a solved example goes before it."""
    acts = [number for number, step in enumerate(steps) if step.calls]
    said = (step.content for step in reversed(steps[: acts[-1]] if acts else steps) if step.role == "user")
    return next((content for content in said if content), "")


def stated_reward(observation: str) -> float | None:
    """The reward that an environment's last words state (HotpotQA, FEVER, WebShop)."""
    found = _REWARD.search(observation)
    return None if found is None else _REWARDS.get(found[1]) if found[1] in _REWARDS else float(found[1] or found[2])
