"""API-Bank, level 3: a text for each scene, ``Scene:``, ``First Utterance:``, ``Key Info:`` and ``API Calls:``, the
right calls, ``Name(parameter="value", …)`` a line, some with a remark after a colon. The calls were not executed.

The user says the first utterance and the key info; what stands before is the system prompt. A value without quotes is a
text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile

from forge.schema import Step, ToolCall
from forge.stored_files import Problem
from forge.trajectories.formats.fields import Found, UnusableRecordError, malformed, trajectory
from forge.trajectories.formats.python_literals import keyword_arguments

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
    call, _, remark = line.rpartition(")")
    name, _, arguments = call.partition("(")
    if not name.isidentifier():
        raise UnusableRecordError("malformed_arguments", f"no call: {line[:100]!r}")
    made = ToolCall(name, keyword_arguments(arguments, name, has_bare_words=True))
    return Step("assistant", thought=remark.lstrip(": ") or None, calls=(made,))
