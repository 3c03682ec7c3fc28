"""What every trajectory must satisfy before it becomes a row: the same checks for each format, in one order.

A failed episode is kept and marked by its outcome: what it teaches is decided by who mixes and renders it
(:mod:`forge.trajectories.recovery`). The natural language is judged later, with that of the other documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forge.schema import Decision, Step, ToolCall, Trajectory, canonical_json
from forge.trajectories.call_schemas import mismatch
from forge.trajectories.conversation_checks import cut_json, empty_episode, leaked_system_prompt, refusal
from forge.trajectories.observations import Answer, DanglingObservationError, answers, is_error
from forge.trajectories.recovery import corrected

MAX_STEPS = 2_000
MAX_CHARACTERS = 2_000_000
"""Of all that an episode holds: what is said and observed, arguments and tools."""
LOOP_REPEATS = 6
"""An action and its observation, or a cycle of at most `LOOP_PERIOD` of them, this often in a row is a loop."""
LOOP_PERIOD = 3
ENDING_TOOLS = frozenset({"finish", "submit", "finalanswer", "answer", "complete", "done", "exit", "stop"})
"""Tools that end an episode, which lists of tools seldom name; letters only, lower case."""
PLACEHOLDER_TOOLS = frozenset({"invalid_hallucination_function_name"})
"""Names that a harness writes in place of what the model called."""
_STEP = "parse_trajectories"


def check(trajectory: Trajectory) -> Decision | None:
    """Why the trajectory cannot be used, or None. Reasons, the first that applies:

    - ``no_steps``, ``oversized``
    - ``malformed_record``: text or numbers that no table can hold
    - ``no_action``: no call is made and no tool is offered; without calls, tools teach when not to call
    - ``empty_episode``: the assistant neither says nor does anything
    - ``dangling_observation``: an observation without a call before it, or a second one of the same call
    - ``looping``, ``cut_json``, ``refusal``, ``leaked_system_prompt``
    - ``unknown_tool``: see :func:`_unknown_tool`
    - ``call_schema_mismatch``: arguments against the tool's JSON Schema

    A call that is wrong in either of the last two ways is allowed where the environment refused it and a later step
    corrects it: that is how models learn to recover.
    """
    found = _problem(trajectory)
    return None if found is None else Decision(trajectory.source, trajectory.item_id, _STEP, *found)


def _problem(trajectory: Trajectory) -> tuple[str, str] | None:
    steps = trajectory.steps
    if not steps:
        return "no_steps", "no step at all"
    if len(steps) > MAX_STEPS:
        return "oversized", f"{len(steps)} steps, at most {MAX_STEPS} are kept"
    try:
        arguments = [[canonical_json(call.arguments) for call in step.calls] for step in steps]
        characters = _characters(trajectory) + sum(len(text) for texts in arguments for text in texts)
    except (TypeError, UnicodeEncodeError) as error:  # orjson raises TypeErrors
        return "malformed_record", f"what no table can hold: {error}"
    if characters > MAX_CHARACTERS:
        return "oversized", f"{characters} characters, at most {MAX_CHARACTERS} are kept"
    if not trajectory.tools and not any(step.calls for step in steps):
        return "no_action", "no tool is called or offered"
    for reason, problem in _found(trajectory, arguments):
        if problem is not None:
            return reason, problem
    return None


def _found(trajectory: Trajectory, arguments: Sequence[Sequence[str]]) -> Iterator[tuple[str, str | None]]:
    yield "empty_episode", empty_episode(trajectory)
    try:
        answered = list(answers(trajectory.steps))
    except DanglingObservationError as error:
        yield "dangling_observation", str(error)
        return
    if trajectory.outcome != "success":  # who waits or crosses a wide room does the same thing often, and arrives
        yield "looping", _loop(trajectory.steps, arguments)
    yield "cut_json", cut_json(trajectory)
    yield "refusal", refusal(trajectory)
    yield "leaked_system_prompt", leaked_system_prompt(trajectory)
    if trajectory.tools:
        yield "unknown_tool", _unknown_tool(trajectory, answered)
        yield "call_schema_mismatch", _schema_mismatch(trajectory, arguments, answered)


def _characters(trajectory: Trajectory) -> int:
    """Raises UnicodeEncodeError for text that is no Unicode, TypeError for tools that are no JSON."""
    characters = sum(len(canonical_json(tool)) for tool in trajectory.tools)
    named = (trajectory.environment, trajectory.generator, trajectory.license, trajectory.episode)
    for text in (trajectory.task, *named, *_texts(trajectory.steps)):
        if text:
            if not text.isascii():
                text.encode()
            characters += len(text)
    return characters


def _texts(steps: Sequence[Step]) -> Iterator[str | None]:
    for step in steps:
        yield step.content
        yield step.thought
        yield step.error
        yield step.answers
        for call in step.calls:
            yield call.name
            yield call.call_id


def _loop(steps: Sequence[Step], arguments: Sequence[Sequence[str]]) -> str | None:
    """The same actions with the same observations over and over: the agent was stuck."""
    if len(steps) < LOOP_REPEATS:
        return None
    turns: list[tuple[str, ...]] = []
    for step, texts in zip(steps, arguments, strict=True):
        if step.calls:
            turns.append(
                tuple(part for call, text in zip(step.calls, texts, strict=True) for part in (call.name, text))
            )
        elif step.role == "tool" and turns:
            turns[-1] = (*turns[-1], step.content or "")
    for period in range(1, LOOP_PERIOD + 1):
        equal = 0
        for index in range(period, len(turns)):
            equal = equal + 1 if turns[index] == turns[index - period] else 0
            if equal >= period * (LOOP_REPEATS - 1):
                return f"a cycle of {period} actions with equal observations, {LOOP_REPEATS} times in a row"
    return None


def _unknown_tool(trajectory: Trajectory, answered: Sequence[Answer]) -> str | None:
    """A call of a tool that is not listed, in an episode that lists tools.

    Many sets list only a part of their tools, so what the environment answers without an error is known to it. Without
    an answer only a tool that ends the episode is allowed; with an error, only where a listed tool succeeds later.
    """
    listed = {name for name, _ in _described(trajectory.tools)}
    unlisted = [
        (number, place, call.name)
        for number, step in enumerate(trajectory.steps)
        for place, call in enumerate(step.calls)
        if call.name not in listed
    ]
    if not unlisted:
        return None
    observed = {(answer.call_step, answer.call_place): answer.observation for answer in answered}
    failed = {answer.observation for answer in answered if is_error(trajectory.steps[answer.observation])}
    last_success = max(
        (answer.call_step for answer in answered if answer.call.name in listed and answer.observation not in failed),
        default=-1,
    )
    for number, place, name in unlisted:
        observation = observed.get((number, place))
        if observation is None:
            is_allowed = _letters(name) in ENDING_TOOLS
        else:
            is_allowed = observation not in failed or observation < last_success
        if not is_allowed or name in PLACEHOLDER_TOOLS:
            return f"step {number} calls {name!r}, which is no tool of the episode"
    return None


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalpha())


def _schema_mismatch(
    trajectory: Trajectory, arguments: Sequence[Sequence[str]], answered: Sequence[Answer]
) -> str | None:
    schemas: dict[str, list[Any]] = {}
    for name, parameters in _described(trajectory.tools):
        schemas.setdefault(name, []).append(parameters)
    forgiven: set[tuple[int, int]] | None = None
    for number, step in enumerate(trajectory.steps):
        for place, call in enumerate(step.calls):
            problem = _mismatch_of_all(schemas.get(call.name, ()), call, len(arguments[number][place]))
            if problem is None:
                continue
            if forgiven is None:
                forgiven = {(found.call_step, found.call_place) for found, _ in corrected(trajectory.steps, answered)}
            if (number, place) not in forgiven:
                return f"step {number}, {call.name}: {problem}"
    return None


def _described(tools: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Name and parameters of each tool that has a name."""
    for tool in tools:
        name = tool.get("name")
        if isinstance(name, str):
            yield name, tool.get("parameters")


def _mismatch_of_all(schemas: Sequence[Any], call: ToolCall, characters: int) -> str | None:
    """Of tools that share one name, the call needs to fit one."""
    problem = None
    for schema in schemas:
        problem = mismatch(schema, call.arguments, characters)
        if problem is None:
            return None
    return problem
