"""The adapter against a server on loopback that follows the sources of AgentBench v0.2; the real one needs Docker."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.training.evaluation.interactive.agentbench_controller import Controller, server_of
from training.evaluation.interactive.agentbench import INVERSE_WEIGHTS, overall_score, task
from training.evaluation.task import NotEvaluated

EVERY = 10_000


@pytest.fixture
def controller() -> Controller:
    return Controller()


@pytest.fixture
def url(controller) -> Iterator[str]:
    server = server_of(controller)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api"
    server.shutdown()
    server.server_close()
    thread.join()


def expert(conversation, said):
    """Solves everything: looks first, then answers what it saw."""
    first, last = conversation.messages[0]["content"], conversation.messages[-1]["content"]
    if "my problem is" in first:
        if said == 0:
            return "Think: I look.\n\nAct: bash\n\n```bash\ncat answer\n```"
        return f"Think: I know.\n\nAct: answer({last.splitlines()[-1]})"
    if "INSERT" in first + last and said == 1:  # "Ok." is the first
        return "Action: Operation\n```sql\nINSERT INTO `t` VALUES (1)\n```"
    answers = {"counting": "['3']", "UPDATE": "hash", "other": "['x']"}
    answer = next((answer for kind, answer in answers.items() if kind in last), "done")
    return f"Action: Answer\nFinal Answer: {answer}"


def records_of(chosen, subject, ids=None):
    found = chosen.measure(subject, chosen.item_ids if ids is None else ids)
    return {record.item_id: record for record in found}


def test_an_expert_succeeds_in_both_environments(evaluation_settings, scripted, controller, url):
    chosen = task(evaluation_settings(agentbench_url=url), None, EVERY)
    assert set(chosen.item_ids) == {
        "OS/std-001-stock-00000", "OS/std-001-stock-00001", "OS/std-002-00000", "DB/0", "DB/1", "DB/2", "DB/3",
    }  # fmt: skip
    records = records_of(chosen, scripted(expert))
    assert {item_id: record.problem for item_id, record in records.items()} == dict.fromkeys(chosen.item_ids, "")
    assert all(record.measures["success"] == (1.0, 1.0) for record in records.values())
    assert records["OS/std-002-00000"].measures["steps"] == (2.0, 1.0)
    assert {record.category for record in records.values()} == {"OS", "DB SELECT", "DB INSERT", "DB UPDATE"}
    assert (records["DB/3"].category, records["DB/1"].category) == ("DB SELECT", "DB INSERT")
    assert controller.sessions == {}
    assert controller.most == 2  # places that the workers have


def test_wrong_garbage_and_endless_answers_fail_with_the_servers_word(evaluation_settings, scripted, controller, url):
    chosen = task(evaluation_settings(agentbench_url=url), None, EVERY)
    for answer, os_says, db_says in (
        ("", "agent invalid action", "agent validation failed"),
        ("Act: answer(wrong)\nAction: Answer\nFinal Answer: wrong", "completed", "completed"),
        ("Act: bash\n\n```bash\n:\n```\nAction: Operation\n```sql\nSELECT 1\n```", "task limit reached", None),
    ):
        records = records_of(chosen, scripted(lambda *_, answer=answer: answer), ["OS/std-002-00000", "DB/0"])
        assert all(record.measures["success"] == (0.0, 1.0) for record in records.values())
        assert records["OS/std-002-00000"].problem == os_says
        assert records["DB/0"].problem == (db_says or "agent validation failed")
    assert controller.sessions == {}


def test_records_are_equal_over_batch_sizes_and_after_a_worker_failed(evaluation_settings, scripted, controller, url):
    chosen = task(evaluation_settings(agentbench_url=url), None, EVERY)
    expected = records_of(chosen, scripted(expert))
    alone = task(evaluation_settings(agentbench_url=url, batch_items=1), None, EVERY)
    assert (alone.key, records_of(alone, scripted(expert))) == (chosen.key, expected)
    controller.fail_interact = 1
    assert records_of(chosen, scripted(expert)) == expected
    controller.fail_interact = 2
    (failed,) = records_of(chosen, scripted(expert), ["OS/std-002-00000"]).values()
    assert failed.problem.startswith("environment_lost: POST http://127.0.0.1")
    assert "Worker not responding" in failed.problem


def test_the_server_may_shorten_the_conversation(evaluation_settings, scripted, controller, url):
    controller.shortens = True
    seen = []

    def script(conversation, said):
        seen.append([message["role"] for message in conversation.messages])
        notice = "[NOTICE]" in conversation.messages[0]["content"]
        return "Act: answer(root)" if notice else "Act: bash\n\n```bash\nwhoami\n```"

    chosen = task(evaluation_settings(agentbench_url=url), None, EVERY)
    (record,) = records_of(chosen, scripted(script), ["OS/std-002-00000"]).values()
    assert record.measures["success"] == (1.0, 1.0)
    assert seen == [["user"], ["user", "assistant", "user"], ["user", "assistant", "user"]]


def test_sessions_are_cancelled_when_nobody_reads_on(evaluation_settings, scripted, controller, url):
    chosen = task(evaluation_settings(agentbench_url=url), None, EVERY)

    def script(conversation, said):
        if "my problem is" in conversation.messages[0]["content"]:
            return "Act: bash"
        return "Final Answer: nothing"

    records = chosen.measure(scripted(script), ["OS/std-002-00000", "DB/0"])
    assert next(records).item_id == "DB/0"
    assert len(controller.sessions) == 1
    records.close()
    assert (controller.sessions, controller.cancelled) == ({}, 1)


def test_without_servers_it_is_not_evaluated(evaluation_settings):
    with pytest.raises(NotEvaluated, match=r"servers of AgentBench v0\.2 .*agentbench_url"):
        task(evaluation_settings(), None, EVERY)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/api"
    with pytest.raises(NotEvaluated, match=r"does not answer: GET .*ConnectError"):
        task(evaluation_settings(agentbench_url=url), None, EVERY)


def test_the_overall_score_has_the_official_weights():
    """GPT-4's published row: 4.01 over all eight environments."""
    gpt_4 = {"OS": 42.4, "DB": 32.0, "KG": 58.8, "DCG": 74.5, "LTP": 16.6, "HH": 78.0, "WS": 61.1, "WB": 29.0}
    everything = sum(score / INVERSE_WEIGHTS[environment] for environment, score in gpt_4.items()) / len(gpt_4)
    assert everything == pytest.approx(4.01, abs=0.01)
    score = overall_score()
    rates = {"OS": 0.424, "DB SELECT": 0.32, "DB INSERT": 0.32, "DB UPDATE": 0.32}
    ours = sum(weight * rates[category] for category, weight in score.weights.items())
    assert ours == pytest.approx((42.4 / 10.8 + 32.0 / 13.0) / 2)
    assert score.leaves_out.startswith("KG, DCG, LTP, HH, WS, WB")
