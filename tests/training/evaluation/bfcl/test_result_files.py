"""The result files, and what BFCL's own runner says of them where an interpreter has it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import orjson
import pytest

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, load_settings
from training.evaluation.bfcl.checker import Checker
from training.evaluation.bfcl.data import CATEGORIES, BfclItem, bfcl_items
from training.evaluation.bfcl.multi_turn import MultiTurnItem, multi_turn_items
from training.evaluation.bfcl.result_files import main, model_name_of, write_result_files
from training.evaluation.bfcl.single_turn import record_of
from training.evaluation.records import ItemRecord, RecordFile

MODEL = "hephaestus-forge-135m"
OFFICIAL_PYTHON = os.environ.get("FORGE_BFCL_PYTHON", "")
RUNNER = Path(__file__).parent / "official_runner.py"


def lines_of(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


RECORDS = [
    ItemRecord("live_simple_10-3-6", "live_simple", {}, "[f(a=1)]"),
    ItemRecord("live_simple_9-3-5", "live_simple", {}, "I cannot\nhelp."),
    ItemRecord("irrelevance_0", "irrelevance", {}, ""),
    ItemRecord("multi_turn_base_3", "multi_turn_base", {}, detail={"answers": [["[ls()]", "Done."], ["Hello."]]}),
]


def test_a_file_per_category_in_the_order_of_the_items(tmp_path):
    written = write_result_files(RECORDS, tmp_path, MODEL)
    assert written == {"irrelevance": 1, "live_simple": 2, "multi_turn_base": 1}
    folder = tmp_path / "result" / MODEL
    assert lines_of(folder / "live" / "BFCL_v4_live_simple_result.json") == [
        {"id": "live_simple_9-3-5", "result": "I cannot\nhelp."},
        {"id": "live_simple_10-3-6", "result": "[f(a=1)]"},
    ]
    assert lines_of(folder / "non_live" / "BFCL_v4_irrelevance_result.json") == [{"id": "irrelevance_0", "result": ""}]
    assert lines_of(folder / "multi_turn" / "BFCL_v4_multi_turn_base_result.json") == [
        {"id": "multi_turn_base_3", "result": [["[ls()]", "Done."], ["Hello."]]}
    ]


@pytest.mark.parametrize("name", ["a_b", "a/b", ""])
def test_a_name_that_the_runner_does_not_take_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="model name"):
        write_result_files(RECORDS, tmp_path, name)
    assert not any(tmp_path.iterdir())


def test_a_name_becomes_one_that_it_takes():
    assert model_name_of("run_1/stage_III") == "run-1-stage-III"


def test_another_category_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no category of BFCL"):
        write_result_files([ItemRecord("x_0", "../x", {})], tmp_path, MODEL)
    assert not any(tmp_path.iterdir())


def test_the_command_reads_an_evaluation_and_leaves_it_as_it_is(tmp_path, capsys):
    evaluation = tmp_path / "evaluation" / "stage_II"
    RecordFile(evaluation / "bfcl.jsonl", "a key").append(RECORDS[:3])
    RecordFile(evaluation / "bfcl_multi_turn.jsonl", "another").append(RECORDS[3:])
    before = {path: path.read_bytes() for path in evaluation.iterdir()}
    assert main(["--evaluation", str(evaluation), "--out", str(tmp_path / "out")]) == 0
    assert {path: path.read_bytes() for path in evaluation.iterdir()} == before
    model = tmp_path / "out" / "result" / "hephaestus-forge-stage-II"
    assert len(list(model.rglob("BFCL_v4_*_result.json"))) == 3
    assert "BFCL_v4_live_simple_result.json: 2 answers" in capsys.readouterr().out
    assert main(["--evaluation", str(tmp_path), "--out", str(tmp_path / "nothing")]) == 78
    assert "no records in bfcl.jsonl or bfcl_multi_turn.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


def test_the_command_has_help():
    command = [sys.executable, "-m", "training.evaluation.bfcl.result_files", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--evaluation" in said
    assert "evaluates parts of answers as code" in said


ASTRAY = {"live_simple_67-31-0"}
"""An argument whose name is no ASCII goes through ``**{...}`` in our rendering, which BFCL's decoder does not read."""
VARIANTS = {
    "gold": lambda gold: gold,
    "without brackets": lambda gold: gold.strip("[]"),
    "fenced": lambda gold: f"```\n{gold}\n```",
    "another name": lambda gold: gold.replace("(", "_(", 1),
    "another argument": lambda gold: gold.replace("(", "(zzz=1, ", 1),
    "another value": lambda gold: gold.replace("='", "='q", 1),
    "a call too much": lambda gold: f"[{gold.strip('[]')}, {gold.strip('[]')}]",
    "arithmetic": lambda gold: gold.replace("=", "=1+", 1),
    "cut": lambda gold: gold[: len(gold) * 2 // 3],
    "upper case": lambda gold: gold.upper(),
    "nothing": lambda _: "",
    "no calls": lambda _: "[]",
}


@pytest.fixture(scope="module")
def checked() -> tuple[Checker, list[BfclItem]]:
    try:
        artifact = artifact_path(load_settings("demo"), "bfcl")
    except ConfigurationError:
        pytest.skip("artifact bfcl is not unpacked")
    return Checker.of(artifact), bfcl_items(artifact)


def wrong_according_to_the_runner(root: Path) -> set[str]:
    command = [OFFICIAL_PYTHON, str(RUNNER), str(root), MODEL, "single_turn"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-2000:]
    files = [lines_of(path) for path in (root / "score").rglob("BFCL_v4_*_score.json")]
    assert len(files) == len(CATEGORIES)
    assert sum(header["total_count"] for header, *_ in files) == 3641
    return {line["id"] for _, *wrong in files for line in wrong}


# Slow: the runner judges 3,641 answers a time, after imports of its own.
@pytest.mark.slow
@pytest.mark.skipif(not OFFICIAL_PYTHON, reason="FORGE_BFCL_PYTHON names no interpreter with bfcl-eval's runner")
@pytest.mark.parametrize("variant", VARIANTS)
def test_bfcl_s_runner_takes_the_files_and_judges_every_answer_as_we_do(tmp_path, checked, variant):
    checker, items = checked

    def right_answer(item: BfclItem) -> str:
        return item.gold_call if item.ground_truth else "[f(a=1)]" if item.category == "live_relevance" else "No."

    records = [record_of(checker, item, VARIANTS[variant](right_answer(item))) for item in items]
    assert sum(write_result_files(records, tmp_path, MODEL).values()) == len(items)
    wrong = wrong_according_to_the_runner(tmp_path)
    ours = {record.item_id for record in records if record.measures["accuracy"][0] == 0}
    assert wrong - ours <= ASTRAY
    assert ours - wrong == set()
    if variant == "gold":
        python_ast = Counter(record.category for record in records if record.item_id in wrong)
        assert python_ast == {"live_simple": 3, "live_multiple": 3, "simple_java": 13}


@pytest.mark.slow
@pytest.mark.skipif(not OFFICIAL_PYTHON, reason="FORGE_BFCL_PYTHON names no interpreter with bfcl-eval's runner")
def test_what_is_said_before_the_calls_is_no_call_to_the_runner(tmp_path, checked):
    checker, items = checked
    simple = [item for item in items if item.category == "simple_python"][:3]
    records = [record_of(checker, item, f"I will call it.\n{item.gold_call}") for item in simple]
    assert all(record.measures["accuracy"][0] for record in records)
    write_result_files(records, tmp_path, MODEL)
    command = [OFFICIAL_PYTHON, str(RUNNER), str(tmp_path), MODEL, "simple_python"]
    subprocess.run(command, capture_output=True, check=True, timeout=600)
    header, *wrong = lines_of(tmp_path / "score" / MODEL / "non_live" / "BFCL_v4_simple_python_score.json")
    assert header["accuracy"] == 0
    assert {line["error_type"] for line in wrong} == {"ast_decoder:decoder_failed"}


def has_positional_argument(item: MultiTurnItem) -> bool:
    calls = [ast.parse(call, mode="eval").body for turn in item.ground_truth for call in turn]
    return any(call.args for call in calls if isinstance(call, ast.Call))


@pytest.mark.slow
@pytest.mark.skipif(not OFFICIAL_PYTHON, reason="FORGE_BFCL_PYTHON names no interpreter with bfcl-eval's runner")
def test_bfcl_s_runner_takes_multi_turn_answers(tmp_path):
    try:
        artifact = artifact_path(load_settings("demo"), "bfcl")
    except ConfigurationError:
        pytest.skip("artifact bfcl is not unpacked")
    records = []
    # The runner's decoder drops positional arguments, which 24 of the 200 golds have.
    items = [item for item in multi_turn_items(artifact, ["multi_turn_base"]) if not has_positional_argument(item)]
    for number, item in enumerate(items[:8]):
        turns = [[f"[{', '.join(calls)}]", "Done."] for calls in item.ground_truth]
        answers = turns if number % 2 == 0 else turns[:-1]
        records.append(ItemRecord(item.item_id, item.category, {}, detail={"answers": answers}))
    write_result_files(records, tmp_path, MODEL)
    command = [OFFICIAL_PYTHON, str(RUNNER), str(tmp_path), MODEL, "multi_turn_base"]
    subprocess.run(command, capture_output=True, check=True, timeout=600)
    header, *wrong = lines_of(tmp_path / "score" / MODEL / "multi_turn" / "BFCL_v4_multi_turn_base_score.json")
    assert header == {"accuracy": 0.5, "correct_count": 4, "total_count": 8}
    assert {line["error"]["error_type"] for line in wrong} == {"multi_turn:force_terminated"}
