"""BFCL multi-turn with answerers whose scores are known: gold calls, silence, constants, attacks."""

from __future__ import annotations

import ast
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import psutil
import pytest

from forge.artifacts import artifact_path
from forge.config import load_settings
from training.chat import render_call, render_calls
from training.evaluation.bfcl.multi_turn import (
    BOUNDS,
    CATEGORIES,
    MAX_STEPS,
    MORE_FUNCTIONS,
    Dialogue,
    MultiTurnItem,
    multi_turn_items,
    records,
    simulators,
    task,
)
from training.evaluation.isolation import Isolated
from training.evaluation.subject import Conversation


@pytest.fixture(scope="module")
def settings():
    return load_settings("demo")


@pytest.fixture(scope="module")
def artifact(settings) -> Path:
    folder = settings.home_path / "artifacts" / "bfcl"
    if not (folder / "bfcl_eval").is_dir():
        pytest.skip("python -m forge.artifacts fetches bfcl-eval")
    return artifact_path(settings, "bfcl")


@pytest.fixture(scope="module")
def items(artifact) -> list[MultiTurnItem]:
    return multi_turn_items(artifact)


@pytest.fixture(scope="module")
def program(artifact) -> Iterator[Isolated]:
    with simulators(artifact) as program:
        yield program


class Answers:
    """A subject: what a function writes for each conversation."""

    prompt_hash = "answers"
    device = "cpu"

    def __init__(self, write: Callable[[Conversation], str]) -> None:
        self.write = write
        self.asked: list[Conversation] = []

    def answers(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> Iterator[tuple[int, str]]:
        for place, conversation in reversed(list(enumerate(conversations))):
            self.asked.append(conversation)
            yield place, self.write(conversation)


def said_by_user(conversation: Conversation) -> tuple[str, ...]:
    return tuple(message["content"] for message in conversation.messages if message["role"] == "user")


def tool_names(tools) -> frozenset[str]:
    return frozenset(tool["name"] for tool in tools)


def gold_answers(items: Sequence[MultiTurnItem]) -> Answers:
    """Writes the gold calls of a turn as one list, and then that it is done. Items are of one category: each is known
    by what the user has said and by its tools."""
    gold: dict[tuple, str] = {}
    for item in items:
        parameters = {tool["name"]: list(tool["parameters"]["properties"]) for tool in item.tools(len(item.turns))}
        said: list[str] = []
        for turn, calls in enumerate(item.ground_truth):
            said += [message["content"] for message in item.messages(turn)]
            written = render_calls([keyword_call(call, parameters) for call in calls]) if calls else "Nothing to do."
            assert gold.setdefault((tuple(said), tool_names(item.tools(turn))), written) == written

    def write(conversation: Conversation) -> str:
        if conversation.messages[-1]["role"] == "tool":
            return "Done."
        return gold[said_by_user(conversation), tool_names(conversation.tools)]

    return Answers(write)


def keyword_call(call: str, parameters: dict[str, list[str]]) -> tuple[str, dict]:
    node = ast.parse(call.strip(), mode="eval").body
    names = parameters[node.func.id]
    arguments = dict(zip(names, map(ast.literal_eval, node.args), strict=False))
    return node.func.id, arguments | {word.arg: ast.literal_eval(word.value) for word in node.keywords}


def few(items: Sequence[MultiTurnItem], category: str, count: int) -> list[MultiTurnItem]:
    return [item for item in items if item.category == category][:count]


def test_items_are_those_of_version_4(items):
    assert Counter(item.category for item in items) == dict.fromkeys(CATEGORIES, 200)
    assert len({item.item_id for item in items}) == 800
    assert all(len(item.turns) == len(item.ground_truth) for item in items)
    assert sum(len(item.turns) for item in items) / 800 == pytest.approx(4.17, abs=0.01)


def test_functions_come_when_they_are_due(items):
    item = next(item for item in items if item.item_id == "multi_turn_miss_func_0")
    assert [("sort" in tool_names(item.tools(turn))) for turn in range(5)] == [False, False, False, True, True]
    assert item.messages(3) == [{"role": "user", "content": MORE_FUNCTIONS}]


def wrong_of_gold(items: Sequence[MultiTurnItem], artifact: Path) -> dict[str, str]:
    found = list(records(gold_answers(items), items, artifact, max_new_tokens=1))
    assert sorted(record.item_id for record in found) == sorted(item.item_id for item in items)
    assert all(record.measures["accuracy"] == (float(not record.problem), 1.0) for record in found)
    assert all(record.measures["decodable"] == (1.0, 1.0) for record in found)
    return {record.item_id: record.problem for record in found if record.problem}


@pytest.mark.parametrize("category", CATEGORIES)
def test_gold_calls_pass(items, artifact, category):
    assert wrong_of_gold(few(items, category, 8), artifact) == {}


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
def test_all_gold_calls_pass(items, artifact, category):
    """Slow: 3,340 turns, each executed in a process of its own."""
    assert wrong_of_gold(few(items, category, 200), artifact) == {}


def changed(turns: list[list[tuple[str, dict]]], number: int) -> list[list[tuple[str, dict]]]:
    """Gold calls of all turns, some of them made wrong in one of six ways (0: left as they are)."""
    turns = [list(turn) for turn in turns]
    place = max(range(len(turns)), key=lambda turn: (len(turns[turn]), turn))
    name, arguments = turns[place][-1]
    changes = [
        turns[place],
        turns[place][:-1],
        [*turns[place], turns[place][-1]],
        [*turns[place][:-1], (name + "_more", arguments)],
        [*turns[place][:-1], (name, dict(list(arguments.items())[1:]))],
        [*turns[place][:-1], (name, {key: [value] for key, value in arguments.items()})],
        [(name, arguments | {"more": 1}), *turns[place]],
    ]
    return [*turns[:place], changes[number], *turns[place + 1 :]]


def compare_with_the_executor_that_evaluates(
    items: Sequence[MultiTurnItem], artifact: Path, program: Isolated
) -> Counter[str]:
    """Equal verdicts and results, item by item, each with another change; how often which verdict was given."""
    problems: Counter[str] = Counter()
    path = [artifact, Path(__file__).parent]
    with Isolated("official_executor_program:answer", BOUNDS, fresh=True, python_path=path) as official:
        for number, item in enumerate(items):
            parameters = {tool["name"]: list(tool["parameters"]["properties"]) for tool in item.tools(len(item.turns))}
            gold = [[keyword_call(call, parameters) for call in turn] for turn in item.ground_truth]
            turns = changed(gold, number % 7)
            request = {"entry": item.entry, "ground_truth": item.ground_truth}
            as_text = [[[render_call(*call) for call in turn]] if turn else [] for turn in turns]
            theirs = official.ask({**request, "turns": as_text})
            ours = program.ask({**request, "turns": [[render_calls(turn)] if turn else [] for turn in turns]})
            results = program.ask({"entry": item.entry, "steps": [render_calls(list(chain(*turns)))]})
            assert (ours.get("error_type", ""), results) == (theirs["problem"], theirs["results"]), item.item_id
            problems[theirs["problem"]] += 1
    return problems


def test_verdicts_and_results_are_those_of_the_executor_that_evaluates(items, artifact, program):
    assert len(compare_with_the_executor_that_evaluates(items[::37], artifact, program)) > 1


@pytest.mark.slow
def test_all_verdicts_and_results_are_those_of_the_executor_that_evaluates(items, artifact, program):
    """Slow: 2,400 processes."""
    problems = compare_with_the_executor_that_evaluates(items, artifact, program)
    assert problems.total() == 800
    assert set(problems) == {
        "", "multi_turn:empty_turn_model_response", "multi_turn:execution_response_mismatch",
        "multi_turn:instance_state_mismatch",
    }  # fmt: skip


def test_silence_is_wrong_everywhere(items, artifact):
    chosen = [item for category in CATEGORIES for item in few(items, category, 5)]
    found = list(records(Answers(lambda _conversation: "I would rather not."), chosen, artifact, max_new_tokens=1))
    assert {record.problem for record in found} == {"multi_turn:empty_turn_model_response"}
    assert {record.measures["decodable"] for record in found} == {(0.0, 1.0)}
    assert {record.item_id: record.detail["turns"] for record in found} == {
        item.item_id: len(item.turns) for item in chosen
    }


def test_whoever_never_stops_is_stopped(items, artifact):
    item = next(item for item in items if item.item_id == "multi_turn_base_0")
    caller = Answers(lambda _conversation: "[pwd()]")
    (record,) = records(caller, [item], artifact, max_new_tokens=1)
    assert record.problem == "multi_turn:force_terminated"
    assert len(caller.asked) == MAX_STEPS + 1


def test_the_model_sees_what_its_calls_return(items, artifact):
    item = next(item for item in items if item.item_id == "multi_turn_base_0")
    asked = Answers(lambda asked: "[pwd(), cd('document'), nothing(a=1)]" if len(asked.messages) == 1 else "Done.")
    list(records(asked, [item], artifact, max_new_tokens=1))
    assert [message["content"] for message in asked.asked[1].messages if message["role"] == "tool"] == [
        '{"current_working_directory": "/workspace"}',
        "Error during execution: GorillaFileSystem.cd() missing 1 required positional argument: 'folder'",
        "Error during execution: name 'nothing' is not defined",
    ]


def test_a_record_does_not_depend_on_other_items(items, artifact):
    chosen = few(items, "multi_turn_miss_func", 3)
    subject = gold_answers(chosen)
    together = {record.item_id: record for record in records(subject, chosen, artifact, max_new_tokens=1)}
    alone = [record for item in chosen for record in records(subject, [item], artifact, max_new_tokens=1)]
    assert together == {record.item_id: record for record in alone}


def planted(path: Path) -> list[str]:
    path = str(path)
    return [
        f"[ls(a=__import__('pathlib').Path({path!r}).write_text('x'))]",
        f"[ls.__func__.__globals__['__builtins__']['open']({path!r}, 'w')]",
        f"[__import__('os').system('touch {path}')]",
        f"[eval(source=\"open({path!r}, 'w')\")]",
        f"[ls(a=[open({path!r}, 'w') for _ in (1,)])]",
        f"[ls(a=(lambda: open({path!r}, 'w'))())]",
        f"[ls(a=f\"{{open({path!r}, 'w')}}\")]",
        f"[echo(content='x', file_name={path!r})]",
        "[__init__()]",
        "[__class__(a=1)]",
        "[_load_scenario(scenario={})]",
        "[root._parent(a=1)]",
        "[ls(a=9**9**9)]",
        "[ls(a=" + "9" * 5_000 + ")]",
        "[logarithm(value=2.0, base=10.0, precision=1000000000)]",
        "[power(base=9999999999999999999999.0, exponent=387420489)]",
        "[mkdir(dir_name='" + "x" * 1_000_000 + "')]",
        "[mkdir(dir_name='" + "x" * 16_000 + "')]",
        "[ls(a=0x" + "f" * 16_000 + ")]",
        "[" * 100_000,
        "[ls(a=" + "[" * 90 + "]" * 90 + ")]",
        "[ls(a='\x00\x1b[2J\ud800')]",
        "[" + ", ".join(["ls()"] * 3_000) + "]",
    ]


def processor_seconds() -> float:
    """Of this process, the isolated ones, and those of theirs that have ended."""
    below = [child.cpu_times() for child in psutil.Process().children()]
    return time.process_time() + sum(
        times.user + times.system + times.children_user + times.children_system for times in below
    )


@pytest.mark.parametrize("number", range(len(planted(Path()))))
def test_an_attack_executes_nothing_and_costs_a_second(items, program, tmp_path, number):
    item = next(item for item in items if "MathAPI" in item.entry["involved_classes"])
    dialogue = Dialogue(item)
    before = processor_seconds()
    dialogue.go_on(planted(tmp_path / "planted")[number], program)
    while not dialogue.has_ended:
        dialogue.go_on("Done.", program)
    record = dialogue.record(program)
    assert processor_seconds() - before < 1.2, "one second, and the processes around it"
    assert not (tmp_path / "planted").exists()
    assert record.measures["accuracy"] == (0.0, 1.0)


def test_what_takes_too_long_ends_the_item_alone(items, artifact):
    chosen = [item for item in items if "MathAPI" in item.entry["involved_classes"]][:2]
    gold = gold_answers(chosen)

    def write(conversation: Conversation) -> str:
        if said_by_user(conversation)[0] == chosen[0].turns[0][0]["content"]:
            return "[logarithm(value=2.0, base=10.0, precision=1000000000)]"
        return gold.write(conversation)

    found = records(Answers(write), chosen, artifact, max_new_tokens=1)
    assert {record.item_id: record.problem for record in found} == {
        chosen[0].item_id: "limit: processor time", chosen[1].item_id: "",
    }  # fmt: skip


def test_the_task_is_sampled_evenly_and_keyed(settings, artifact):
    small, large = task(settings, None, 8), task(settings, None, 12)
    assert set(small.item_ids) <= set(large.item_ids)
    assert Counter(item_id.rsplit("_", 1)[0] for item_id in small.item_ids) == dict.fromkeys(CATEGORIES, 2)
    assert small.key != large.key
    assert small.key == task(settings, None, 8).key
    found = list(small.measure(Answers(lambda _conversation: "No."), small.item_ids))
    assert sorted(record.item_id for record in found) == sorted(small.item_ids)
