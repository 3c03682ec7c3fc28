"""Runs against a real HTTP server: what they make, what they spend, and what they do when the endpoint misbehaves."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from forge.config import ConfigurationError, SourceSettings, load_settings
from forge.schema import Trajectory
from forge.trajectories.checks import check
from forge.trajectories.files import list_items, read_item
from forge.trajectories.generator.options import GeneratorOptions
from forge.trajectories.generator.run import Report, generate
from forge.trajectories.generator.tasks import TaskSet, choose
from tests.forge.trajectories.generator.conftest import (
    SHOP,
    Answer,
    Endpoint,
    calling,
    completion,
    endless,
    error,
    hanging,
    reply,
)

WHOLE_SHOP = [TaskSet(0, SHOP)]
FAST: dict[str, Any] = {"backoff_seconds": 0.01, "concurrency": 1}


def run(
    endpoint: Endpoint, folder: Path, task_sets: list[TaskSet] = WHOLE_SHOP, key: str = "", **options: object
) -> Report:
    found = GeneratorOptions.model_validate({"base_url": endpoint.url, "model": "rules-1", **FAST, **options})
    return generate(task_sets, found, key, folder)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "trajectories.jsonl").read_bytes().splitlines()]


def read_back(folder: Path) -> list[Trajectory]:
    """As the nightly job reads the file."""
    source = SourceSettings.model_validate(
        {"type": "trajectory_files", "options": {"paths": [f"{folder}/*.jsonl"], "format": "table_rows"}}
    )
    settings = load_settings("demo", environment={})
    found = [each for item in list_items("made", source, settings) for each in read_item(item, source, settings)]
    assert all(isinstance(each, Trajectory) for each in found), found
    return [each for each in found if isinstance(each, Trajectory)]


def task_sets(count: int) -> list[TaskSet]:
    chosen = list(choose(SHOP, count, 5, 3))
    return [TaskSet(number, chosen[number % len(chosen)]) for number in range(count)]


def test_an_episode_from_the_task_to_the_answer(endpoint: Endpoint, tmp_path: Path) -> None:
    report = run(endpoint, tmp_path)
    assert (report.task_sets, report.trajectories, report.successes, report.dropped) == (1, 1, 1, {})
    [found] = read_back(tmp_path)
    assert (found.generator, found.environment, found.outcome) == ("rules-1", "mock/pets.example", "success")
    assert (found.reward, found.episode, found.source) == (None, "0-000000", "made")
    assert [tool["name"] for tool in found.tools] == [
        "post_pets", "get_pets_pet_id", "get_pets", "patch_pets_pet_id", "delete_pets_pet_id"
    ]  # fmt: skip
    assert [step.role for step in found.steps] == ["system", "user", *["assistant", "tool"] * 5, "assistant"]
    calls = [call for step in found.steps for call in step.calls]
    assert [call.name for call in calls] == [
        "post_pets", "get_pets", "get_pets_pet_id", "patch_pets_pet_id", "delete_pets_pet_id"
    ]  # fmt: skip
    made = json.loads(found.steps[3].content or "")
    assert made["name"] == calls[0].arguments["name"]
    listed = json.loads(found.steps[5].content or "")
    assert made in listed["pets"]
    assert listed["total"] == len(listed["pets"]) == 3
    assert [step.answers for step in found.steps if step.role == "tool"] == [call.call_id for call in calls]
    assert len({call.call_id for call in calls}) == 5, "the server numbers the calls of each answer from 0"
    assert (found.steps[-1].content, found.steps[-1].thought) == ("Done: 5 of 5.", "nothing is left")


def test_the_license_is_that_of_operations_and_model_together(endpoint: Endpoint, tmp_path: Path) -> None:
    run(endpoint, tmp_path / "a")
    assert rows(tmp_path / "a")[0]["license"] == "", "nobody said under what the model's output may be used"
    run(endpoint, tmp_path / "b", license="Apache-2.0")
    assert rows(tmp_path / "b")[0]["license"] == "Apache-2.0 AND MIT"


def test_wrong_arguments_are_answered_with_400_and_corrected(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.mistakes = True
    run(endpoint, tmp_path)
    [found] = read_back(tmp_path)
    errors = [step.error for step in found.steps if step.error]
    assert len(errors) == 4, "GET /pets requires nothing"
    assert errors[0] == "400 invalid_request: 'name' must be of type string, not object"
    assert found.outcome == "success"
    assert check(found) is None


def test_what_the_model_is_told_of_the_world_exists_there(endpoint: Endpoint, tmp_path: Path) -> None:
    """A set without an operation that creates still has objects to get."""
    report = run(endpoint, tmp_path, [TaskSet(0, SHOP[1:2])])
    assert report.successes == 1
    prompt = endpoint.requests[0]["messages"][0]["content"]
    assert "These objects exist:\npet: {" in prompt


def test_the_request_that_is_sent(endpoint: Endpoint, tmp_path: Path) -> None:
    run(endpoint, tmp_path, key="secret-key", temperature=0.5, request={"top_p": 0.9}, max_answer_tokens=77)
    planning, acting = endpoint.requests[:2]
    assert "tools" not in planning
    assert (acting["model"], acting["temperature"], acting["top_p"], acting["max_tokens"]) == ("rules-1", 0.5, 0.9, 77)
    assert acting["tools"][0]["type"] == "function"
    assert set(acting["tools"][0]["function"]) == {"name", "description", "parameters"}
    assert endpoint.headers[0]["Authorization"] == "Bearer secret-key"
    for file in tmp_path.iterdir():
        assert b"secret-key" not in file.read_bytes(), file


# --- an endpoint that misbehaves --------------------------------------------------------------------------------------


def test_retry_after_is_waited_for(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.faults = [error(429, Retry_After="1")]
    started = time.monotonic()
    assert run(endpoint, tmp_path).trajectories == 1
    assert time.monotonic() - started >= 1.0
    assert len(endpoint.requests) == 1 + 7


def test_an_endless_retry_after_is_not_waited_for(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.faults = [error(429, Retry_After="86400"), error(503, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")]
    assert run(endpoint, tmp_path, max_wait_seconds=0.05).trajectories == 1


@pytest.mark.parametrize("fault", [error(500), error(502), error(529), error(408), error(429, Retry_After="soon")])
def test_failures_that_pass_are_tried_again(endpoint: Endpoint, tmp_path: Path, fault: Answer) -> None:
    endpoint.faults = [fault, fault]
    report = run(endpoint, tmp_path)
    assert (report.trajectories, report.requests, len(endpoint.requests)) == (1, 9, 9)
    assert report.spent.tokens == 7 * 120, "failures are not charged"


def test_failures_that_do_not_pass_end_the_episode_then_the_run(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.faults = [error(500)] * 100
    report = run(endpoint, tmp_path, task_sets(5), max_tries=2, max_failures=3, key="secret-key")
    assert (report.trajectories, report.dropped, report.stopped) == (0, {"endpoint_http_500": 3}, "endpoint")
    assert len(endpoint.requests) == 6
    assert "not now, ***" in report.stopped_detail


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_what_fails_for_every_request_ends_the_run_at_once(endpoint: Endpoint, tmp_path: Path, status: int) -> None:
    endpoint.faults = [error(status, Location=f"{endpoint.url}/v1/chat/completions")] * 100
    report = run(endpoint, tmp_path, task_sets(5), key="secret-key")
    assert (report.stopped, len(endpoint.requests)) == ("endpoint", 1)
    assert "secret-key" not in (tmp_path / "report.json").read_text()


def test_a_request_that_is_refused_costs_its_episode_only(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.faults = [error(400)]
    report = run(endpoint, tmp_path, task_sets(3))
    assert (report.trajectories, report.dropped, report.stopped) == (2, {"endpoint_http_400": 1}, "")


def test_nobody_there(endpoint: Endpoint, tmp_path: Path) -> None:
    report = run(Endpoint(port=1), tmp_path, max_tries=2)
    assert report.dropped == {"endpoint_connection_error": 1}
    assert report.spent.tokens == 0


def test_a_timeout_is_tried_again(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.faults = [hanging]
    report = run(endpoint, tmp_path, timeout_seconds=0.5)
    assert (report.trajectories, report.requests) == (1, 8)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"choices": []}', b'{"choices": [{"message": 3}]}', b"\xff"]
)
def test_an_answer_that_is_no_completion_is_paid_and_asked_for_again(
    endpoint: Endpoint, tmp_path: Path, body: bytes
) -> None:
    endpoint.faults = [reply(body)]
    report = run(endpoint, tmp_path)
    assert (report.trajectories, report.requests) == (1, 8)
    assert not report.spent.is_stated
    assert report.spent.tokens > 7 * 120 + 1024, "charged as the most that it can have cost"


@pytest.mark.parametrize("huge", [endless, reply(b" " * 300_000)])
def test_a_huge_answer_is_not_read(endpoint: Endpoint, tmp_path: Path, huge: Answer) -> None:
    endpoint.faults = [huge]
    report = run(endpoint, tmp_path, task_sets(2), max_response_bytes=100_000)
    assert (report.trajectories, report.dropped) == (1, {"endpoint_too_large": 1})


@pytest.mark.parametrize(
    "plan",
    [
        "Let us begin!",
        '{"task": "", "plan": ["get_pets"]}',
        '{"task": "Do it.", "plan": []}',
        '{"task": "Do it.", "plan": ["rm"]}',
        '{"task": "Do it.", "plan": [["get_pets"]]}',
        '{"task": "' + "x" * 5000 + '", "plan": ["get_pets"]}',
        '{"task": {"a": 1}, "plan": "get_pets"}',
    ],
)
def test_a_plan_that_is_none_is_sampled_again_then_dropped(endpoint: Endpoint, tmp_path: Path, plan: str) -> None:
    bad = reply(completion({"content": plan}))
    endpoint.faults = [bad]
    assert run(endpoint, tmp_path / "once").trajectories == 1
    first, second = endpoint.requests[:2]
    assert first["seed"] != second["seed"]
    endpoint.faults = [bad] * 3
    assert run(endpoint, tmp_path / "thrice").dropped == {"malformed_plan": 1}


@pytest.mark.parametrize(
    "answer",
    [
        calling(("get_pets", "{not json")),
        calling(("get_pets", '"text"')),
        calling(("get_pets", '{"a":' * 100 + "1" + "}" * 100)),
        calling(("", "{}")),
        calling(*[("get_pets", "{}")] * 17),
        completion({"content": None}),
        completion({"content": ""}),
        completion({"content": "Well, I"}, "length"),
        completion({"tool_calls": {"name": "get_pets"}}),
        completion({"tool_calls": ["get_pets"]}),
        completion({"tool_calls": [{"function": {"name": 3}}]}),
    ],
)
def test_an_answer_that_cannot_be_used_is_sampled_again_then_dropped(
    endpoint: Endpoint, tmp_path: Path, answer: bytes
) -> None:
    plan = reply(completion({"content": '{"task": "List {\\"petId\\": 1}", "plan": ["get_pets"]}'}))
    shop = [TaskSet(0, SHOP[2:3])]
    endpoint.faults = [plan, reply(answer)]
    assert run(endpoint, tmp_path / "once", shop).trajectories == 1
    endpoint.faults = [plan, *[reply(answer)] * 3]
    assert run(endpoint, tmp_path / "thrice", shop).dropped == {"malformed_answer": 1}


def test_a_model_that_never_ends_is_ended(endpoint: Endpoint, tmp_path: Path) -> None:
    plan = reply(completion({"content": '{"task": "List them.", "plan": ["get_pets"]}'}))
    calls = [reply(calling(("get_pets", json.dumps({"limit": number})))) for number in range(1, 9)]
    endpoint.faults = [plan, *calls]
    run(endpoint, tmp_path, [TaskSet(0, SHOP[2:3])], max_turns=3)
    [found] = read_back(tmp_path)
    assert found.outcome == "unknown", "the planned call succeeded, but the model gave no answer"
    assert len([step for step in found.steps if step.calls]) == 3


def test_a_model_that_does_not_do_what_was_planned_has_no_success(endpoint: Endpoint, tmp_path: Path) -> None:
    plan = reply(completion({"content": '{"task": "List them.", "plan": ["get_pets", "get_pets"]}'}))
    endpoint.faults = [plan, reply(calling(("get_pets", "{}"))), reply(completion({"content": "Done."}))]
    run(endpoint, tmp_path, [TaskSet(0, SHOP[2:3])])
    assert [row["outcome"] for row in rows(tmp_path)] == ["unknown"]


def test_a_model_that_calls_nothing_gives_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    plan = reply(completion({"content": '{"task": "List them.", "plan": ["get_pets"]}'}))
    endpoint.faults = [plan, reply(completion({"content": "No."}))]
    assert run(endpoint, tmp_path, [TaskSet(0, SHOP[2:3])]).dropped == {"no_action": 1}


# --- cache and budget -------------------------------------------------------------------------------------------------


def test_a_second_run_sends_nothing_and_writes_the_same(endpoint: Endpoint, tmp_path: Path) -> None:
    first = run(endpoint, tmp_path, task_sets(6), concurrency=4)
    written = (tmp_path / "trajectories.jsonl").read_bytes()
    sent = len(endpoint.requests)
    second = run(endpoint, tmp_path, task_sets(6), concurrency=3)
    assert (tmp_path / "trajectories.jsonl").read_bytes() == written
    assert (second.requests, second.cached, len(endpoint.requests)) == (0, first.requests, sent)
    assert second.spent == second.spent_before == first.spent


def test_another_server_and_order_of_answers_give_the_same_bytes(endpoint: Endpoint, tmp_path: Path) -> None:
    run(endpoint, tmp_path / "one", task_sets(8), concurrency=1)
    run(endpoint, tmp_path / "many", task_sets(8), concurrency=8)
    assert (tmp_path / "one" / "trajectories.jsonl").read_bytes() == (
        tmp_path / "many" / "trajectories.jsonl"
    ).read_bytes()


def test_another_model_is_asked_again(endpoint: Endpoint, tmp_path: Path) -> None:
    run(endpoint, tmp_path)
    assert run(endpoint, tmp_path, model="rules-2").cached == 0


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_budget_is_never_exceeded_and_the_rest_comes_when_it_is_raised(
    endpoint: Endpoint, tmp_path: Path, concurrency: int
) -> None:
    options: dict[str, Any] = {
        "prices": {"input_per_million": 10.0, "output_per_million": 5000.0},  # 0.101 an answer
        "concurrency": concurrency,
        "max_answer_tokens": 20,
    }
    whole = run(endpoint, tmp_path / "whole", task_sets(8), **options)
    assert whole.spent.cost == pytest.approx(0.101 * whole.requests)
    sent = len(endpoint.requests)
    endpoint.answered.clear()
    limit = 0.6 * whole.spent.cost
    part = run(endpoint, tmp_path / "part", task_sets(8), budget={"max_cost": limit}, **options)
    assert part.stopped == "budget"
    assert limit - 0.25 < part.spent.cost <= limit
    assert part.trajectories < 8  # how many are whole by then depends, side by side, on whose answers came first
    assert part.trajectories > 0 or concurrency > 1
    assert len(endpoint.requests) - sent == part.requests
    rest = run(endpoint, tmp_path / "part", task_sets(8), budget={"max_cost": 10 * limit}, **options)
    assert (rest.stopped, rest.trajectories, rest.spent_before) == ("", 8, part.spent)
    assert rest.spent.cost == pytest.approx(0.101 * (part.requests + rest.requests))
    assert part.requests + rest.requests == len(endpoint.requests) - sent
    assert max(endpoint.answered.values()) == 1


def test_a_budget_of_tokens_counts_what_runs_before_spent(endpoint: Endpoint, tmp_path: Path) -> None:
    first = run(endpoint, tmp_path, task_sets(2))
    again = run(endpoint, tmp_path, task_sets(8), budget={"max_tokens": first.spent.tokens})
    assert (again.stopped, again.requests, again.trajectories) == ("budget", 0, 2)


def test_an_answer_without_usage_counts_as_the_most_it_can_be(endpoint: Endpoint, tmp_path: Path) -> None:
    plan = completion({"content": "no plan"}, usage={"prompt_tokens": "many"})
    endpoint.faults = [reply(plan)] * 3
    report = run(endpoint, tmp_path)
    assert not report.spent.is_stated
    assert report.spent.output_tokens == 3 * 1024
    sent = sum(len(orjson.dumps(request)) for request in endpoint.requests)
    assert abs(report.spent.input_tokens - sent) < 10


def test_a_run_that_fails_at_once_leaves_what_an_earlier_one_made(endpoint: Endpoint, tmp_path: Path) -> None:
    run(endpoint, tmp_path)
    written = (tmp_path / "trajectories.jsonl").read_bytes()
    endpoint.faults = [error(401)] * 9
    assert run(endpoint, tmp_path, model="rules-2").stopped == "endpoint"
    assert (tmp_path / "trajectories.jsonl").read_bytes() == written


def test_a_cache_that_is_none_is_said_in_one_line(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigurationError, match=r"cache\.sqlite: file is not a database"):
        run(endpoint, tmp_path)


def test_it_is_off(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the generator is off: name base_url and model"):
        generate(WHOLE_SHOP, GeneratorOptions(), "", tmp_path)
