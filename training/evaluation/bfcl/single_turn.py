"""BFCL's single-turn items: the model answers once, the answer is judged without being executed.

The prompt is ours (:mod:`training.chat`), not BFCL's: figures are not those of its leaderboard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from forge.config import Settings
from forge.schema import content_hash
from training.evaluation.bfcl.checker import Checker
from training.evaluation.bfcl.data import AST_CATEGORIES, BfclItem, bfcl_items, sample
from training.evaluation.bfcl.scores import overall_scores
from training.evaluation.records import ItemRecord
from training.evaluation.subject import Conversation, Subject
from training.evaluation.task import NotEvaluated, Task, artifact_folder
from training.run import Run

VERSION = "1"
"""Of how an answer is decoded and judged."""


def task(settings: Settings, _run: Run | None, max_items: int) -> Task:
    """At most ``max_items`` of the 3,641 items, evenly over the thirteen categories.

    Measures: ``accuracy``; for items whose right answer is a list of calls also ``decodable``: was any list of calls.
    """
    artifact = artifact_folder(settings, "bfcl")
    try:
        checker = Checker.of(artifact)
    except ImportError as reason:
        raise NotEvaluated(f"BFCL's checker cannot be imported: {reason}") from None
    everything = bfcl_items(artifact)
    chosen = sample(everything, max_items, settings.evaluation.seed, "bfcl")
    items = {item.item_id: item for item in chosen}
    max_new_tokens = settings.evaluation.generation_max_new_tokens

    def measure(subject: Subject, item_ids: Sequence[str]) -> Iterator[ItemRecord]:
        asked = [items[item_id] for item_id in item_ids]
        conversations = [Conversation(item.tools, item.messages) for item in asked]
        for place, text in subject.answers(conversations, max_new_tokens=max_new_tokens):
            yield record_of(checker, asked[place], text)

    return Task(
        name="bfcl",
        key=content_hash(VERSION, settings.artifacts["bfcl"].sha256, str(max_new_tokens), *items),
        item_ids=list(items),
        measure=measure,
        overall=overall_scores(),
        notes={
            "data": f"bfcl-eval {settings.artifacts['bfcl'].version}",
            "items in all": len(everything),
            "protocol": f"one greedy answer of at most {max_new_tokens} tokens to our own prompt",
        },
    )


def record_of(checker: Checker, item: BfclItem, text: str) -> ItemRecord:
    """The judgement of an answer as a record. What is no Unicode text in it becomes "?"."""
    answer = text.encode(errors="replace").decode()
    verdict = checker.check(item, answer)
    measures: Mapping[str, tuple[float, float]] = {"accuracy": (float(verdict.right), 1.0)}
    if item.category in AST_CATEGORIES:
        measures = {**measures, "decodable": (float(verdict.decoded), 1.0)}
    return ItemRecord(item.item_id, item.category, measures, answer, verdict.problem)
