"""Which API a call means: keys that an episode's calls offer and that API entities answer to.

By falling certainty:

- ``entity``: environment and tool name together are an entity key (episodes made from API documentation)
- ``command``: ``aws ec2 run-instances`` in a shell is the operation RunInstances of the service ec2
- ``path``: a call in Python code, its name followed through the session's imports to a dotted path
- ``signature``: tool name and parameter names equal those of an entity (:func:`forge.schema.signature_key`), which
  must be only one and have at least :data:`MIN_SIGNATURE_PARAMETERS` parameters: ``search(query)`` is many APIs

Nothing is guessed: a call that offers no key, or whose key no entity has, is not linked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from forge.schema import ToolCall, Trajectory, signature_key, without_place_names
from forge.usages.resolve import UNREADABLE, Binding, Scope, read_code

LinkMethod = Literal["entity", "command", "path", "signature"]
METHODS: tuple[LinkMethod, ...] = ("entity", "command", "path", "signature")
MIN_SIGNATURE_PARAMETERS = 2

_AWS_COMMAND = re.compile(r"(?:^|[\n;|&(][ \t]*)aws\s+(?:--[a-z-]+(?:[= ][^\s-]\S*)?\s+)*([a-z0-9-]+)\s+([a-z0-9-]+)")
_AWS_SERVICES = {"s3api": "s3", "configservice": "config", "deploy": "codedeploy"}
"""Services that the command line calls otherwise than the SDK does."""


@dataclass(frozen=True, slots=True)
class LinkKey:
    method: LinkMethod
    key: str


def offered_keys(trajectory: Trajectory) -> Counter[tuple[str, LinkKey]]:
    """(tool name, key) of every call -> how many calls of the episode offer it. One call may offer keys of several
    methods."""
    found: Counter[tuple[str, LinkKey]] = Counter()
    parameters = {str(tool.get("name")): _parameter_names(tool) for tool in trajectory.tools}
    code: list[str] = []
    for step in trajectory.steps:
        for call in step.calls:
            if call.name == "python" and isinstance(call.arguments.get("code"), str):
                code.append(call.arguments["code"])
                continue
            if trajectory.environment:
                found[call.name, LinkKey("entity", f"{trajectory.environment}/{without_place_names(call.name)}")] += 1
            found.update((call.name, key) for key in _command_keys(call))
            names = parameters.get(call.name) or list(call.arguments)
            if len(names) >= MIN_SIGNATURE_PARAMETERS:
                found[call.name, LinkKey("signature", signature_key(call.name, names))] += 1
    found.update(("python", LinkKey("path", path)) for path in _python_paths(code, trajectory.task))
    return found


def entity_keys(entity: Mapping[str, Any]) -> Iterator[LinkKey]:
    """The keys that an API answers to. ``entity``: entity_key, signature_key, provider, service, name."""
    yield LinkKey("entity", entity["entity_key"])
    if entity["provider"] == "aws":
        yield LinkKey("command", f"aws {_fold(entity['service'])} {_fold(entity['name'])}")
    elif entity["entity_key"].startswith("python/"):
        yield LinkKey("path", entity["name"].partition("(")[0])
    if entity["signature_key"].count(",") >= MIN_SIGNATURE_PARAMETERS - 1:
        yield LinkKey("signature", entity["signature_key"])


def _command_keys(call: ToolCall) -> Iterator[LinkKey]:
    command = call.arguments.get("command")
    if isinstance(command, str) and "aws" in command:
        for service, operation in _AWS_COMMAND.findall(command[:100_000]):
            yield LinkKey("command", f"aws {_fold(_AWS_SERVICES.get(service, service))} {_fold(operation)}")


def _python_paths(code: list[str], task: str) -> Iterator[str]:
    """The paths that a session's code calls. A docstring's session may use the object that it documents, which its task
    names first, without importing it."""
    outer = Scope(())
    documented = task.partition(":")[0].strip()
    if re.fullmatch(r"\w+(?:\.\w+)+", documented):
        outer.bind(documented.rpartition(".")[2], Binding(0, path=documented))
    session = "\n".join(code)
    if not _is_python(session):  # then without the examples that Python cannot parse
        session = "\n".join(example for example in code if _is_python(example))
    for call in read_code(session, "session", outer=outer).calls(lambda _path: None):
        if not call.path.startswith("session."):
            yield call.path


def _is_python(code: str) -> bool:
    try:
        read_code(code, "session")
    except UNREADABLE:
        return False
    return True


def _parameter_names(tool: Mapping[str, Any]) -> list[str]:
    parameters = tool.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return [str(name) for name in properties] if isinstance(properties, Mapping) else []


def _fold(word: str) -> str:
    return "".join(character for character in word.lower() if character.isalnum())
