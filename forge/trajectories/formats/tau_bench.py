"""τ-bench and τ²-bench: conversations of a customer, an agent and the tools of its domain.

Four layouts: a run of τ-bench (``traj`` of OpenAI messages, ``task_id``, ``reward``, ``info``, ``trial``), the results
of τ²-bench (``simulations``, ``tasks`` and ``info`` in one object), rows of published sets of either (``messages``,
``benchmark_name``, ``eval_result``, ``meta``), and few-shot dialogues as one text (``messages_display``), which show
what calls returned and not the calls.

The customer is a model with instructions of its own, which the agent does not see: they are no part of an episode. In
τ²-bench the customer may call tools too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forge.schema import Step
from forge.stored_files import Problem
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    content_of,
    first_request,
    identifier,
    number,
    object_of,
    objects,
    outcome_of,
    text,
    tools_of,
    trajectory,
)
from forge.trajectories.formats.openai_messages import openai_steps

_FIRST_BENCHMARK = ("taubench", "tau-bench")
_BENCHMARKS = (*_FIRST_BENCHMARK, "tau2-bench", "tau2bench", "tau3-bench")
_TURN = re.compile(r"^(user|assistant|tool|system): ?", re.MULTILINE)
_NOTHING = "None"
"""What a display shows for a turn of the agent that is a call."""


def matches(record: Record) -> bool:
    if isinstance(record.get("traj"), list):
        return "reward" in record and ("task_id" in record or "trial" in record)
    if isinstance(record.get("simulations"), list):
        return "tasks" in record or "info" in record
    if isinstance(record.get("messages"), list):
        return record.get("benchmark_name") in _BENCHMARKS or {"reward_info", "termination_reason"} <= record.keys()
    return isinstance(record.get("messages_display"), str)


def read(record: Record) -> Iterator[Found]:
    if "simulations" in record:
        yield from _results(record)
    elif "messages_display" in record:
        steps = displayed_steps(text(record["messages_display"]) or "")
        yield trajectory(first_request(steps), steps)
    elif "traj" in record:
        reward = number(record.get("reward"))
        steps = _steps(record["traj"], "traj")
        yield trajectory(
            first_request(steps), steps, outcome=outcome_of(reward), reward=reward, episode=_episode(record)
        )
    elif "reward_info" in record:
        yield _simulation(record, {})
    else:
        yield _row(record)


def displayed_steps(display: str) -> list[Step]:
    """The turns of a dialogue written as ``user: …``, ``assistant: …`` and ``tool: …``."""
    heads = list(_TURN.finditer(display))
    if not heads or display[: heads[0].start()].strip():
        raise UnusableRecordError("malformed_record", "a dialogue that does not begin with the name of a speaker")
    steps: list[Step] = []
    for place, head in enumerate(heads):
        end = heads[place + 1].start() if place + 1 < len(heads) else len(display)
        said = display[head.end() : end].removesuffix("\n")
        role: Any = head[1]
        steps.append(Step(role, None if role == "assistant" and said == _NOTHING else said))
    return steps


def _results(record: Record) -> Iterator[Found]:
    """A file of results: each simulation is an episode, or a problem of its own."""
    info = object_of(record.get("info"))
    for place, simulation in enumerate(objects(record["simulations"], "simulations")):
        try:
            yield _simulation(simulation, info)
        except UnusableRecordError as error:
            yield Problem(identifier(simulation.get("id")) or str(place), error.reason, str(error))


def _simulation(simulation: Record, info: Mapping[str, Any]) -> Found:
    """``info`` names the domain, its policy, which is the agent's system prompt, its tools, and the agent's model."""
    domain, agent = object_of(info.get("environment_info")), object_of(info.get("agent_info"))
    reward = number(object_of(simulation.get("reward_info")).get("reward"))
    steps = _steps(simulation.get("messages"), "messages")
    policy = text(simulation.get("policy")) or text(domain.get("policy"))
    if policy and not any(step.role == "system" for step in steps):
        steps = [Step("system", policy), *steps]
    name = text(domain.get("domain_name"))
    return trajectory(
        first_request(steps),
        steps,
        tools=_tools(domain.get("tool_defs")),
        outcome=outcome_of(reward),
        reward=reward,
        environment=f"tau2-bench/{name}" if name else "",
        generator=text(agent.get("llm")) or "",
        episode=identifier(simulation.get("id")) or _episode(simulation),
    )


def _row(record: Record) -> Found:
    """A row of a published set. τ-bench's verdict is the state of the database, τ²-bench's the score."""
    evaluation, meta = object_of(record.get("eval_result")), object_of(record.get("meta"))
    reward, is_equal = number(evaluation.get("score")), evaluation.get("db_match")
    is_first = record.get("benchmark_name") in _FIRST_BENCHMARK and isinstance(is_equal, bool)
    steps = _steps(record.get("messages"), "messages")
    if not any(step.role == "tool" for step in steps):
        steps = _with_observations(steps)
    return trajectory(
        first_request(steps),
        steps,
        tools=tools_of(record.get("tools")),
        outcome=outcome_of(is_equal if is_first else reward),
        reward=reward,
        environment="/".join(found for name in ("benchmark_name", "task_name") if (found := text(record.get(name)))),
        generator=text(record.get("model_path")) or "",
        episode=identifier(meta.get("id")),
    )


def _with_observations(steps: Sequence[Step]) -> list[Step]:
    """Some models' runs have no role for tools: the turn after a call is what it returned, whoever it is said to be."""
    before: Sequence[Step | None] = [None, *steps]
    return [
        Step("tool", step.content or "") if step.role == "user" and earlier is not None and earlier.calls else step
        for earlier, step in zip(before, steps, strict=False)
    ]


def _steps(messages: object, field: str) -> list[Step]:
    """Messages as steps. A tool's message of τ²-bench has its call's ``id`` and whether it is an ``error``; without
    ids, results stand in the order of the calls."""
    turns = objects(messages, field)
    steps = openai_steps([_openai_turn(turn) for turn in turns])
    return [
        replace(
            step,
            calls=tuple(replace(call, call_id=call.call_id or None) for call in step.calls),
            error=step.content if step.role == "tool" and turn.get("error") is True else step.error,
        )
        for step, turn in zip(steps, turns, strict=True)
    ]


def _openai_turn(turn: Mapping[str, Any]) -> Mapping[str, Any]:
    if turn.get("role") == "tool" and text(turn.get("tool_call_id")) is None and text(turn.get("id")):
        return {**turn, "tool_call_id": turn["id"]}
    return turn


def _tools(definitions: object) -> tuple[Mapping[str, Any], ...]:
    """``{name: {name, doc, params}}`` or a list of such signatures."""
    signatures: Sequence[Any] = list(definitions.values()) if isinstance(definitions, dict) else []
    signatures = definitions if isinstance(definitions, list) else signatures
    return tools_of(
        [
            {
                **signature,
                "description": content_of(signature.get("doc", signature.get("description"))),
                "parameters": signature.get("params", signature.get("parameters")),
            }
            for signature in signatures
            if isinstance(signature, dict)
        ]
    )


def _episode(record: Record) -> str:
    """The task and the trial."""
    return "#".join(found for name in ("task_id", "trial") if (found := identifier(record.get(name))))
