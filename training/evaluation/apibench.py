"""Benchmark loss on APIBench (Gorilla): which call of a model hub answers an instruction.

The evaluation files of the three hubs, ``data/apibench/{huggingface,torchhub,tensorflow}_eval.json`` of a checkout of
github.com/ShishirPatil/gorilla (Patil et al., "Gorilla: Large Language Model Connected with Massive APIs", 2023). The
user's turn is the instruction and nothing else: no documentation is retrieved and no format is asked for, so the loss
compares models, and says little of one alone. The right answer is the item's ``api_call`` as it is written there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from forge.config import Settings
from forge.schema import content_hash
from training.evaluation.benchmark_loss import call_measures, gold_loss
from training.evaluation.records import ItemRecord
from training.evaluation.subject import Conversation, LocalSubject, Subject
from training.evaluation.task import NotEvaluated, Task, sample
from training.run import Run

VERSION = "1"
HUBS = ("huggingface", "torchhub", "tensorflow")
_INSTRUCTION = re.compile(r"###\s*Instruction:\s*(.+?)\s*(?:###\s*Output|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ApiBenchItem:
    """``item_id``: the hub and the line of its file, counted from 0."""

    item_id: str
    hub: str
    instruction: str
    api_call: str


def apibench_items(checkout: Path) -> list[ApiBenchItem]:
    """The items of the three hubs in file order. Raises FileNotFoundError, and ValueError for a line that is none."""
    items = []
    for hub in HUBS:
        path = checkout / "data" / "apibench" / f"{hub}_eval.json"
        for number, line in enumerate(path.read_bytes().splitlines()):
            try:
                row = orjson.loads(line)
                instruction, api_call = _INSTRUCTION.search(row["code"]), row["api_call"]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                instruction, api_call = None, None
            if instruction is None or not isinstance(api_call, str):
                raise ValueError(f"{path.name}: line {number + 1} has no instruction and api_call")
            items.append(ApiBenchItem(f"{hub}_{number}", hub, instruction[1], api_call))
    return items


def loss_task(settings: Settings, _run: Run | None, max_items: int) -> Task:
    """Task ``apibench_loss``; a category per hub."""
    folder = settings.evaluation.folders.get("apibench")
    if folder is None:
        raise NotEvaluated("evaluation.folders names no checkout of gorilla as 'apibench'")
    try:
        items = apibench_items(Path(folder))
    except (OSError, ValueError) as reason:
        raise NotEvaluated(f"evaluation.folders.apibench: {reason}") from None
    chosen = sample(
        items, max_items, settings.evaluation.seed, "apibench_loss", item_id=lambda item: item.item_id,
        category=lambda item: item.hub,
    )  # fmt: skip
    by_id = {item.item_id: item for item in chosen}
    return Task(
        "apibench_loss",
        content_hash(VERSION, *(part for item in chosen for part in (item.item_id, item.instruction, item.api_call))),
        list(by_id),
        lambda subject, ids: measure(subject, [by_id[item_id] for item_id in ids]),
        needs_weights=True,
        notes={"items_in_all": len(items), "protocol": "the instruction alone is the prompt; loss only"},
    )


def measure(subject: Subject, items: Sequence[ApiBenchItem]) -> Iterator[ItemRecord]:
    """The loss of each item's call."""
    if not isinstance(subject, LocalSubject):
        raise TypeError("the probabilities of given texts need the model's weights")
    for item in items:
        conversation = Conversation([], [{"role": "user", "content": item.instruction}])
        loss = gold_loss(subject.model, subject.tokenizer, conversation, item.api_call)
        yield ItemRecord(item.item_id, item.hub, call_measures(loss), detail={"gold": item.api_call})
