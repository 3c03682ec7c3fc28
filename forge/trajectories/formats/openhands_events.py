"""OpenHands' own event streams: ``history``, ``trajectory`` or ``events`` of a record, or a file that lists them.

Before version 1 an event is ``{id, source, action, args, tool_call_metadata}`` or ``{id, source, cause, observation,
content}``, in early files in pairs of the two; the software agent SDK writes ``{kind: ActionEvent | ObservationEvent |
MessageEvent | SystemPromptEvent, …}``. What OpenHands tells itself (states, recalls, condensations) is no step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from forge.schema import Step, ToolCall
from forge.trajectories.formats.fields import (
    Found,
    Record,
    UnusableRecordError,
    arguments_of,
    call_of,
    content_of,
    first_request,
    identifier,
    json_text,
    object_of,
    objects,
    text,
    tools_of,
    trajectory,
)
from forge.trajectories.formats.openhands import resolution_of

_KEYS = ("history", "trajectory", "events")
_INTERNAL_ACTIONS = frozenset(
    {
        *("change_agent_state", "recall", "null", "initialize", "start", "pause", "resume", "stop"),
        *("condensation", "condensation_request", "streaming_chunk", "push", "send_pr"),
    }
)
_INTERNAL_OBSERVATIONS = frozenset({"agent_state_changed", "recall", "null", "condense"})
_BOOKKEEPING = frozenset(
    {
        *("thought", "confirmation_state", "security_risk", "blocking", "hidden", "is_static", "is_confirmed"),
        *("keep_prompt", "kernel_init_code", "include_extra"),
    }
)
"""Arguments of an action that OpenHands adds to what the agent said."""
_SHELLS: Mapping[str, tuple[str, str]] = {"run": ("shell", "command"), "run_ipython": ("python", "code")}
_SDK_ANSWERS = ("ObservationEvent", "AgentErrorEvent", "UserRejectObservation")


def matches(record: Record) -> bool:
    events = _events(record)
    return bool(events) and any(_is_event(event) for event in events[:2])


def matches_first(record: Record) -> bool:
    """Whether a file whose first record this is holds the events of one episode."""
    return _is_event(record)


def read(record: Record) -> Iterator[Found]:
    stream = _Stream()
    for event in objects(_events(record), "history"):
        stream.add(event)
    steps = [step for step in stream.steps if step.content is not None or step.thought or step.calls]
    if not any(step.role == "assistant" for step in steps):
        raise UnusableRecordError("no_steps", "no event is the agent's")
    yield trajectory(
        first_request(steps) or text(record.get("instruction")) or "",
        steps,
        tools=stream.tools or tools_of(record.get("tools")),
        outcome=resolution_of(record),
        generator=_model(record),
        episode=identifier(record.get("instance_id")) or identifier(record.get("trajectory_id")),
    )


def read_file(records: Sequence[Record]) -> Iterator[Found]:
    """The episode whose events the records are."""
    yield from read({"history": list(records)})


def _events(record: Record) -> list[Any]:
    """The events in order, out of the pairs of older files."""
    found: list[Any] = next((record[key] for key in _KEYS if isinstance(record.get(key), list)), [])
    if not (found and isinstance(found[0], list)):
        return list(found)
    return [event for entry in found for event in (entry if isinstance(entry, list) else [entry])]


def _is_event(event: object) -> bool:
    if not isinstance(event, Mapping) or "role" in event:
        return False
    kind = event.get("kind")
    if isinstance(kind, str):
        return kind.endswith("Event") and "source" in event
    named = [event.get(name) for name in ("action", "observation")]
    return "source" in event and sum(isinstance(name, str) for name in named) == 1


@dataclass
class _Stream:
    """The steps of the events so far."""

    steps: list[Step] = field(default_factory=list)
    tools: tuple[Mapping[str, Any], ...] = ()
    _responses: dict[str, int] = field(default_factory=dict)
    """Answers of the model whose calls come as an event each -> place of their step."""
    _of_user: set[object] = field(default_factory=set)

    def add(self, event: Mapping[str, Any]) -> None:
        if isinstance(event.get("kind"), str):
            self._add_sdk(event)
        elif isinstance(event.get("action"), str):
            self._add_action(event, event["action"], object_of(event.get("args")))
        elif isinstance(event.get("observation"), str):
            self._add_observation(event, event["observation"])

    def _add_action(self, event: Mapping[str, Any], action: str, arguments: Mapping[str, Any]) -> None:
        said = content_of(arguments.get("content", event.get("message")))
        if action == "system":
            self.tools = self.tools or tools_of(arguments.get("tools"))
            self.steps.append(Step("system", said))
        elif action in _INTERNAL_ACTIONS or event.get("source") == "environment":
            return
        elif event.get("source") == "user":
            self._of_user.add(identifier(event.get("id")))
            self.steps.append(Step("user", said if action == "message" else content_of({action: dict(arguments)})))
        elif action == "message":
            self.steps.append(Step("assistant", said))
        else:
            self._add_calls(event, action, arguments)

    def _add_calls(self, event: Mapping[str, Any], action: str, arguments: Mapping[str, Any]) -> None:
        metadata = object_of(event.get("tool_call_metadata"))
        response = object_of(metadata.get("model_response"))
        choices = response.get("choices")
        message = object_of(object_of(choices[0] if isinstance(choices, list) and choices else None).get("message"))
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            name = text(response.get("id")) or ""
            if name and name in self._responses:
                return
            self._responses[name] = len(self.steps)
            made = tuple(call_of(call, len(self.steps)) for call in calls)
            self.steps.append(
                Step("assistant", content_of(message.get("content")), text(message.get("reasoning_content")), made)
            )
            return
        thought = arguments.get("thought")
        if isinstance(thought, Mapping):
            thought = "\n".join(found for key in ("reasoning_content", "text") if (found := text(thought.get(key))))
        given = {name: value for name, value in arguments.items() if name not in _BOOKKEEPING and value is not None}
        tool, only = _SHELLS.get(action, (text(metadata.get("function_name")) or action, ""))
        if only:
            given = {only: content_of(given.get(only)) or ""}
        call = ToolCall(tool, arguments_of(given, action), text(metadata.get("tool_call_id")))
        self.steps.append(Step("assistant", thought=text(thought) or None, calls=(call,)))

    def _add_observation(self, event: Mapping[str, Any], observation: str) -> None:
        if observation in _INTERNAL_OBSERVATIONS:
            return
        said = content_of(event.get("content")) or ""
        answers = text(object_of(event.get("tool_call_metadata")).get("tool_call_id"))
        cause = identifier(event.get("cause"))
        if answers is None and cause and cause in self._of_user:
            self.steps.append(Step("user", said))
        else:
            self._answer(Step("tool", said, answers=answers, error=said if observation == "error" else None))

    def _add_sdk(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "SystemPromptEvent":
            prompts = [_text_of(event.get(name)) for name in ("system_prompt", "dynamic_context")]
            self.tools = self.tools or tools_of(event.get("tools"))
            self.steps.append(Step("system", _joined(prompts)))
        elif kind == "MessageEvent":
            message = object_of(event.get("llm_message"))
            said = _joined([_text_of(message.get("content")), _text_of(event.get("extended_content"))])
            if event.get("source") == "agent":
                self.steps.append(Step("assistant", said, text(message.get("reasoning_content")) or None))
            else:
                self.steps.append(Step("user", said))
        elif kind == "ActionEvent":
            self._add_sdk_call(event)
        elif kind in _SDK_ANSWERS:
            self._add_sdk_observation(event)

    def _add_sdk_call(self, event: Mapping[str, Any]) -> None:
        call = event.get("tool_call")
        if not isinstance(call, Mapping):
            given = {name: value for name, value in object_of(event.get("action")).items() if name != "kind"}
            call = {"name": event.get("tool_name"), "arguments": given}
        made = call_of(dict(call), len(self.steps))
        made = replace(made, call_id=made.call_id or text(event.get("tool_call_id")))
        response = text(event.get("llm_response_id")) or ""
        place = self._responses.get(response)
        if response and place == len(self.steps) - 1:
            self.steps[place] = replace(self.steps[place], calls=(*self.steps[place].calls, made))
            return
        self._responses[response] = len(self.steps)
        said, thought = _text_of(event.get("thought")), text(event.get("reasoning_content"))
        self.steps.append(Step("assistant", said or None, thought or None, (made,)))

    def _add_sdk_observation(self, event: Mapping[str, Any]) -> None:
        found = event.get("observation")
        observation = found if isinstance(found, Mapping) else {"content": found}
        error = text(event.get("error")) or text(event.get("rejection_reason"))
        content = observation.get("content", observation.get("output"))
        said = _joined([_text_of(content), _text_of(event.get("extended_content")), error]) or ""
        if observation.get("is_error") is True:
            error = error or said
        self._answer(Step("tool", said, answers=text(event.get("tool_call_id")), error=error or None))

    def _answer(self, step: Step) -> None:
        """An observation of a call; what answers none, as at the begin of a session, is said to the agent."""
        is_answer = any(earlier.calls or earlier.role == "tool" for earlier in self.steps[-1:])
        self.steps.append(step if is_answer or step.answers is not None else Step("user", step.content))


def _text_of(value: object) -> str | None:
    """A text, or the SDK's blocks, one or a list: the texts among them, and the others, such as images, as JSON."""
    blocks = [value] if isinstance(value, Mapping) else value
    if not isinstance(blocks, list):
        return content_of(blocks)
    return _joined([text(object_of(block).get("text")) or json_text(block) for block in blocks])


def _joined(parts: Sequence[str | None]) -> str | None:
    return "\n".join(part for part in parts if part) or None


def _model(record: Record) -> str:
    metadata = object_of(record.get("metadata"))
    configurations = (metadata.get("llm_config"), metadata.get("llm"), metadata, record)
    return next((found for one in configurations if (found := text(object_of(one).get("model")))), "")
