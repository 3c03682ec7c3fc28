from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forge.schema import Step, ToolCall
from forge.trajectories.observations import DanglingObservationError, answered, answers, is_error


def calls(*ids: str | None) -> Step:
    return Step("assistant", calls=tuple(ToolCall("f", {}, name) for name in ids))


def seen(name: str | None = None) -> Step:
    return Step("tool", "x", answers=name)


def pairs(*steps: Step) -> list[tuple[int, int, int]]:
    return [(answer.call_step, answer.call_place, answer.observation) for answer in answers(steps)]


def test_by_order_and_by_name() -> None:
    assert pairs(calls(None), seen(), calls(None, None), seen(), seen()) == [(0, 0, 1), (2, 0, 3), (2, 1, 4)]
    assert pairs(calls("a", "b"), seen("b"), seen("a")) == [(0, 1, 1), (0, 0, 2)]
    assert pairs(calls("a", "b"), seen("b"), seen()) == [(0, 1, 1), (0, 0, 2)], "the one that still waits"
    assert pairs(calls("a"), seen("a"), calls("a"), seen("a")) == [(0, 0, 1), (2, 0, 3)], "a name used again"
    assert pairs(calls(None), seen("a")) == [(0, 0, 1)], "names count where calls have names"
    assert pairs(calls("a"), calls("b"), seen("b")) == [(1, 0, 2)], "a call may stay without an answer"


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((seen(), calls(None)), "step 0 is an observation without a call"),
        ((calls(None), seen(), seen()), "step 2 is an observation without a call"),
        ((calls("a"), seen("b")), "step 1 answers call 'b', which nobody made before"),
        ((calls("a"), seen("b"), calls("b")), "step 1 answers call 'b', which nobody made before"),
        ((calls("a"), seen("a"), seen("a")), "step 2 answers call 'a', which was answered before"),
        ((calls("a"), seen("a"), seen()), "step 2 is an observation without a call"),
        ((calls("a"), seen(), seen("a")), "step 2 answers call 'a', which was answered before"),
    ],
)
def test_observations_without_a_call(steps: tuple[Step, ...], told: str) -> None:
    with pytest.raises(DanglingObservationError) as raised:
        pairs(*steps)
    assert str(raised.value) == told
    assert len(answered(steps)) == sum(step.role == "tool" for step in steps[: int(told.split()[1])])


names = st.sampled_from([None, "a", "b"])


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(names, max_size=3).map(lambda ids: calls(*ids)) | names.map(seen), max_size=12))
def test_no_call_is_answered_twice(steps: list[Step]) -> None:
    found = answered(steps)
    assert len({(answer.call_step, answer.call_place) for answer in found}) == len(found)
    for answer in found:
        call = steps[answer.call_step].calls[answer.call_place]
        assert answer.call is call
        assert answer.call_step < answer.observation
        assert steps[answer.observation].answers in {None, call.call_id} or call.call_id is None


def test_many_calls_of_one_turn_take_linear_time() -> None:
    ids = [str(number) for number in range(50_000)]
    steps = [calls(*ids), *map(seen, reversed(ids[-1000:])), *[seen()] * 1000]
    started = time.process_time()
    assert len(answered(steps)) == 2000
    assert time.process_time() - started < 2


ERRORS = (
    "Error: no seats left",
    "ERROR: relation does not exist",
    "[ERROR]: timed out",
    "API error: quota exceeded",
    "ValueError: invalid literal for int()",
    "requests.exceptions.HTTPError: 404 Client Error: Not Found",
    'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    x()\nNameError: no x',
    "3 tests ran\nTraceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'\n",
    '{"error": "No such function name: f", "response": ""}',
    '{"error": {"code": 5}}',
    '{"success": false, "result": null}',
    '{"status": "error", "message": "no"}',
    '{"status_code": 404, "body": ""}',
    '{"exception": "DateError", "output": null}',
    '{"error": "Timeout error... the rest of this is los',
    "{'error': 'no such user'}",
    "Invalid action!",
    "Invalid Action. Valid Actions are Lookup[<topic>] Search[<topic>] and Finish[<answer>].",
    "Unknown tool name: reflect",
    "Nothing happens.",
    "Could not find [Veeram]. Similar: ['Veeram (2014 film)']",
    "bash: foo: command not found",
    "/bin/sh: 1: foo: not found",
    "zsh: command not found: foo",
    "pyton: command not found",
    "cat: /etc/x: No such file or directory",
    "404 Not Found",
    "404 Client Error: Not Found for url: https://api.example.org/x",
    "HTTP 503",
    "HTTP/1.1 500 Internal Server Error",
    "Request failed with status code 429",
)
NO_ERRORS = (
    "",
    "ok",
    "Error handling in Rust is done with Result.",
    "Errors found: 0",
    "No errors.",
    "There were 0 errors and 2 warnings",
    "The term error: a mistake",
    '{"error": "", "response": "[]"}',
    '{"error": null, "result": 3}',
    '{"errors": [], "data": {}}',
    '{"error": false}',
    '{"exception": "None"}',
    '{"status": "success", "errors": 0}',
    '{"success": true}',
    '{"status_code": 200}',
    '{"status": 404, "street": "Main"}',
    '{"message": "the error: none"}',
    '{"error": "',
    '["error"]',
    "{not json",
    "404 results",
    "HTTP 200 OK",
    "500 Days of Summer is a film",
    "In HTTP 404 means that a page does not exist",
    "Invalid arguments of logic are called fallacies",
    "Unknown Pleasures is an album",
    "log.txt\n12: ValueError: seen yesterday\n13: all good",
    "1: Traceback (most recent call last):\n2: KeyError: 'x'\n3: what the issue says",
    "issue.md\nTraceback (most recent call last):\n  File \"a.py\"\nKeyError: 'x'\n\nPlease fix this.",
    "The command not found page explains it",
    "find: x\ncat: y: No such file or directory\nz",
    "nothing happens to him in the second act",
)


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text: str) -> None:
    assert is_error(Step("tool", text))
    assert is_error(Step("tool", f"\n {text} \n")), "surrounding white space says nothing"


@pytest.mark.parametrize("text", NO_ERRORS)
def test_what_only_speaks_of_errors(text: str) -> None:
    assert not is_error(Step("tool", text))


def test_what_the_environment_says_counts_first() -> None:
    assert is_error(Step("tool", "3 rows", error="timeout"))
    assert not is_error(Step("tool", "3 rows", error=""))
    assert not is_error(Step("tool"))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1_000_000,
        "x" * 1_000_000 + ": No such",
        "a.b" * 500_000,
        "sh: " + "a: " * 300_000,
        "Traceback (most recent call last):" * 50_000,
        '{"error": ' * 100_000,
        "{'error': '" + "x" * 1_000_000,
        "error" * 200_000,
    ],
)
def test_long_texts_take_linear_time(text: str) -> None:
    started = time.process_time()
    is_error(Step("tool", text))
    assert time.process_time() - started < 0.5
