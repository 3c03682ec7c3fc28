"""FireAct: ReAct as a chat. ``messages`` whose user turns carry "Observation: …" and whose assistant turns are
"Thought: … Action: search[…]"; and runs, ``{traj, reward, em, f1, gt, pred, prompt}``, with such messages or one text.

The reasoning-only (CoT) and the reflecting variants have the same form: ``finish[…]`` is an action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forge.schema import Role, Step
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    first_request,
    flag,
    identifier,
    number,
    objects,
    outcome_of,
    role_of,
    text,
    tools_of,
    trajectory,
)
from forge.trajectories.formats.react_steps import (
    Turn,
    chat_steps,
    is_react,
    labelled,
    stated_reward,
    steps_of,
    words_of,
)

_RESULTS = frozenset({"em", "f1", "gt", "pred"})
_FIRST_TURNS = 4
_INSTRUCTION, _RESPONSE = "### Instruction:", "### Response:"
_QUESTION, _OBSERVATION = "Question:", "Observation:"


def matches(record: Record) -> bool:
    run = record.get("traj")
    if isinstance(run, (str, list)):
        return not _RESULTS.isdisjoint(record)
    turns = record.get("messages")
    if not isinstance(turns, list):
        return False
    said = [turn for turn in turns[:_FIRST_TURNS] if isinstance(turn, dict)]
    return any(map(_is_text_mode, said)) and not any(
        turn.get("tool_calls") or turn.get("function_call") for turn in said
    )


def _is_text_mode(turn: Mapping[str, Any]) -> bool:
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(content, str):
        return False
    return is_react(content) if role == "assistant" else role == "user" and content.startswith(_OBSERVATION)


def read(record: Record) -> Iterator[Found]:
    run = record.get("traj")
    prompt = record.get("prompt")
    steps: list[Step] = [Step("system", prompt)] if isinstance(prompt, str) and prompt else []
    if isinstance(run, str):
        steps += _text_steps(run)
    else:
        turns = objects(run if isinstance(run, list) else record.get("messages"), "messages")
        examples = objects(prompt, "prompt") if isinstance(prompt, list) and prompt else []
        steps += chat_steps(_turns([*examples, *turns]))
    if not any(step.role == "assistant" for step in steps):
        raise UnusableRecordError("no_steps", "the assistant says nothing")
    last = next((step.content or "" for step in reversed(steps) if step.role == "tool"), "")
    given = record.get("reward")
    reward = float(given) if isinstance(given, bool) else number(given)
    reward = stated_reward(last) if reward is None else reward
    yield trajectory(
        first_request(steps),
        steps,
        tools=tools_of(record.get("tools")),
        outcome=outcome_of(reward),
        reward=reward,
        environment=text(record.get("environment")) or "",
        license=text(record.get("license")) or "",
        generator=text(record.get("generator")) or text(record.get("model")) or "",
        episode=identifier(record.get("id")),
    )


def _turns(messages: list[dict[str, Any]]) -> Iterator[Turn]:
    for turn_number, message in enumerate(messages):
        role = role_of(message.get("role"), turn_number)
        content = words_of(message.get("content"), turn_number)
        yield Turn(role, _asked(content) if role == "user" else content, flag(message.get("loss")))


def _asked(content: str) -> str:
    """A question without its label, which half of the questions have."""
    return content.removeprefix(_QUESTION).lstrip() if content.startswith(_QUESTION) else content


def _text_steps(run: str) -> list[Step]:
    """A run as one text: Alpaca's instruction and response, or a question, and then the labelled lines."""
    told, parts = labelled(run)
    if not parts:
        raise UnusableRecordError("no_steps", "a run without a labelled line")
    before, _, behind = told.partition(_INSTRUCTION)
    asked, response, said = behind.partition(_RESPONSE)
    if not response:
        before, asked = "", told
    opening: tuple[tuple[Role, str], ...] = (
        ("system", before.strip()),
        ("user", _asked(asked.strip())),
        ("assistant", said.strip()),
    )
    return [*(Step(role, words) for role, words in opening if words), *steps_of(parts)]
