"""API-Bank, level 3: a text for each scene, ``Scene:``, ``First Utterance:``, ``Key Info:`` and ``API Calls:``, the
right calls, ``Name(parameter="value", …)`` a line, some with a remark after a colon. The calls were not executed.

The user says the first utterance and the key info; what stands before is the system prompt. A value without quotes is a
text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

import orjson

from forge.schema import Step, ToolCall
from forge.stored_files import Problem
from forge.trajectories.formats.fields import Found, UnusableRecordError, malformed, trajectory

MAX_CHARACTERS = 100_000
_REQUEST = re.compile(r"First Utter[ae]nce:(.*)")
_CALLS = re.compile(r"(?:- )?(?:GT )?API Calls?:$")


def matches_text(head: str) -> bool:
    return head.startswith("Scene:") and any(_CALLS.match(line.rstrip()) for line in head.splitlines())


def read_text(lines: Iterator[str]) -> Iterator[Found]:
    kept: list[str] = []
    characters = 0
    for line in lines:
        characters += len(line)
        if characters > MAX_CHARACTERS:
            yield Problem("", "oversized", f"a scene of more than {MAX_CHARACTERS:,} characters")
            return
        kept.append(line.rstrip())
    try:
        yield from _scene(kept)
    except UnusableRecordError as error:
        yield Problem("", error.reason, str(error))


def _scene(lines: Iterable[str]) -> Iterator[Found]:
    rest = iter(lines)
    described = list(takewhile(lambda line: not _CALLS.match(line), rest))
    place, request = next(
        ((place, found) for place, found in enumerate(map(_REQUEST.match, described)) if found), (0, None)
    )
    if request is None:
        raise malformed("a scene without a first utterance")
    scene, info = "\n".join(described[:place]).strip(), "\n".join(described[place + 1 :]).strip()
    said = "\n\n".join(part for part in (request[1].strip(), info) if part)
    opening = [Step("system", scene), Step("user", said)] if scene else [Step("user", said)]
    calls = [_call_step(line.strip()) for line in rest if line.strip()]
    yield trajectory(request[1].strip(), [*opening, *calls])


def _call_step(line: str) -> Step:
    source, close, remark = line.rpartition(")")
    return Step("assistant", thought=remark.lstrip(": ") or None, calls=(_call(source + close),))


def _call(source: str) -> ToolCall:
    try:
        call: Any = ast.parse(source, mode="eval").body
        arguments = {keyword.arg: _value(keyword.value) for keyword in call.keywords}
        if call.args or None in arguments:
            raise ValueError("an argument without a name")
        return ToolCall(call.func.id, orjson.loads(orjson.dumps(arguments)))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError, AttributeError) as error:
        raise UnusableRecordError("malformed_arguments", f"no call: {source[:100]!r}: {error}") from None


def _value(node: ast.expr) -> object:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
