"""Files of trajectories: containers, formats told apart, mappings, and every kind of bad input as a decision."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import forge.rows
import forge.trajectories.files
from forge.config import ConfigurationError, SourceSettings, load_settings, source_options
from forge.schema import Decision, Step, ToolCall, Trajectory, table_of
from forge.trajectories.files import TrajectoryFilesOptions
from forge.trajectories.formats import registry

WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
OPENAI = {
    "tools": [{"type": "function", "function": WEATHER}],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "assistant", "content": "Rain."},
    ],
}
LEGACY = {
    "functions": [WEATHER],
    "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "function_call": {"name": "weather", "arguments": {"city": "Rome"}}},
        {"role": "function", "name": "weather", "content": "sun"},
    ],
}
GLAIVE = {
    "tools": json.dumps([WEATHER]),
    "system": "You help.",
    "conversations": [
        {"from": "human", "value": "Weather in Bonn and Kiel?"},
        {
            "from": "function_call",
            "value": json.dumps([{"name": "weather", "arguments": {"city": city}} for city in ("Bonn", "Kiel")]),
        },
        {"from": "observation", "value": '[{"a": 1}]'},
        {"from": "gpt", "value": "Fine."},
    ],
}


SETTINGS = load_settings("demo", environment={})


def read(
    data: bytes, stated: str | None = "MIT", name: str = "a.jsonl", **options: object
) -> list[Trajectory | Decision]:
    with TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(data)
        source = SourceSettings(type="trajectory_files", license=stated, options={"paths": [f"{folder}/*"], **options})
        return [
            found
            for item in forge.trajectories.files.list_items("mine", source, SETTINGS)
            for found in forge.trajectories.files.read_item(item, source, SETTINGS)
        ]


def lines(*values: object) -> bytes:
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


def test_openai_messages() -> None:
    (found,) = read(lines(OPENAI))
    assert isinstance(found, Trajectory)
    assert found.task == "Weather in Oslo?"
    assert found.tools == (WEATHER,)
    assert found.steps[2] == Step("assistant", calls=(ToolCall("weather", {"city": "Oslo"}, "c1"),))
    assert found.steps[3] == Step("tool", "rain", answers="c1")
    assert found.outcome == "unknown"
    assert found.license == "MIT"


def test_legacy_function_calls_and_glaive_are_read_alike() -> None:
    legacy, glaive = read(lines(LEGACY, GLAIVE))
    assert isinstance(legacy, Trajectory)
    assert legacy.steps[1].calls == (ToolCall("weather", {"city": "Rome"}),)
    assert isinstance(glaive, Trajectory)
    assert [call.arguments["city"] for call in glaive.steps[2].calls] == ["Bonn", "Kiel"]
    assert glaive.steps[0] == Step("system", "You help.")


def test_own_rows_come_back_as_they_were() -> None:
    (first,) = read(lines(OPENAI))
    assert isinstance(first, Trajectory)
    (again,) = read(lines(table_of("trajectories", [first.row("2026-01-01")]).to_pylist()[0]))
    assert isinstance(again, Trajectory)
    assert again.trajectory_id == first.trajectory_id
    assert again.row("k") == first.row("k")


@pytest.mark.parametrize("reward", [1, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), 1e308])
def test_any_reward_of_a_row_can_be_stored(reward: float) -> None:
    row = {"task": "t", "tools": [], "steps": [{"role": "assistant", "calls": [{"name": "f", "arguments": "{}"}]}]}
    (found,) = read(lines({**row, "reward": reward}))
    assert isinstance(found, Trajectory)
    assert found.reward == float(reward)
    table_of("trajectories", [found.row("2026-01-01")])


def test_the_records_license_counts_where_the_source_states_none() -> None:
    (found,) = read(lines({**OPENAI, "license": "CC-BY-4.0"}), stated=None)
    assert isinstance(found, Trajectory)
    assert found.license == "CC-BY-4.0"
    (found,) = read(lines(OPENAI), stated=None)
    assert isinstance(found, Trajectory)
    assert found.license == ""


@pytest.mark.parametrize(
    ("record", "outcome", "reward"),
    [({"reward": 1.0}, "success", 1.0), ({"reward": 0}, "failure", 0.0), ({"success": False}, "failure", None),
     ({"reward": 0.4}, "unknown", 0.4), ({"outcome": "success", "reward": 0}, "success", 0.0)],
)  # fmt: skip
def test_outcomes(record: dict[str, object], outcome: str, reward: float | None) -> None:
    (found,) = read(lines({**OPENAI, **record}))
    assert isinstance(found, Trajectory)
    assert (found.outcome, found.reward) == (outcome, reward)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{not json", "invalid_json"),
        (b'"text"', "not_an_object"),
        (lines({"messages": []}), "no_steps"),
        (lines({"text": "prose"}), "unknown_format"),
        (lines({"messages": [{"role": "user", "content": "hi"}]}), "no_action"),
        (lines({"messages": [{"role": "pope", "content": "hi"}]}), "malformed_record"),
        (lines({"messages": ["hi"]}), "unknown_format"),
        (lines({"messages": [{"role": "user", "content": "hi"}], "outcome": [], "reward": "x"}), "no_action"),
        (lines({"task": "t", "tools": [], "steps": [], "outcome": {}}), "malformed_record"),
        (lines({"conversations": [{"from": "function_call", "value": "weather()"}]}), "malformed_arguments"),
        (lines({"messages": [{"role": "assistant", "tool_calls": [{"name": ""}]}]}), "malformed_record"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "too_deeply_nested"),
        (lines({"task": "t", "tools": [], "steps": [{"role": "assistant", "calls": [{"name": 3, "arguments": "{}"}]}]}),
         "malformed_record"),
        (lines({"messages": [{"role": "tool", "content": "?"}, *LEGACY["messages"]]}), "dangling_observation"),
    ],
)  # fmt: skip
def test_a_bad_record_is_a_decision_with_its_line_and_the_others_are_read(line: bytes, reason: str) -> None:
    before, bad, after = read(lines(OPENAI) + line.strip() + b"\n\n" + lines(LEGACY))
    assert isinstance(before, Trajectory)
    assert isinstance(after, Trajectory)
    assert isinstance(bad, Decision)
    assert (bad.reason, bad.item_id, bad.step) == (reason, "a.jsonl#2", "parse_trajectories")
    assert bad.detail.startswith("line 2: ")


@pytest.mark.parametrize("form", [{}, {"format": "react_prompts"}])
def test_a_reason_that_quotes_half_a_surrogate_pair_can_be_stored(form: dict[str, Any]) -> None:
    found = read(b'{"a\\ud800": NaN}\n{"a\\ud800": {"b": NaN}}\n', **form)
    assert len(found) == 2
    assert all(isinstance(one, Decision) for one in found)
    table_of("decisions", [one.row("2026-01-01") for one in found])


def test_arguments_that_contradict_the_tools_schema() -> None:
    record = json.loads(json.dumps(OPENAI).replace('\\"Oslo\\"', "7"))
    (found,) = read(lines(record))
    assert isinstance(found, Decision)
    assert found.reason == "call_schema_mismatch"


def test_rows_of_a_parquet_file(tmp_path: Path) -> None:
    first, second = read(lines(OPENAI, GLAIVE))
    assert isinstance(first, Trajectory)
    assert isinstance(second, Trajectory)
    pq.write_table(pa.Table.from_pylist([{**one.row("n"), "n": 1} for one in (first, second)]), tmp_path / "a.parquet")
    found = read((tmp_path / "a.parquet").read_bytes(), name="a.parquet")
    assert [one.row("k")["trajectory_id"] for one in found if isinstance(one, Trajectory)] == [
        first.trajectory_id,
        second.trajectory_id,
    ]


def test_one_json_array() -> None:
    found = read(b"\xef\xbb\xbf \n" + orjson.dumps([OPENAI, 5, GLAIVE]), name="a.json")
    assert [type(row).__name__ for row in found] == ["Trajectory", "Decision", "Trajectory"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_containers_whole_doubled_and_cut(pack: object) -> None:
    assert callable(pack)
    data = lines(*[OPENAI] * 3)
    packed = pack(data)
    assert all(isinstance(row, Trajectory) for row in read(packed))
    assert len(read(packed + packed)) == 6
    *rows, last = read(packed[:-5])
    assert isinstance(last, Decision)
    assert last.reason == "truncated_container"
    assert all(isinstance(row, Trajectory) for row in rows)


def test_a_cut_gzip_keeps_the_lines_before_the_cut() -> None:
    data = lines(*({**OPENAI, "task": f"task {number} {number * 7919 % 99991}"} for number in range(2000)))
    packed = gzip.compress(data)
    *rows, last = read(packed[: len(packed) // 2])
    assert len(rows) > 100
    assert all(isinstance(row, Trajectory) for row in rows)
    assert isinstance(last, Decision)
    assert last.reason == "truncated_container"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty_file"), (b" \n\n", "empty_file"), (b"\x1f\x8bnope", "corrupt_container"),
     (b"\x28\xb5\x2f\xfdnope" * 9, "corrupt_container"), (b"[1, 2", "invalid_json"),
     (b"\xff\xfe{\x00}\x00", "unknown_encoding")],
)  # fmt: skip
def test_files_that_are_nothing(data: bytes, reason: str) -> None:
    (found,) = read(data)
    assert isinstance(found, Decision)
    assert found.reason == reason


def test_bombs_and_endless_lines_are_bounded() -> None:
    for pack in (gzip.compress, zstandard.ZstdCompressor().compress):
        found = read(pack(b"x" * 50_000_000), max_unpacked_bytes=4_000_000, max_row_bytes=1_000_000)
        assert {row.reason for row in found if isinstance(row, Decision)} == {"oversized"}
    long, after = read(b'{"messages": "' + b"x" * 2_000_000 + b'"}\n' + lines(OPENAI), max_row_bytes=1_000_000)
    assert isinstance(long, Decision)
    assert long.reason == "oversized"
    assert isinstance(after, Trajectory)


def test_an_object_of_records_gives_each_with_its_key() -> None:
    first, odd, second = read(orjson.dumps({"x1": OPENAI, "odd": 3, "x2": GLAIVE}), name="a.json")
    assert isinstance(first, Trajectory)
    assert isinstance(second, Trajectory)
    assert (first.episode, second.episode) == ("x1", "x2")
    assert isinstance(odd, Decision)
    assert (odd.item_id, odd.reason) == ("a.json#odd", "unknown_format")


def test_a_json_file_beyond_the_limit_is_streamed_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [orjson.dumps([OPENAI] * 50), orjson.dumps({f"k{number}": OPENAI for number in range(50)})]
    expected = [read(data, name="a.json") for data in whole]
    monkeypatch.setattr(forge.rows, "WHOLE_BYTES", 1000)
    assert [read(data, name="a.json") for data in whole] == expected
    assert len(expected[0]) == len(expected[1]) == 50


def test_one_record_that_is_larger_than_the_streaming_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forge.rows, "WHOLE_BYTES", 100)
    monkeypatch.setattr(forge.rows, "DEFAULT_ROW_BYTES", 200)
    (found,) = read(orjson.dumps(OPENAI), name="a.json", max_row_bytes=10_000)
    assert isinstance(found, Trajectory)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_numbers_that_json_has_not_are_null(name: str) -> None:
    data = lines({**OPENAI, "reward": 0.5}, OPENAI).replace(b"0.5", b"NaN")
    if name == "a.json":
        data = b"[" + data.strip().replace(b"\n", b",") + b"]"
    first, second = read(data, name=name)
    assert isinstance(first, Trajectory)
    assert isinstance(second, Trajectory)
    assert first.reward is None


def test_a_long_line_of_a_compressed_file_costs_linear_time() -> None:
    data = gzip.compress(b'{"messages": "' + b"x" * 15_000_000 + b'"}\n' + lines(OPENAI), 1)
    started = time.process_time()
    _, good = read(data, name="a.jsonl.gz")
    assert isinstance(good, Trajectory)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("limit", [1000, 1 << 25])
def test_records_before_the_damage_of_an_array_are_read(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(forge.rows, "WHOLE_BYTES", limit)
    data = orjson.dumps([OPENAI] * 20)
    *good, bad = read(data[: len(data) * 3 // 4 - 20], name="a.json")
    assert all(isinstance(one, Trajectory) for one in good)
    assert len(good) == 14
    assert isinstance(bad, Decision)
    assert bad.reason == "truncated_json"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["]", ', b'{"\\\\\\"]": ['])
def test_a_streamed_file_of_a_million_levels_takes_no_time(opening: bytes) -> None:
    started = time.process_time()
    good, bad = read(b"[" + orjson.dumps(OPENAI) + b"," + b" " * 70_000 + opening * 1_000_000, name="a.json")
    assert isinstance(good, Trajectory)
    assert isinstance(bad, Decision)
    assert (bad.item_id, bad.reason) == ("a.json#2", "too_deeply_nested")
    assert time.process_time() - started < 2


def test_brackets_in_strings_are_no_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {**OPENAI, "task": '[{"\\' * 5_000, "note": "\\" * 65_537, "more": [[1], {"}": "]"}] * 2_000}
    whole = read(orjson.dumps([record] * 30), name="a.json")
    assert len(whole) == 30
    assert all(isinstance(one, Trajectory) for one in whole)
    monkeypatch.setattr(forge.rows, "WHOLE_BYTES", 1000)
    assert read(orjson.dumps([record] * 30), name="a.json") == whole


def test_half_a_surrogate_pair_beside_nan_is_damage() -> None:
    (found,) = read(json.dumps({**OPENAI, "a\ud800": float("nan")}).encode())
    assert isinstance(found, Decision)
    assert found.reason == "invalid_json"


def test_rows_of_a_parquet_file_before_text_that_is_not_utf_8(tmp_path: Path) -> None:
    binary = pa.array([orjson.dumps(OPENAI["messages"])] * 300 + [b"\xff"], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())
    names = ["a"] * len(binary)
    pq.write_table(pa.table({"messages": texts, "instance_id": names, "traj_id": names}), tmp_path / "a.parquet")
    *rows, bad = read((tmp_path / "a.parquet").read_bytes(), name="a.parquet")
    assert len(rows) == 256
    assert all(isinstance(one, Trajectory) for one in rows)
    assert isinstance(bad, Decision)
    assert (bad.item_id, bad.reason) == ("a.parquet#257", "unknown_encoding")


def test_what_the_source_states_counts_where_the_record_states_nothing() -> None:
    states = {"environment": "shop", "generator": "gpt-x", "outcome": "success"}
    first, second = read(lines(OPENAI, {**OPENAI, "reward": 0, "environment": "bank"}), **states)
    assert isinstance(first, Trajectory)
    assert isinstance(second, Trajectory)
    assert (first.environment, first.generator, first.outcome, first.episode) == ("shop", "gpt-x", "success", "1")
    assert (second.environment, second.generator, second.outcome) == ("bank", "gpt-x", "failure")


def test_a_forced_format_reads_by_that_format_only() -> None:
    (found,) = read(lines(OPENAI), format="sharegpt")
    assert isinstance(found, Decision)
    (found,) = read(lines(GLAIVE), format="sharegpt")
    assert isinstance(found, Trajectory)


@pytest.mark.parametrize("name", registry.RECORD_FORMATS)
def test_a_forced_format_reads_any_record_or_says_what_it_lacks(name: str) -> None:
    records: list[object] = [{}, {"a": None}, [], ["a"], None, 7, {"k1": {}, "k2": 3}]
    found = read(lines(*records), format=name)
    assert {row.item_id.split("#")[1] for row in found if isinstance(row, Decision)} == set("1234567")
    assert not {row.reason for row in found if isinstance(row, Decision)} & {"reader_failed", "unknown_format"}


def test_a_forced_format_reads_objects_and_arrays_of_records_too() -> None:
    first, odd, second = read(
        orjson.dumps({"x1": GLAIVE, "odd": OPENAI, "x2": GLAIVE}), name="a.json", format="sharegpt"
    )
    assert isinstance(first, Trajectory)
    assert isinstance(odd, Decision)
    assert isinstance(second, Trajectory)
    assert (first.episode, odd.item_id, second.episode) == ("x1", "a.json#odd", "x2")
    call = {"function": "look", "args": {}, "id": "c"}
    turns = [{"role": "user", "content": "Look."}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    array = ["agentdojo", "travel", "user_task_1", turns, True]
    automatic, forced = read(lines(array)), read(lines(array), format="agentdojo")
    assert automatic == forced
    assert isinstance(forced[0], Trajectory)


EVENTS = [
    {"id": 1, "source": "user", "action": "message", "args": {"content": "List the files."}},
    {"id": 2, "source": "agent", "action": "run", "args": {"command": "ls"}},
    {"id": 3, "source": "agent", "observation": "run", "content": "a.py", "cause": 2},
    {"id": 4, "source": "agent", "action": "message", "args": {"content": "One."}},
]


@pytest.mark.parametrize("forced", [{}, {"format": "openhands_events"}])
def test_a_file_of_events_is_one_episode_up_to_what_cannot_be_read(forced: dict[str, object]) -> None:
    (whole,) = read(lines(*EVENTS), **forced)
    assert isinstance(whole, Trajectory)
    problem, cut = read(lines(*EVENTS[:3]) + b"{nothing\n" + lines(EVENTS[3]), **forced)
    assert isinstance(problem, Decision)
    assert (problem.item_id, problem.reason) == ("a.jsonl#4", "invalid_json")
    assert problem.detail.endswith("the episode ends before it")
    assert isinstance(cut, Trajectory)
    assert cut.steps == whole.steps[:3]


def test_records_that_hold_their_events_are_read_one_by_one() -> None:
    first, bad, last = read(lines({"history": EVENTS}, {"history": 3}, {"history": EVENTS}), format="openhands_events")
    assert isinstance(first, Trajectory)
    assert isinstance(bad, Decision)
    assert (bad.item_id, bad.reason) == ("a.jsonl#2", "no_steps")
    assert isinstance(last, Trajectory)


@pytest.mark.parametrize(
    "data", [b"3\n", b"{nothing\n", b'[{"role": "User"}]\n', lines({"role": "User", "text": "Hi."})]
)
def test_a_dialogue_a_file_never_raises(data: bytes) -> None:
    found = read(data, format="api_bank")
    assert found
    assert all(isinstance(row, Decision) and row.reason != "reader_failed" for row in found)


def test_records_in_a_file_with_the_suffix_of_a_text() -> None:
    (found,) = read(lines(GLAIVE), name="a.log", format="sharegpt")
    assert isinstance(found, Trajectory)
    (found,) = read(lines(UNKNOWN_LAYOUT), name="a.txt", mapping=MAPPING)
    assert isinstance(found, Trajectory)


@pytest.mark.parametrize("options", [{}, {"format": "react_text"}])
def test_a_text_in_utf_16_has_a_reason(options: dict[str, object]) -> None:
    (found,) = read("Question: a?\nThought: b\nAction: c[d]\n".encode("utf-16"), name="a.log", **options)
    assert isinstance(found, Decision)
    assert (found.item_id, found.reason) == ("a.log", "unknown_encoding")


def test_a_text_without_an_episode_has_a_reason() -> None:
    (found,) = read(b"Nothing happened.\n", name="a.log", format="react_text")
    assert isinstance(found, Decision)
    assert (found.item_id, found.reason) == ("a.log", "no_steps")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "poem"}, "no format 'poem'; allowed: auto, table_rows"),
        ({"mapping": {"steps": "$[?"}}, "no JSONPath: '$[?'"),
        ({"mapping": {"steps": "$.x", "stepz": "y"}}, "options.mapping.stepz: unknown key"),
        ({"mapping": {"steps": "$.x"}, "format": "sharegpt"}, "format and mapping: name one of the two"),
        ({"container": "text", "format": "sharegpt"}, "container: a text has no records"),
        ({"container": "text", "mapping": {"steps": "$.x"}}, "container: a text has no records"),
        ({"container": "jsonl", "format": "react_text"}, "container: format 'react_text' reads texts"),
    ],
)
def test_bad_options_name_the_key_and_what_is_allowed(options: dict[str, object], message: str) -> None:
    source = SourceSettings(type="trajectory_files", options={"paths": ["x"], **options})
    with pytest.raises(ConfigurationError) as caught:
        source_options(TrajectoryFilesOptions, "mine", source)
    assert message in str(caught.value)


MAPPING = {
    "task": "$.instruction",
    "steps": "$.dialog[*]",
    "step": {"role": "$.speaker", "content": "$.text", "calls": "$.actions[*]", "observation": "$.result"},
    "call": {"name": "$.tool", "arguments": "$.args"},
    "roles": {"customer": "user", "robot": "assistant"},
    "outcome": "$.status",
    "outcomes": {"done": "success"},
    "environment": "shop",
}
UNKNOWN_LAYOUT = {
    "instruction": "Buy bread.",
    "status": "done",
    "dialog": [
        {"speaker": "customer", "text": "Bread, please."},
        {"speaker": "robot", "actions": [{"tool": "buy", "args": {"what": "bread"}}], "result": "bought"},
        {"speaker": "robot", "text": "Here it is."},
    ],
}


def test_a_mapping_reads_a_layout_that_no_format_knows() -> None:
    (found,) = read(lines(UNKNOWN_LAYOUT), mapping=MAPPING)
    assert isinstance(found, Trajectory)
    assert (found.task, found.outcome, found.environment) == ("Buy bread.", "success", "shop")
    assert found.steps == (
        Step("user", "Bread, please."),
        Step("assistant", calls=(ToolCall("buy", {"what": "bread"}),)),
        Step("tool", "bought"),
        Step("assistant", "Here it is."),
    )
    several = read(lines({"runs": [UNKNOWN_LAYOUT, UNKNOWN_LAYOUT]}), mapping={**MAPPING, "records": "$.runs[*]"})
    assert [one.steps for one in several if isinstance(one, Trajectory)] == [found.steps] * 2


def test_a_mapping_of_plain_actions() -> None:
    mapping = {
        "task": "$.goal",
        "steps": "$.log",
        "step": {"calls": "$.action", "observation": "$.seen"},
        "call": {"name": "act", "argument": "action"},
    }
    (found,) = read(lines({"goal": "g", "log": [{"action": "go north", "seen": "a room"}]}), mapping=mapping)
    assert isinstance(found, Trajectory)
    assert found.steps == (
        Step("assistant", calls=(ToolCall("act", {"action": "go north"}),)),
        Step("tool", "a room"),
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
calls = st.fixed_dictionaries({}, optional={"name": json_values, "arguments": json_values, "function": json_values})
turns = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "tool", "function"]) | json_values,
        "from": st.sampled_from(["human", "gpt", "function_call", "observation"]) | json_values,
        **dict.fromkeys(("content", "value", "thought", "error", "answers", "tool_call_id"), json_values),
        "tool_calls": st.lists(calls, max_size=2) | json_values,
        "function_call": calls | json_values,
        "calls": st.lists(calls, max_size=2) | json_values,
    },
)
shaped = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("messages", "conversations", "traj", "steps"), st.lists(turns, max_size=4) | json_values),
        **dict.fromkeys(("tools", "task", "reward", "outcome", "license", "system", "environment"), json_values),
    },
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(shaped | json_values, max_size=4))
def test_the_reader_never_raises_on_json_and_its_rows_can_be_stored(values: list[object]) -> None:
    for row in read(lines(*values), stated=None):
        if isinstance(row, Trajectory):
            table_of("trajectories", [row.row("2026-01-01")])
        else:
            table_of("decisions", [row.row("2026-01-01")])


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"[", b"{"]),
    st.sampled_from(["a.jsonl", "a.json", "a.parquet", "a.txt", "a.traj"]),
)
def test_the_reader_never_raises_on_bytes(data: bytes, start: bytes, name: str) -> None:
    assert all(isinstance(row, Decision) for row in read(start + data, name=name))


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.lists(json_values | st.just(UNKNOWN_LAYOUT), max_size=3), json_values)
def test_a_mapping_never_raises(values: list[object], odd: object) -> None:
    damaged = [{**UNKNOWN_LAYOUT, key: odd} for key in UNKNOWN_LAYOUT]
    for row in read(lines(*values, *damaged), mapping=MAPPING):
        assert not isinstance(row, Decision) or row.reason != "reader_failed"


def test_a_file_whose_name_is_not_utf_8_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_bytes(lines(OPENAI))
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.jsonl")).write_bytes(lines(OPENAI))
    except OSError:
        pytest.skip("this file system has no such names")
    source = SourceSettings(type="trajectory_files", license="MIT", options={"paths": [f"{tmp_path}/*.jsonl"]})
    found = [
        one
        for item in forge.trajectories.files.list_items("mine", source, SETTINGS)
        for one in forge.trajectories.files.read_item(item, source, SETTINGS)
    ]
    assert [(one.item_id, one.reason) for one in found if isinstance(one, Decision)] == [
        ("bad\\udcff.jsonl", "unreadable_file")
    ]
    assert sum(isinstance(one, Trajectory) for one in found) == 1
