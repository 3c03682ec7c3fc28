"""No evaluation set trains: refused by name, by its tools and by its tasks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import pytest

import forge.trajectories.files
from forge.config import Settings, SourceSettings
from forge.schema import Decision, Item, Step, ToolCall, Trajectory
from forge.trajectories.evaluation_sets import (
    denied_by_name,
    denied_episode,
    evaluation_sets,
    hashes_of,
    main,
    task_hash,
)

REQUIRED = ("api_bank", "tau_bench", "tooltalk", "nexusraven", "bfcl", "agentbench", "toolrl")


def episode(*calls: ToolCall, said: str = "hi", environment: str = "", tools: tuple[Any, ...] = ()) -> Trajectory:
    steps = (Step("user", said), *(Step("assistant", calls=(call,)) for call in calls))
    return Trajectory("t", tools, steps, "unknown", None, environment, "MIT", "", "s", "i", "1")


def test_the_sets_that_must_never_train_are_known() -> None:
    known = {found.name for found in evaluation_sets()}
    assert known >= set(REQUIRED)
    assert "tau2" in {alias for found in evaluation_sets() for alias in found.names}
    for found in evaluation_sets():
        if found.name in REQUIRED:
            assert found.tools or found.tasks, f"{found.name} can be found by name only"


@pytest.mark.parametrize(
    ("name", "artifact", "path", "item", "known"),
    [
        ("tau_bench", None, "x/*.json", "a.json", "tau_bench"),
        ("mine", None, "s3://data/tau2-bench/*.json", "s3://data/tau2-bench/a.json", "tau_bench"),
        ("mine", None, "x/**", "sets/API-Bank/level-1.jsonl", "api_bank"),
        ("mine", None, "x/**", "ToolTalk-v1/easy.json", "tooltalk"),
        ("mine", None, "x/**", "NexusRaven_API_evaluation/all.parquet", "nexusraven"),
        ("mine", None, "x/**", "BFCL_v4_multiple.json", "bfcl"),
        ("mine", None, "x/**", "AgentBench/os/dev.json", "agentbench"),
        ("mine", "toolrl", "x/**", "a.json", "toolrl"),
        ("mine", None, "x/**", "rlla_4k/train.parquet", "toolrl"),
        ("mine", None, "agentinstruct/*.json", "taut/bench.json", None),
        ("glaive", None, "x/**", "glaive_toolcall_en.json", None),
    ],
)
def test_by_name(name: str, artifact: str | None, path: str, item: str, known: str | None) -> None:
    source = SourceSettings(type="trajectory_files", artifact=artifact, options={"paths": [path]})
    why = denied_by_name(Item(name, item, "hash"), source)
    assert (why is None) == (known is None)
    assert known is None or str(why).endswith(f"names the evaluation set {known}")


def test_a_glob_that_names_a_set_says_nothing_of_the_files_of_another_one() -> None:
    source = SourceSettings(type="trajectory_files", options={"paths": ["/data/tau-bench/*.json", "/data/own/*.json"]})
    theirs, own = (Item("mine", "a.json", "h", {"path": f"/data/{name}/a.json"}) for name in ("tau-bench", "own"))
    assert denied_by_name(theirs, source) is not None
    assert denied_by_name(own, source) is None


def test_by_the_name_of_the_environment() -> None:
    assert denied_episode(episode(environment="tau-bench/retail")) is not None
    assert denied_episode(episode(environment="retail")) is None


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (("get_user_details", "update_reservation_flights"), "tau_bench"),
        (("toggle_airplane_mode", "check_sim_status"), "tau_bench"),
        (("GetUserToken", "QueryBalance"), "api_bank"),
        (("SearchInbox", "SearchMessages"), "tooltalk"),
        (("searchCVE", "searchCPE"), "nexusraven"),
    ],
)
def test_by_the_tools_that_are_called_or_offered(names: tuple[str, ...], known: str) -> None:
    called = episode(*(ToolCall(name, {}) for name in names))
    offered = episode(tools=tuple({"name": name} for name in names))
    for found in (called, offered):
        assert str(denied_episode(found)).startswith(f"tools of the evaluation set {known}: ")
    assert denied_episode(episode(ToolCall(names[0], {}))) is None, "one name alone is a coincidence"
    others = [ToolCall(f"other_{number}", {}) for number in range(3)]
    assert denied_episode(episode(*others, *(ToolCall(name, {}) for name in names))) is None, "less than half"


def test_by_one_call_with_a_sets_own_parameters() -> None:
    call = ToolCall("QueryHealthData", {"user_id": "1", "start_time": "a", "end_time": "b"})
    assert str(denied_episode(episode(call))).startswith("a call of the evaluation set api_bank: QueryHealthData(")
    assert denied_episode(episode(ToolCall("QueryHealthData", {"user_id": "1", "color": "b"}))) is None


def test_by_a_task_whatever_its_case_spacing_and_punctuation() -> None:
    asked = "Find the area of a triangle with a base of 10 units and height of 5 units."
    assert task_hash(asked) in next(found.tasks for found in evaluation_sets() if found.name == "bfcl")
    for said in (asked, asked.upper().replace(" ", "\n "), asked.rstrip(".")):
        assert denied_episode(episode(said=said)) == "a task of the evaluation set bfcl"
    assert denied_episode(episode(said=asked.replace("10", "11"))) is None


def test_an_agentbench_task_and_a_toolrl_dialogue_are_known() -> None:
    stock = (
        "Stock logs are shown in /home/agent/stock.log. The last two columns are stock index and count. "
        "Tell me how many times Alice sold a stock."
    )
    assert denied_episode(episode(said=stock)) == "a task of the evaluation set agentbench"
    asked = "Could you help me find information on the manager Alex Ferguson?"
    assert denied_episode(episode(said=asked)) == "a task of the evaluation set toolrl"


def read(folder: Path, settings: Settings) -> list[Trajectory | Decision]:
    source = SourceSettings(type="trajectory_files", license="MIT", options={"paths": [f"{folder}/**/*.jsonl"]})
    return [
        found
        for item in forge.trajectories.files.list_items("mine", source, settings)
        for found in forge.trajectories.files.read_item(item, source, settings)
    ]


def test_files_and_episodes_are_refused_with_a_decision(tmp_path: Path, settings: Settings) -> None:
    def row(*names: str) -> dict[str, Any]:
        calls = [{"function": {"name": name, "arguments": "{}"}} for name in names]
        return {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "tool_calls": calls}]}

    (tmp_path / "tau-bench").mkdir()
    (tmp_path / "tau-bench" / "a.jsonl").write_bytes(orjson.dumps(row("anything")))
    own, theirs = row("lookup", "buy"), row("get_user_details", "cancel_reservation")
    (tmp_path / "own.jsonl").write_bytes(orjson.dumps(own) + b"\n" + orjson.dumps(theirs))
    good, by_content, by_name = read(tmp_path, settings)
    assert isinstance(good, Trajectory)
    for refused, item in ((by_content, "own.jsonl#2"), (by_name, "tau-bench/a.jsonl")):
        assert isinstance(refused, Decision)
        assert (refused.reason, refused.item_id) == ("evaluation_set", item)


def test_the_command_prints_the_hashes_of_its_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.stdin",
        io.StringIO("short\nthis line has eight words and no more\nThis line has EIGHT words and no more!\n"),
    )
    assert main([]) == 0
    assert capsys.readouterr().out.split() == hashes_of(iter(["this line has eight words and no more"]))
