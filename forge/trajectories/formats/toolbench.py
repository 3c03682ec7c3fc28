"""ToolBench answer files: one search for one query, ``{win, tree | trys, answer_generation{query, function[],
train_messages[][], final_answer, finish_type, valid_data}}``, of the methods DFS (a tree) and CoT (tries).

The search asks for an action, calls the API, and goes back to an earlier state when it gives up or is too deep.
Episodes of a file, each complete, none repeating another:

- **the answer**: ``train_messages``. It holds one conversation for every action of the chosen path, each the beginning
  of the next, so the longest is the whole path. Without it (searches that found nothing valid have none) the path of
  the tree to ``Finish`` with ``give_answer``.
- **other branches that finish**, nearly all by ``give_up_and_restart``: failures. A branch shares its beginning with
  its neighbours; it is an episode when most of its nodes stand in none before it.
- where nothing finishes, the longest branch.

Other branches, which the search cut off for their depth, have no end and are left out.

The tree has no messages: its episodes open with those of ``train_messages``, else with the query. The prompt that shows
earlier tries to the model (``valid: false``) is in ``train_messages`` as it was said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from json import JSONDecodeError, JSONDecoder
from typing import Any

from forge.schema import Outcome, Step, Trajectory, is_deeper_than
from forge.stored_files import Problem
from forge.trajectories.formats.fields import (
    MAX_NESTING,
    Found,
    Record,
    UnusableRecordError,
    called,
    first_request,
    malformed,
    outcome_of,
    parsed_json,
    role_of,
    text,
    tools_of,
    trajectory,
)

Node = Mapping[str, Any]
Path = Sequence[Node]

_ERROR = '{"error": '
"""How the JSON text of an observation begins. Long ones are cut, so they are not JSON as a whole."""


def matches(record: Record) -> bool:
    return isinstance(record.get("answer_generation"), dict)


def read(record: Record) -> Iterator[Found]:
    answer = record.get("answer_generation")
    if not isinstance(answer, dict):
        raise malformed("answer_generation is no object")
    paths = _paths(record)
    messages = _longest(answer.get("train_messages"))
    query = text(answer.get("query"))
    tools = tools_of(answer.get("function"))
    won = outcome_of(record.get("win"))

    def episode(steps: Sequence[Step], outcome: Outcome) -> Trajectory:
        return trajectory(query or first_request(steps), steps, tools=tools, outcome=outcome)

    shown: set[int] = set()
    if messages:
        steps = _steps_of_messages(messages)
        yield episode(steps, "failure" if answer.get("finish_type") == "give_up" else won)
        shown |= _nodes_of(steps, paths)
    finished = [branch for branch in enumerate(paths, start=1) if _ending(branch[1]) is not None]
    if not messages and not finished:
        if not paths:
            raise UnusableRecordError("no_steps", "neither train_messages nor a search")
        finished = [max(enumerate(paths, start=1), key=lambda branch: len(branch[1]))]
    for number, path in sorted(finished, key=lambda branch: _ending(branch[1]) != "give_answer"):
        if 2 * sum(id(node) not in shown for node in path) <= len(path):
            continue
        shown.update(map(id, path))
        try:
            steps = [*_opening(messages, query), *_steps_of_path(path)]
        except UnusableRecordError as error:
            yield Problem(f"branch {number}", error.reason, str(error))
            continue
        yield episode(steps, "failure" if _ending(path) == "give_up_and_restart" else won)


def leaf_paths(root: object, inner: str) -> Iterator[list[Node]]:
    """Every path from the root of a tree to a leaf, in order; ``inner`` names the field with a node's children. Raises
    for nodes that are no objects and for trees of more than ``MAX_NESTING`` levels."""
    if not isinstance(root, dict):
        raise malformed("the root of the tree is no object")
    if is_deeper_than(root, MAX_NESTING):
        raise UnusableRecordError("too_deeply_nested", f"a tree of more than {MAX_NESTING} levels")
    path: list[Node] = []
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if not isinstance(node, dict):
            raise malformed("a node of the tree is no object")
        children = node.get(inner) or []
        if not isinstance(children, list):
            raise malformed(f"{inner} of a node is no list")
        path[depth:] = [node]
        if not children:
            yield path.copy()
        waiting.extend((child, depth + 1) for child in reversed(children))


def _paths(record: Record) -> list[Path]:
    """The branches of the tree without its root, which is a state and no action, or the tries."""
    tree, tries = record.get("tree"), record.get("trys")
    if isinstance(tree, dict):
        return [path[1:] for path in leaf_paths(tree.get("tree", tree), "children") if len(path) > 1]
    chains = [_objects(one.get("chain")) for one in tries if isinstance(one, dict)] if isinstance(tries, list) else []
    return [chain for chain in chains if chain]


def _longest(conversations: object) -> list[dict[str, Any]]:
    return max(map(_objects, conversations), key=len, default=[]) if isinstance(conversations, list) else []


def _objects(value: object) -> list[dict[str, Any]]:
    """A list of objects; empty when the value is none."""
    return value if isinstance(value, list) and all(isinstance(entry, dict) for entry in value) else []


def _opening(messages: Sequence[Node], query: str | None) -> list[Step]:
    """What is said before the first action, without the prompt for a different try."""
    before = takewhile(lambda message: message.get("role") != "assistant", messages)
    opening = _steps_of_messages([message for message in before if message.get("valid") is not False])
    return opening or ([Step("user", query)] if query else [])


def _steps_of_messages(messages: Sequence[Node]) -> list[Step]:
    steps: list[Step] = []
    for turn, message in enumerate(messages):
        role, said, asked = role_of(message.get("role"), turn), message.get("content"), message.get("function_call")
        if not isinstance(said, (str, type(None))) or not isinstance(asked, (dict, type(None))):
            raise malformed(f"turn {turn}: no message")
        if role == "tool":
            steps.append(observed(said or ""))
        elif asked:
            call = called(asked.get("name"), asked.get("arguments"), f"turn {turn}")
            steps.append(Step("assistant", thought=said or None, calls=(call,)))
        elif said:
            steps.append(Step(role, said))
    return steps


def _steps_of_path(path: Path) -> Iterator[Step]:
    """An action is two nodes, its name and its input. A thought before it belongs to it, unless the search went on from
    the thought (``expand_num``): then it was a message of its own."""
    thought = name = None
    for node in path:
        kind, said = node.get("node_type"), node.get("description")
        if not isinstance(said, str) or (kind == "Action Input") != (name is not None):
            raise malformed(f"a node of type {str(kind)[:50]!r} where none can be")
        if kind == "Action Input":
            yield Step("assistant", thought=thought, calls=(called(name, said, "branch"),))
            thought = name = None
            if "observation" in node:
                yield observed(text(node["observation"]) or "")
        elif kind == "Action" and said:
            name = said
        elif kind == "Thought":
            if thought:
                yield Step("assistant", thought)
            thought = said or None
            if thought and node.get("expand_num"):
                yield Step("assistant", thought)
                thought = None
        else:
            raise malformed(f"unknown node_type {str(kind)[:50]!r}")
    if name is not None:
        raise malformed("an action without its input")
    if thought:
        yield Step("assistant", thought)


def observed(content: str) -> Step:
    """An observation is the JSON text ``{"error": text, "response": text}``, possibly cut."""
    error = None
    if content.startswith(_ERROR + '"'):
        with suppress(JSONDecodeError):
            _, end = JSONDecoder().raw_decode(content, len(_ERROR))
            error = text(parsed_json(content[len(_ERROR) : end]))
    return Step("tool", content, error=error or None)


def _ending(path: Path) -> str | None:
    """``give_answer`` or ``give_up_and_restart`` where the path ends with Finish."""
    if len(path) < 2 or path[-2].get("description") != "Finish" or path[-1].get("node_type") != "Action Input":
        return None
    arguments = parsed_json(text(path[-1].get("description")))
    ending = arguments.get("return_type") if isinstance(arguments, dict) else None
    return ending if ending in ("give_answer", "give_up_and_restart") else None


def _nodes_of(steps: Sequence[Step], paths: Sequence[Path]) -> set[int]:
    """The nodes of the path that these steps are. Names are not compared: in messages a function that does not exist is
    called invalid_hallucination_function_name. Messages lack what Finish came to."""
    trace = _trace(steps)
    for path in paths:
        try:
            of_path = _trace(list(_steps_of_path(path)))
        except UnusableRecordError:
            continue
        if of_path[: len(trace)] == trace and len(of_path) <= len(trace) + 1:
            return set(map(id, path))
    return set()


def _trace(steps: Sequence[Step]) -> list[object]:
    trace: list[object] = []
    for step in steps:
        trace.extend(call.arguments for call in step.calls)
        if step.role == "tool":
            trace.append(step.content)
    return trace
