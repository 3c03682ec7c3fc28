"""Our answers as BFCL's result files, so that its own runner judges them too.

    python -m training.evaluation.bfcl.result_files --evaluation runs/<run_id>/evaluation/<checkpoint> --out FOLDER

writes ``FOLDER/result/<model>/<group>/BFCL_v4_<category>_result.json``, a line ``{"id", "result"}`` for each answer:
the text that the model wrote, or, in multi-turn, for each turn the texts of its steps. ``FOLDER`` is what the runner
calls BFCL_PROJECT_ROOT. The model's name, without "_" and "/", has to be registered there; where not all items were
asked, the runner needs ``--partial-eval``.

The runner judges most answers as we do. It differs where an answer says something before its list of calls, which the
runner takes for no call at all, and it evaluates arithmetic in arguments with Python's ``eval``: an answer can make it
run any code. Run it where that does no harm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import orjson

from training.evaluation.bfcl.data import CATEGORIES
from training.evaluation.records import ItemRecord, read_records

VERSION_PREFIX = "BFCL_v4"
TASKS = ("bfcl", "bfcl_multi_turn")
EXIT_CONFIGURATION = 78


class NoRecords(ValueError):
    """There is nothing to write; the message says why."""


def model_name_of(text: str) -> str:
    """A name that BFCL's runner can take: it reads "_" as "/", which is no part of a registered name of ours."""
    return text.replace("_", "-").replace("/", "-")


def result_path(root: Path, model: str, category: str) -> Path:
    """Where the runner looks for the answers of a category."""
    return root / "result" / model / _group(category) / f"{VERSION_PREFIX}_{category}_result.json"


def write_result_files(records: Iterable[ItemRecord], root: Path, model: str) -> dict[str, int]:
    """Write a file per category of the records; the number of answers in each.

    Raises ValueError for a model's name that the runner does not take, and for a category that is none of its own.
    """
    if not model or model != model_name_of(model):
        raise ValueError(f"model name {model!r}: neither empty nor with '_' or '/'")
    by_category: dict[str, list[ItemRecord]] = {}
    for record in records:
        by_category.setdefault(record.category, []).append(record)
    paths = {category: result_path(root, model, category) for category in by_category}
    for category, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"id": record.item_id, "result": _result(record)} for record in by_category[category]]
        path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in sorted(lines, key=_place)))
    return {category: len(by_category[category]) for category in sorted(by_category)}


def records_of(evaluation: Path) -> list[ItemRecord]:
    """The records of BFCL's tasks in the folder of an evaluated checkpoint. Raises :class:`NoRecords`."""
    found: list[ItemRecord] = []
    for task in TASKS:
        path = evaluation / f"{task}.jsonl"
        if path.is_file():
            with path.open("rb") as file:
                key = orjson.loads(file.readline())["key"]
            found += read_records(path, key).values()
    if not found:
        raise NoRecords(f"{evaluation}: no records in {' or '.join(f'{task}.jsonl' for task in TASKS)}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 78 no records there."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.bfcl.result_files",
        description="Write an evaluated checkpoint's BFCL answers as the result files of BFCL's own runner.",
        epilog="The runner evaluates parts of answers as code: run it where that does no harm.",
    )
    parser.add_argument(
        "--evaluation", type=Path, required=True, help="folder with bfcl.jsonl or bfcl_multi_turn.jsonl"
    )
    parser.add_argument("--out", type=Path, required=True, help="the runner's BFCL_PROJECT_ROOT")
    parser.add_argument("--model-name", help="without '_' and '/'; default: hephaestus-forge-<name of the folder>")
    arguments = parser.parse_args(argv)
    model = arguments.model_name or model_name_of(f"hephaestus-forge-{arguments.evaluation.resolve().name}")
    try:
        written = write_result_files(records_of(arguments.evaluation), arguments.out, model)
    except ValueError as reason:
        print(reason, file=sys.stderr)
        return EXIT_CONFIGURATION
    for category, answers in written.items():
        print(f"{result_path(arguments.out, model, category)}: {answers} answers")
    return 0


def _group(category: str) -> str:
    if category.startswith("multi_turn_"):
        return "multi_turn"
    if category not in CATEGORIES:
        raise ValueError(f"{category!r} is no category of BFCL that is evaluated here")
    return "live" if category.startswith("live_") else "non_live"


def _result(record: ItemRecord) -> object:
    return record.detail["answers"] if record.category.startswith("multi_turn_") else record.answer


def _place(line: Mapping[str, object]) -> int:
    """The item's number in its category: live_simple_19-3-15 is the 20th."""
    return int(str(line["id"]).rpartition("_")[2].partition("-")[0])


if __name__ == "__main__":
    sys.exit(main())
