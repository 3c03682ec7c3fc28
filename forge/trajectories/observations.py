"""Which call an observation answers, and whether it tells of an error."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from forge.schema import Step, ToolCall

HEAD_CHARACTERS = 300
TAIL_CHARACTERS = 2_000
MAX_JSON_CHARACTERS = 200_000


@dataclass(frozen=True, slots=True)
class Answer:
    """An observation and the call that it answers: the steps that they are in, and the call's place in its step."""

    call: ToolCall
    call_step: int
    call_place: int
    observation: int


class DanglingObservationError(Exception):
    """An observation that answers no call made before it, or one that is answered already."""


def answers(steps: Sequence[Step]) -> Iterator[Answer]:
    """Every observation with its call: the one that it names, else the oldest that waits for an answer.

    A name counts only where the calls have names. The same name may be used again by a later call. Raises
    :class:`DanglingObservationError` at the first observation without a call.
    """
    calls: list[tuple[ToolCall, int, int]] = []
    answered: list[bool] = []
    oldest = 0
    waiting_by_name: defaultdict[str, deque[int]] = defaultdict(deque)
    for number, step in enumerate(steps):
        for place, call in enumerate(step.calls):
            if call.call_id is not None:
                waiting_by_name[call.call_id].append(len(calls))
            calls.append((call, number, place))
            answered.append(False)
        if step.role != "tool":
            continue
        if step.answers is None or not waiting_by_name:
            while oldest < len(calls) and answered[oldest]:
                oldest += 1
            if oldest == len(calls):
                raise DanglingObservationError(f"step {number} is an observation without a call")
            found = oldest
        else:
            waiting = waiting_by_name.get(step.answers, ())
            if not waiting:
                told = "was answered before" if step.answers in waiting_by_name else "nobody made before"
                raise DanglingObservationError(f"step {number} answers call {step.answers!r}, which {told}")
            found = waiting[0]
        name = calls[found][0].call_id
        if name is not None:
            waiting_by_name[name].popleft()
        answered[found] = True
        yield Answer(*calls[found], number)


def answered(steps: Sequence[Step]) -> list[Answer]:
    """The answers before the first observation without a call."""
    found: list[Answer] = []
    with suppress(DanglingObservationError):
        for answer in answers(steps):
            found.append(answer)  # noqa: PERF402  list(answers(steps)) would lose those before the error
    return found


def is_error(step: Step) -> bool:
    """Whether an observation says that the call failed: its own ``error``, else its text.

    Of the text counts how it begins, how it ends and, where it is a JSON object, its own fields; never what stands in
    the middle, where pages, files and logs speak of the errors of others. The rule, by example:

    - begins ``Error: …``, ``ValueError: …``, ``Invalid action …``, ``bash: foo: command not found``,
      ``cat: x: No such file or directory``, ``404 Client Error``, ``HTTP 500``, ``Nothing happens.``
    - ends with a Python traceback: ``Traceback (most recent call last):`` and, as last line, ``KeyError: 'x'``
    - is an object with a non-empty ``error``, ``errors`` or ``exception``, with ``success`` false, a ``status`` of
      error or a ``status_code`` of 400 to 599
    """
    if step.error:
        return True
    text = (step.content or "").strip()
    if not text:
        return False
    if text[0] == "{":
        return _is_error_object(text)
    return _BEGINS_AS_ERROR.match(text, 0, HEAD_CHARACTERS) is not None or _ends_with_traceback(text)


_BEGINS_AS_ERROR = re.compile(
    r"""
      (?:\[?(?:(?i:fatal|execution|runtime|tool|api|internal|server|syntax)[ ])?(?:ERROR|Error|error)\]?:[ ]*\S)
    | (?:[A-Za-z_][A-Za-z_.]{0,80}(?:Error|Exception):?[ ]*(?:\S|\Z))
    | (?:Exception:\s*\S)
    | (?i:invalid|unknown|unrecognized|unrecognised|illegal|ill-formed)[ ](?i:action|command|tool|function)\b
    | (?i:nothing[ ]happens)\.?\s*\Z
    | (?:Could[ ]not[ ]find[ ]\S|The[ ]last[ ]page[ ]Searched[ ]was[ ]not[ ]found)
    | (?:Your[ ]proposed[ ]edit[ ]has[ ]introduced[ ]new[ ]syntax[ ]error)
    | (?:\([^\n]{0,200}\)[ ]generated[ ]an[ ]exception:)
    | (?:(?:/[\w./-]{1,80}/)?(?:ba|da|z|k|c)?sh:[ ].{0,120}:[ ](?:command[ ])?not[ ]found)
    | (?:\w[\w./-]{0,60}:[ ](?i:command[ ]not[ ]found))
    | (?:\w[\w./-]{0,60}:[ ].{1,200}:[ ](?:No[ ]such[ ]file[ ]or[ ]directory|Permission[ ]denied)\s*\Z)
    | (?:HTTP(?:/\d(?:\.\d)?)?(?:[ ](?i:error|status|status[ ]code|code))?:?[ ][45]\d\d\b)
    | (?i:(?:request[ ]failed[ ]with[ ])?status[ ]code:?[ ][45]\d\d\b)
    | (?:[45]\d\d[ ](?:Client[ ]Error|Server[ ]Error|Bad[ ]Request|Unauthorized|Forbidden|Not[ ]Found
        |Method[ ]Not[ ]Allowed|Too[ ]Many[ ]Requests|Internal[ ]Server[ ]Error|Bad[ ]Gateway|Service[ ]Unavailable
        |Gateway[ ]Time-?out)\b)
    """,
    re.VERBOSE,
)
_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION_LINE = re.compile(r"[A-Za-z_][\w.]{0,120}(?:Error|Exception|Exit|Interrupt|Warning)(?::|\Z)")
_NO_ERRORS = ("", "none", "null", "no", "false", "n/a", "no error", "ok", "0", "success")
_ERROR_FIELDS = ("error", "errors", "exception", "Error", "error_message", "errorMessage")
_ERROR_STATUSES = frozenset({"error", "fail", "failed", "failure"})


def _ends_with_traceback(text: str) -> bool:
    tail = text[-TAIL_CHARACTERS:]
    place = text.rfind(_TRACEBACK)
    if place < 0:
        return False
    last_line = tail.rpartition("\n")[2]
    return _EXCEPTION_LINE.match(last_line) is not None and text[:place].rpartition("\n")[2].strip() == ""


def _is_error_object(text: str) -> bool:
    if len(text) > MAX_JSON_CHARACTERS:
        return False
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _REPR_OF_ERROR.match(text) is not None
    return isinstance(value, dict) and _tells_error(value)


_REPR_OF_ERROR = re.compile(r"""\{['"](?:error|exception)['"]:\s*(?P<quote>['"])(?!(?i:none|null)?(?P=quote))[^ ]""")
"""A Python dict instead of JSON, or JSON of which the rest is lost."""


def _tells_error(fields: dict[str, Any]) -> bool:
    if any(_is_given(fields[name]) for name in _ERROR_FIELDS if name in fields):
        return True
    if fields.get("success") is False or fields.get("ok") is False:
        return True
    status = fields.get("status")
    if isinstance(status, str) and status.lower() in _ERROR_STATUSES:
        return True
    codes = (fields.get(name) for name in ("status_code", "statusCode", "http_status"))
    return any(isinstance(code, int) and 400 <= code < 600 for code in codes)


def _is_given(error: Any) -> bool:
    return error.strip().lower() not in _NO_ERRORS if isinstance(error, str) else bool(error)
