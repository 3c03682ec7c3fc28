from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from forge.schema import Step, ToolCall, Trajectory
from forge.trajectories.formats import alpaca_calls, registry
from tests.forge.trajectories.formats.damage import damaged, episodes, found_in, reasons

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "samples"
HAMMER: dict[str, Any] = {
    "instruction": "[BEGIN OF TASK INSTRUCTION]\nYou call tools.\n[END OF TASK INSTRUCTION]\n\n"
    '[BEGIN OF AVAILABLE TOOLS]\n[{"name": "tide", "description": "Tides.", "parameters": {"port": {"type": "str"}}}]'
    "\n[END OF AVAILABLE TOOLS]\n\n"
    "[BEGIN OF FORMAT INSTRUCTION]\nOnly JSON.\n[END OF FORMAT INSTRUCTION]\n\n"
    "[BEGIN OF QUERY]\nTides in Oslo and Bergen?\n[END OF QUERY]\n\n",
    "input": "",
    "output": '```\n[{"name": "tide", "arguments": {"port": "Oslo"}}, '
    '{"name": "tide", "arguments": {"port": "Bergen"}}]\n```',
}
TOOLRL: dict[str, Any] = {
    "instruction": "You help.\n\n**Available Tools**\nUse the following tools:\n1. Name: Tide Table\n"
    'Description: Tides.\nParameters: {"port": {"description": "Where.", "type": "str, optional", "default": ""}}\n'
    "2. Name: Moon \nDescription: The moon,\nover two lines.\nParameters: {}\n\n**Steps for Each Turn**\n1. Think.",
    "input": "**Dialogue Records History**\n<user> Tides <b>now</b>? </user>\n\n<think> A tool. </think>\n<tool_call>\n"
    '{"name": "Tide Table", "parameters": {"port": "Oslo"}}\n{"name": "Moon ", "parameters": {}}\n</tool_call>\n'
    "<obs> [high, full] </obs>\n\n<think> Say it. </think>\n<response> High. </response>\n\n"
    "<user> And Bergen? </user>\n",
    "output": "<think> I may use <tool_call> again. </think>\n<tool_call>\n"
    '{"name": "Tide Table", "parameters": {"port": "Bergen"}}\n</tool_call>\n<response> One moment. </response>',
}
RL: dict[str, Any] = {
    "data_source": "rlla",
    "prompt": [
        {"role": "system", "content": TOOLRL["instruction"]},
        {"role": "user", "content": "**Dialogue Records History**\n<user> Hi </user>"},
    ],
    "reward_model": {"style": "rule", "ground_truth": "<think> Greet. </think>\n<response> Hello </response>"},
    "extra_info": {"index": 5, "split": "test"},
}


def test_calls_in_a_fence() -> None:
    assert registry.format_of_record(HAMMER) == "alpaca_calls"
    (found,) = episodes(alpaca_calls.read, HAMMER)
    assert found.task == "Tides in Oslo and Bergen?"
    assert found.steps == (
        Step(
            "system",
            "[BEGIN OF TASK INSTRUCTION]\nYou call tools.\n[END OF TASK INSTRUCTION]\n\n"
            "[BEGIN OF FORMAT INSTRUCTION]\nOnly JSON.\n[END OF FORMAT INSTRUCTION]",
        ),
        Step("user", "Tides in Oslo and Bergen?"),
        Step("assistant", calls=(ToolCall("tide", {"port": "Oslo"}), ToolCall("tide", {"port": "Bergen"})), loss=True),
    )
    assert found.tools == (
        {
            "name": "tide",
            "description": "Tides.",
            "parameters": {"type": "object", "properties": {"port": {"type": "string"}}},
        },
    )


def test_an_empty_list_of_calls_is_what_the_model_says() -> None:
    (found,) = episodes(alpaca_calls.read, {**HAMMER, "output": "```\n[]\n```"})
    assert found.steps[-1] == Step("assistant", "```\n[]\n```", loss=True)


def test_a_dialogue_between_tags() -> None:
    (found,) = episodes(alpaca_calls.read, TOOLRL)
    assert found.steps == (
        Step(
            "system", "You help.\n\n**Available Tools**\nUse the following tools:\n\n**Steps for Each Turn**\n1. Think."
        ),
        Step("user", "Tides <b>now</b>?"),
        Step(
            "assistant", None, "A tool.", (ToolCall("Tide Table", {"port": "Oslo"}), ToolCall("Moon ", {})), loss=False
        ),
        Step("tool", "[high, full]"),
        Step("assistant", "High.", "Say it.", loss=False),
        Step("user", "And Bergen?"),
        Step(
            "assistant",
            "One moment.",
            "I may use <tool_call> again.",
            (ToolCall("Tide Table", {"port": "Bergen"}),),
            loss=True,
        ),
    )
    assert [(tool["name"], tool["description"]) for tool in found.tools] == [
        ("Tide Table", "Tides."),
        ("Moon ", "The moon,\nover two lines."),
    ]
    assert found.task == "Tides <b>now</b>?"


def test_the_ground_truth_of_reinforcement_learning() -> None:
    assert registry.format_of_record(RL) == "alpaca_calls"
    (found,) = episodes(alpaca_calls.read, RL)
    assert (found.generator, found.episode, found.task) == ("ground_truth", "5", "Hi")
    assert found.steps[1:] == (Step("user", "Hi"), Step("assistant", "Hello", "Greet."))
    assert len(found.tools) == 2


def test_plain_alpaca_with_a_history() -> None:
    record = {
        "system": "You help.",
        "history": [["Hi", "Hello"], ["broken"]],
        "instruction": "What is the tide",
        "input": "in Oslo?",
        "output": '<tool_call>{"name": "tide", "arguments": {}}</tool_call>',
    }
    (found,) = episodes(alpaca_calls.read, record)
    assert found.steps == (
        Step("system", "You help."),
        Step("user", "Hi"),
        Step("assistant", "Hello", loss=False),
        Step("user", "What is the tide\nin Oslo?"),
        Step("assistant", calls=(ToolCall("tide", {}),), loss=True),
    )


def test_alpaca_without_tools_is_no_trajectory() -> None:
    assert registry.format_of_record({"instruction": "Name a tide.", "input": "", "output": "Spring tide."}) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "malformed_record"),
        ({**HAMMER, "output": None}, "malformed_record"),
        ({**TOOLRL, "output": "<tool_call>\nnot JSON\n</tool_call>"}, "malformed_arguments"),
        ({**TOOLRL, "output": '<tool_call>{"parameters": {}}</tool_call>'}, "malformed_record"),
        ({**TOOLRL, "input": "<user> Hi"}, "malformed_record"),
        ({**TOOLRL, "input": "<user> Hi </user> and more"}, "malformed_record"),
    ],
)
def test_why_a_record_is_unusable(record: dict[str, Any], reason: str) -> None:
    assert reasons(alpaca_calls.read, record) == [reason]


def test_time_is_linear_in_the_text() -> None:
    started = time.process_time()
    for piece in (
        "1. Name: a\nDescription: b\n",
        "<user>",
        "<user></user>",
        "<tool_call>",
        "\n",
        "[BEGIN OF AVAILABLE TOOLS]",
    ):
        text = piece * (400_000 // len(piece))
        found_in(alpaca_calls.read, {"instruction": text, "input": text, "output": text})
    assert time.process_time() - started < 5


@settings(max_examples=150, deadline=None)
@given(record=damaged(HAMMER) | damaged(TOOLRL) | damaged(RL))
def test_damage_is_a_problem_and_no_exception(record: Any) -> None:
    assert isinstance(alpaca_calls.matches(record), bool)
    assert found_in(alpaca_calls.read, record)


def of_samples(*parts: str) -> list[dict[str, Any]]:
    path = SAMPLES.joinpath(*parts)
    return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else json.loads(path.read_text())


def called(outputs: list[str]) -> int:
    """Calls counted without the parser: the lines that begin as one behind the thought, and those of Hammer's lists."""
    lines = [line for output in outputs for line in output.rpartition("</think>")[2].splitlines()]
    lists = sum(line.count('}}, {"name":') for line in lines if line.startswith('[{"name":'))
    return lists + sum(line.startswith(('{"name":', '[{"name":')) for line in lines)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this checkout")
@pytest.mark.parametrize(
    ("parts", "records"),
    [
        (("hammer", "data", "train", "masking_sft_data_example.json"), 10),
        (("toolrl", "dataset", "rlla_4k_raw", "rlla_sft.json"), 400),
        (("toolrl", "dataset", "rlla_4k", "test.parquet"), 80),
    ],
)
def test_real_records_are_read_whole(parts: tuple[str, ...], records: int) -> None:
    raw = of_samples(*parts)
    found: list[Trajectory] = [episode for record in raw for episode in episodes(alpaca_calls.read, record)]
    assert len(found) == len(raw) == records
    outputs = [record["output"] if "output" in record else record["reward_model"]["ground_truth"] for record in raw]
    inputs = [record["input"] if "input" in record else record["prompt"][1]["content"] for record in raw]
    prompts = [record["instruction"] if "instruction" in record else record["prompt"][0]["content"] for record in raw]
    assert sum(len(episode.steps[-1].calls) for episode in found) == called(outputs)
    steps = [step for episode in found for step in episode.steps]
    observed, asked = sum(text.count("<obs>") for text in inputs), sum(text.count("<user>") for text in inputs)
    assert sum(step.role == "tool" for step in steps) == observed
    assert sum(step.role == "user" for step in steps) == (asked or records)
    listed = sum(text.count("\nParameters: ") for text in prompts)
    named = sum(text.partition("[END OF AVAILABLE TOOLS]")[0].count('{"name": ') for text in prompts)
    assert sum(len(episode.tools) for episode in found) == (listed or named)
