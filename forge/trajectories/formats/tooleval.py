"""ToolEval, the evaluation of ToolBench: ``{query, available_tools[], answer{method, total_steps, final_answer,
answer_details[{role, message, next[]}]}}``, an answer as a tree of turns. A node of role tool is a call with its
response, ``{name, arguments, response}``: an object, its JSON text, or its Python text.

Published results were written by a converter that cuts every message after 100 characters. What it left is read: the
query stands whole beside the tree, ``final_answer`` is the input of the last Finish, other texts are given as far as
they go. A call whose input is cut ends the episode, and is a problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forge.schema import Outcome, Step
from forge.stored_files import Problem
from forge.trajectories.formats.fields import (
    Found,
    Record,
    called,
    malformed,
    objects,
    observation,
    parsed_json,
    role_of,
    text,
    tools_of,
    trajectory,
    written,
)
from forge.trajectories.formats.python_literals import parsed_literal
from forge.trajectories.formats.toolbench import Node, leaf_paths, observed

_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_CUT_CALL = re.compile(rf"\{{'name': ({_TEXT})(?:, 'arguments': (({_TEXT})(?:, 'response': (.*))?|.*))?", re.DOTALL)
_LONGEST_ESCAPE = len(r"\U0001F600")


class _CutCallError(Exception):
    """The input of a call is cut, so the call is not known."""


@dataclass(frozen=True)
class _Call:
    name: str
    arguments: object
    response: object


def matches(record: Record) -> bool:
    answer = record.get("answer")
    return isinstance(answer, dict) and "answer_details" in answer


def read(record: Record) -> Iterator[Found]:
    answer = record.get("answer")
    if not isinstance(answer, dict):
        raise malformed("answer is no object")
    query, tools = text(record.get("query")) or "", tools_of(record.get("available_tools"))
    for root in objects(answer.get("answer_details"), "answer_details"):
        for path in leaf_paths(root, "next"):
            steps, problem = _steps(path, query, text(answer.get("final_answer")) or "")
            if any(step.calls for step in steps) or problem is None:
                yield trajectory(
                    query,
                    steps,
                    tools=tools,
                    outcome=_outcome(answer.get("final_answer")) if problem is None else "unknown",
                    generator=text(answer.get("method")) or "",
                )
            if problem is not None:
                yield problem


def _outcome(final_answer: object) -> Outcome:
    """An answer is for others to judge; without one, or given up, the run failed."""
    if final_answer == "":
        return "failure"
    finish = parsed_json(text(final_answer))
    return "failure" if isinstance(finish, dict) and finish.get("return_type") == "give_up_and_restart" else "unknown"


def _steps(path: Sequence[Node], query: str, final_answer: str) -> tuple[list[Step], Problem | None]:
    """The steps, up to a call whose input is cut; then why they end there."""
    steps: list[Step] = []
    for turn, node in enumerate(path):
        role, message = role_of(node.get("role"), turn), node.get("message")
        if role == "tool":
            try:
                steps.extend(_call_steps(_call(message, turn, final_answer), turn))
            except _CutCallError as cut:
                return steps, Problem(f"turn {turn}", "truncated_message", str(cut))
            continue
        content = written(message) or ""
        if role == "user" and query.startswith(content):
            content = query
        if content:
            steps.append(Step(role, content))
    return steps, None


def _call_steps(call: _Call, turn: int) -> Iterator[Step]:
    yield Step("assistant", calls=(called(call.name, call.arguments, f"turn {turn}"),))
    if call.response is not None and not (call.name == "Finish" and call.response == ""):  # Finish returns nothing
        if isinstance(call.response, str):
            yield observed(call.response)
        else:
            yield observation(call.response)


def _call(message: object, turn: int, final_answer: str) -> _Call:
    whole = message
    if isinstance(message, str):
        whole = parsed_json(message)
        if whole is None:
            whole = parsed_literal(message)
        if whole is None:
            return _cut_call(message, turn, final_answer)
    if not isinstance(whole, dict) or not isinstance(whole.get("name"), str):
        raise malformed(f"turn {turn}: a message of role tool is no call")
    return _Call(whole["name"], whole.get("arguments"), whole.get("response"))


def _cut_call(message: str, turn: int, final_answer: str) -> _Call:
    found = _CUT_CALL.match(message)
    name = parsed_literal(found[1]) if found else None
    if found is None or not isinstance(name, str) or not name:
        if message.startswith("{'name': "):
            raise _CutCallError(f"the name of a call is not whole in {len(message)} characters")
        raise malformed(f"turn {turn}: a message of role tool is no call: {message[:50]!r}")
    arguments = parsed_literal(found[3]) if found[3] is not None else None
    if arguments is not None:
        return _Call(name, arguments, _beginning(found[4]))
    beginning = _beginning(found[2])
    if name == "Finish" and beginning and final_answer.startswith(beginning):
        return _Call(name, final_answer, None)
    raise _CutCallError(f"the input of {name} is not whole in {len(message)} characters")


def _beginning(cut_literal: str | None) -> str | None:
    """The text of a Python string literal whose end is missing; the end may have split an escape sequence."""
    if not cut_literal or cut_literal[0] not in "'\"":
        return None
    for end in range(len(cut_literal), max(0, len(cut_literal) - _LONGEST_ESCAPE), -1):
        value = parsed_literal(cut_literal[:end] + cut_literal[0])
        if isinstance(value, str):
            return value
    return None
