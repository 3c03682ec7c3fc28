"""ADP, the standard trajectories of the Agent Data Protocol: ``id``, ``content`` of actions (``api_action``,
``code_action``, ``message_action``) and observations (``text_observation``, ``web_observation``, …), ``details``.

Read and written. Actions that follow each other are one turn when the later ones describe nothing. Observations that
follow actions answer them, in order unless they name a ``tool_call_id``; others are what the user or the environment
says by itself. ``details`` carries what ADP has no field for.

What is written names a ``tool_call_id`` where the source has ids and only for calls that are answered, as those
versions of ADP demand that have the field; the published sets are older and have none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from forge.schema import Role, Step, ToolCall, Trajectory, canonical_json
from forge.trajectories.formats import remainder
from forge.trajectories.formats.fields import (
    Found,
    Record,
    arguments_of,
    content_of,
    identifier,
    json_record,
    malformed,
    objects,
    text,
)
from forge.trajectories.formats.openai_messages import conversation, facts, function_tools

_SHELLS = ("bash", "sh", "shell", "zsh", "console", "terminal")
_PYTHONS = ("python", "py", "python3", "ipython")
_CALLS = ("api_action", "code_action")
_SPEAKERS = ("agent", "assistant", "system")
_OBSERVATIONS = ("text_observation", "web_observation", "image_observation", "json_observation")
_FACTS = ("task", "outcome", "success", "reward", "environment", "license", "tools")
_Place = tuple[int, int | None]
"""A call by its step and its place there; an observation by its step and None."""
_RESOLVED: Mapping[str, bool] = {"True": True, "False": False, "true": True, "false": False}


def matches(record: Record) -> bool:
    content = record.get("content")
    if not isinstance(content, list):
        return False
    return (isinstance(content[0], dict) and "class_" in content[0]) if content else "details" in record


def read(record: Record) -> Iterator[Found]:
    yield _episode(json_record(record))


def write(trajectory: Trajectory) -> dict[str, Any]:
    """The episode as an ADP standard trajectory; :func:`read` gives it back exactly, its source and item aside."""
    details = facts(trajectory)
    if trajectory.tools:
        details["tools"] = function_tools(trajectory.tools)
    if trajectory.generator:
        details["model_name"] = trajectory.generator
    record = {"id": trajectory.episode, "content": _written(trajectory.steps), "details": details}
    left = remainder.remainder(trajectory, _episode(record))
    return {**record, "details": {**details, remainder.KEY: left}} if left else record


def _episode(record: Record) -> Trajectory:
    details = record["details"] if isinstance(record.get("details"), dict) else {}
    stated = {fact: details[fact] for fact in _FACTS if fact in details}
    resolved = details.get("resolved")
    if isinstance(resolved, str):
        resolved = _RESOLVED.get(resolved)
    facts_of = {
        "success": resolved,
        "task": details.get("task_description"),
        **stated,
        "generator": details.get("model_name"),
        "id": identifier(record.get("id")),
    }
    reading = _Reading()
    for place, item in enumerate(objects(record.get("content"), "content")):
        reading.add(item, place)
    return remainder.restored(conversation(facts_of, reading.steps()), details.get(remainder.KEY))


@dataclass(slots=True)
class _Reading:
    """The turns so far, each with its calls, and how many calls still wait for an observation."""

    turns: list[tuple[Step, list[ToolCall]]] = field(default_factory=list)
    waiting: int = 0
    after_call: bool = False

    def steps(self) -> list[Step]:
        return [replace(step, calls=tuple(calls)) if calls else step for step, calls in self.turns]

    def add(self, item: Record, place: int) -> None:
        kind = text(item.get("class_")) or ""
        if kind in _CALLS:
            self._call(item, _call_of(item, kind, place))
        elif kind == "message_action":
            thought, note = text(item.get("reasoning_content")), text(item.get("description"))
            if note:
                thought = f"{thought}\n{note}" if thought else note
            self._say(Step("assistant", content_of(item.get("content")) or None, thought=thought))
        elif kind in _OBSERVATIONS:
            self._observe(item, _observed(item, kind))
        else:
            raise malformed(f"content {place}: unknown class_ {kind[:50]!r}")

    def _call(self, item: Record, call: ToolCall) -> None:
        said, thought = text(item.get("description")), text(item.get("reasoning_content"))
        if self.after_call and said is None and thought is None:
            self.turns[-1][1].append(call)
        else:
            self.turns.append((Step("assistant", said or None, thought=thought), [call]))
        self.waiting = self.waiting + 1 if self.after_call else 1
        self.after_call = True

    def _say(self, step: Step) -> None:
        self.turns.append((step, []))
        self.waiting, self.after_call = 0, False

    def _observe(self, item: Record, content: str | None) -> None:
        call_id, source = text(item.get("tool_call_id")), item.get("source")
        self.after_call = False
        if call_id is not None or (self.waiting and source not in _SPEAKERS and item.get("name") != "system"):
            self.turns.append((Step("tool", content, answers=call_id), []))
            self.waiting = max(0, self.waiting - 1)
        elif source in ("agent", "assistant"):
            self._say(Step("assistant", content or None))
        else:
            role: Role = "system" if "system" in (source, item.get("name")) else "user"
            self.turns.append((Step(role, content or None), []))


def _call_of(item: Record, kind: str, place: int) -> ToolCall:
    call_id = text(item.get("tool_call_id"))
    if kind == "api_action":
        name = text(item.get("function"))
        if not name:
            raise malformed(f"content {place}: an api_action without a function")
        return ToolCall(name, arguments_of(item.get("kwargs"), f"content {place}, {name}"), call_id)
    code, language = text(item.get("content")), text(item.get("language")) or ""
    if code is None:
        raise malformed(f"content {place}: a code_action without code")
    if language.lower() in _SHELLS:
        return ToolCall("shell", {"command": code}, call_id)
    if language.lower() in _PYTHONS:
        return ToolCall("python", {"code": code}, call_id)
    return ToolCall("execute_code", {"language": language, "code": code}, call_id)


def _observed(item: Record, kind: str) -> str | None:
    if kind == "web_observation":
        return _page(item)
    if kind == "image_observation":
        return _image(item)
    return content_of(item.get("content"))


def _page(item: Record) -> str:
    """All that was seen of a page: its address, its accessibility tree, its HTML and where its picture is."""
    url, image = text(item.get("url")), item.get("image_observation")
    seen = [f"URL: {url}" if url else "", text(item.get("axtree")) or "", text(item.get("html")) or ""]
    return "\n".join(part for part in (*seen, _image(image) if isinstance(image, dict) else "") if part)


def _image(item: Record) -> str:
    notes = item.get("annotations")
    path = content_of(item.get("content")) or ""
    return f"[Image: {path}]" + (f"\n{canonical_json(notes)}" if notes else "")


def _written(steps: Sequence[Step]) -> list[dict[str, Any]]:
    names = _link_names(steps)
    items: list[dict[str, Any]] = []
    for number, step in enumerate(steps):
        if step.role == "assistant" and step.calls:
            said = "" if step.content is None and items and items[-1]["class_"] in _CALLS else step.content
            items += _written_calls(step, said, number, names)
        elif step.role == "assistant":
            items.append({"class_": "message_action", "content": step.content or "", "description": None})
            if step.thought is not None:
                items[-1]["reasoning_content"] = step.thought
        else:
            source = "user" if step.role == "user" else "environment"
            observation = {"class_": "text_observation", "content": step.content or "", "source": source}
            if step.role == "system":
                observation["name"] = "system"
            if (number, None) in names:
                observation["tool_call_id"] = names[number, None]
            items.append(observation)
    return items


def _written_calls(step: Step, said: str | None, number: int, names: Mapping[_Place, str]) -> Iterator[dict[str, Any]]:
    for place, call in enumerate(step.calls):
        item = {**_action(call), "description": said if place == 0 else None}
        if place == 0 and step.thought is not None:
            item["reasoning_content"] = step.thought
        if (number, place) in names:
            item["tool_call_id"] = names[number, place]
        yield item


def _action(call: ToolCall) -> dict[str, Any]:
    match dict(call.arguments):
        case {"code": str(code), **rest} if call.name == "python" and not rest:
            return {"class_": "code_action", "language": "python", "content": code}
        case {"command": str(command), **rest} if call.name == "shell" and not rest:
            return {"class_": "code_action", "language": "bash", "content": command}
    return {"class_": "api_action", "function": call.name, "kwargs": dict(call.arguments)}


def _link_names(steps: Sequence[Step]) -> dict[_Place, str]:
    """The ``tool_call_id`` of (step, call) and of (observation, None): only of pairs, as ADP allows no others. Pairs
    without an id need none where the order tells them; beside named ones each gets its own."""
    pairs: list[tuple[_Place, _Place, str | None]] = []
    waiting: dict[str | None, deque[_Place]] = {}
    for number, step in enumerate(steps):
        for place, call in enumerate(step.calls if step.role == "assistant" else ()):
            waiting.setdefault(call.call_id, deque()).append((number, place))
        if step.role == "tool" and waiting.get(step.answers):
            pairs.append((waiting[step.answers].popleft(), (number, None), step.answers))
    named = {name for _, _, name in pairs if name is not None}
    if not named:
        return {}
    fresh = (name for name in map("call_{:06d}".format, count(1)) if name not in named)
    names: dict[_Place, str] = {}
    used: set[str] = set()
    for call_place, observed, name in pairs:
        unique = next(fresh) if name is None or name in used else name
        used.add(unique)
        names[call_place] = names[observed] = unique
    return names
