"""AgentInstruct (AgentTuning) and its successors (AgentGym, ETO): ``conversations`` of ``{from, value, loss}`` or
``{role, content}`` with actions in the text.

The environments (AgentBench) write them each in its way: "Think: … Act: bash" and code in a fence (os), "Action:
Operation" and SQL in a fence (db), "THOUGHT: … ACTION: go to desk 1" (alfworld), ``click[x]`` (webshop), ``f(x)`` (kg),
"Answer: B. Action: TYPE Value: x" (mind2web). A solved example, on which nothing trains, may go before the task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from forge.schema import Step, ToolCall
from forge.trajectories.formats.fields import Found, Record, identifier, objects, role_of, trajectory
from forge.trajectories.formats.react_steps import (
    Turn,
    assistant_steps,
    chat_steps,
    is_react,
    labelled,
    last_request,
    words_of,
)

_ENVIRONMENT = re.compile(r"(os|db|alfworld|webshop|kg|mind2web)_\d+$")
_FIRST_TURNS = 4
_CHOICE = re.compile(r"^Answer: *([A-Z])\b\.?[ \t]*\nAction: *(\w+)[ \t]*(?:\nValue:(.*))?\Z", re.MULTILINE | re.DOTALL)


def matches(record: Record) -> bool:
    turns = record.get("conversations")
    if not isinstance(turns, list) or "tools" in record:
        return False
    said = [turn for turn in turns[:_FIRST_TURNS] if isinstance(turn, dict)]
    return bool(said) and (
        bool(_ENVIRONMENT.match(_name(record)))
        or any("loss" in turn for turn in said)
        or any(is_react(words) for words in map(_value, said) if isinstance(words, str))
    )


def read(record: Record) -> Iterator[Found]:
    steps = chat_steps(_turns(objects(record.get("conversations"), "conversations")), turn_steps)
    known = _ENVIRONMENT.match(_name(record))
    yield trajectory(last_request(steps), steps, environment=known[1] if known else "", episode=_name(record))


def _name(record: Record) -> str:
    return identifier(record.get("id", record.get("item_id")))


def _turns(turns: list[dict[str, Any]]) -> Iterator[Turn]:
    for turn_number, turn in enumerate(turns):
        role = role_of(turn.get("from", turn.get("role")), turn_number)
        yield Turn(role, words_of(_value(turn), turn_number), loss_of(turn))


def _value(turn: Mapping[str, Any]) -> object:
    return turn.get("value", turn.get("content"))


def loss_of(turn: Mapping[str, Any]) -> bool | None:
    """Whether the set trains on the turn: true or false, also 1 or 0."""
    loss = turn.get("loss")
    return bool(loss) if isinstance(loss, int) and loss in (0, 1) else None


def turn_steps(said: str) -> list[Step]:
    """One message of the assistant in any of the environments' ways."""
    choice = _CHOICE.search(said)
    if choice is None:
        return assistant_steps(said)
    before, parts = labelled(said[: choice.start()])
    thoughts = "\n".join(part.text for part in parts if part.kind == "thought")
    if any(part.kind != "thought" for part in parts):
        return assistant_steps(said)
    arguments = {"choice": choice[1]} | ({"value": choice[3].strip()} if choice[3] is not None else {})
    return [
        Step("assistant", before.strip() or None, thought=thoughts or None, calls=(ToolCall(choice[2], arguments),))
    ]
