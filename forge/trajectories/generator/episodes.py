"""One episode: the model thinks of a task for some operations, then solves it with them against the mock.

An answer that cannot be used (no JSON where JSON was asked for, malformed calls, cut at the limit) is sampled again, a
few times; then the episode is dropped. Everything depends on the operations, the seed and the model's answers only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, TypeVar

from forge.schema import Step, ToolCall, Trajectory, canonical_json, content_hash, is_deeper_than
from forge.trajectories.checks import check
from forge.trajectories.formats.fields import MAX_NESTING, UnusableRecordError, call_of, content_of, parsed_json, text
from forge.trajectories.generator.mock_server import MockServer
from forge.trajectories.generator.model import Model
from forge.trajectories.generator.options import GeneratorOptions
from forge.trajectories.generator.prompts import prompts
from forge.trajectories.generator.tasks import TaskSet, tools_of
from forge.usages.render import joined_license

MAX_TASK_CHARACTERS = 4_000
MAX_PLANNED_CALLS = 20
MAX_CALLS_OF_A_TURN = 16
_MAX_SHOWN_OBJECTS = 20

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a task set became no trajectory."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    task: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One answer of the model to the agent's conversation; without calls it is the last."""

    content: str | None
    thought: str | None
    calls: tuple[ToolCall, ...]

    def message(self) -> dict[str, Any]:
        """As it goes back into the conversation; thoughts do not."""
        calls = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": canonical_json(call.arguments)},
            }
            for call in self.calls
        ]
        return {"role": "assistant", "content": self.content, **({"tool_calls": calls} if calls else {})}


class _UnusableAnswerError(Exception):
    pass


async def episode(task_set: TaskSet, model: Model, options: GeneratorOptions) -> Trajectory | Dropped:
    """The trajectory of a task set. ``outcome`` is success only when the model ended with an answer and the mock saw
    calls of all planned tools succeed, in their order; else unknown. Raises what :meth:`Model.choice` does."""
    tools = tools_of(task_set.entities)
    if not tools:
        return Dropped("no_tools", "every interface is too long")
    described = [tool for _, tool in tools.values()]
    seed = content_hash(str(options.seed), str(task_set.number), *sorted(e.entity_key for e in task_set.entities))
    server = MockServer(tools, seed)
    sampler = _Sampler(model, options, seed)
    try:
        plan = await sampler.sample(
            [{"role": "user", "content": _task_prompt(task_set, described, server)}], [], "plan", _read_plan(set(tools))
        )
    except _UnusableAnswerError as error:
        return Dropped("malformed_plan", str(error))
    steps = [Step("system", prompts().agent.format(api=task_set.api)), Step("user", plan.task)]
    messages: list[dict[str, Any]] = [{"role": step.role, "content": step.content} for step in steps]
    is_answered = False
    used: set[str] = set()
    for number in range(options.max_turns):
        try:
            turn = await sampler.sample(messages, described, f"turn {number}", _read_turn(number, used))
        except _UnusableAnswerError as error:
            return Dropped("malformed_answer", str(error))
        used |= {call.call_id for call in turn.calls if call.call_id is not None}
        messages.append(turn.message())
        steps.append(Step("assistant", turn.content, turn.thought, turn.calls))
        for call in turn.calls:
            response = server.call(call.name, call.arguments)
            messages.append({"role": "tool", "tool_call_id": call.call_id, "content": response.content})
            steps.append(Step("tool", response.content, answers=call.call_id, error=response.error))
        if not turn.calls:
            is_answered = True
            break
    if not used:
        return Dropped("no_action", "no tool is called")
    trajectory = Trajectory(
        task=plan.task,
        tools=tuple(described),
        steps=tuple(steps),
        outcome="success" if is_answered and server.has_done(plan.tools) else "unknown",
        reward=None,
        environment=environment_of(task_set),
        license=joined_license(*sorted({options.license, *(entity.license for entity in task_set.entities)})),
        generator=options.model,
        source="",
        item_id="",
        episode=f"{options.seed}-{task_set.number:06d}",
    )
    decision = check(trajectory)
    return trajectory if decision is None else Dropped(decision.reason, decision.detail)


def environment_of(task_set: TaskSet) -> str:
    """``mock/aws/dynamodb``: nobody shall take it for the service itself."""
    return "mock/" + task_set.api.replace(" ", "/")


@dataclass(frozen=True)
class _Sampler:
    model: Model
    options: GeneratorOptions
    seed: str

    async def sample(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        place: str,
        read: Callable[[Mapping[str, Any]], _Read],
    ) -> _Read:
        """The first of a few samples that can be read. Raises what was wrong with the last one."""
        problem = ""
        for attempt in range(self.options.max_attempts):
            seed = int(content_hash(self.seed, place, str(attempt))[:7], 16)
            choice = await self.model.choice(messages, tools, seed)
            try:
                if choice.get("finish_reason") == "length":
                    raise UnusableRecordError("cut", f"cut at {self.options.max_answer_tokens} tokens")
                return read(choice["message"])
            except UnusableRecordError as error:
                problem = str(error)
        raise _UnusableAnswerError(f"{place}: {problem}")


def _task_prompt(task_set: TaskSet, tools: list[dict[str, Any]], server: MockServer) -> str:
    words = prompts()
    objects = server.objects()[:_MAX_SHOWN_OBJECTS]
    world = words.world.format(objects="\n".join(objects)) if objects else words.world_empty
    return words.task_writer.format(api=task_set.api, tools=json.dumps(tools, ensure_ascii=False), world=world)


def _read_plan(tools: set[str]) -> Callable[[Mapping[str, Any]], _Plan]:
    def read(message: Mapping[str, Any]) -> _Plan:
        content = (content_of(message.get("content")) or "").rpartition("</think>")[2]
        value = parsed_json(content[content.find("{") : content.rfind("}") + 1])
        if not isinstance(value, dict):
            raise UnusableRecordError("plan", "no JSON object")
        task, plan = value.get("task"), value.get("plan")
        if not isinstance(task, str) or not 0 < len(task.strip()) <= MAX_TASK_CHARACTERS:
            raise UnusableRecordError("plan", "task is no text, empty or too long")
        if not isinstance(plan, list) or not 0 < len(plan) <= MAX_PLANNED_CALLS:
            raise UnusableRecordError("plan", "plan is no list, empty or too long")
        if not all(isinstance(name, str) and name in tools for name in plan):
            raise UnusableRecordError("plan", "plan names what is no tool")
        return _Plan(task.strip(), tuple(plan))

    return read


def _read_turn(number: int, used: Set[str]) -> Callable[[Mapping[str, Any]], _Turn]:
    def read(message: Mapping[str, Any]) -> _Turn:
        listed = message.get("tool_calls") or []
        if not isinstance(listed, list) or len(listed) > MAX_CALLS_OF_A_TURN:
            raise UnusableRecordError("calls", f"tool_calls is no list or longer than {MAX_CALLS_OF_A_TURN}")
        calls: list[ToolCall] = []
        for place, entry in enumerate(listed):
            call = call_of(entry, number)
            if is_deeper_than(dict(call.arguments), MAX_NESTING):
                raise UnusableRecordError("calls", "arguments nest too deeply")
            # Some servers number the calls of each answer from 0.
            is_new = call.call_id not in used and all(call.call_id != other.call_id for other in calls)
            call_id = call.call_id if call.call_id and is_new else f"call_{number}_{place}"
            calls.append(ToolCall(call.name, call.arguments, call_id))
        content = content_of(message.get("content")) or None
        if content is None and not calls:
            raise UnusableRecordError("answer", "neither text nor a call")
        thought = text(message.get("reasoning_content")) or text(message.get("reasoning")) or None
        return _Turn(content, thought, tuple(calls))

    return read
