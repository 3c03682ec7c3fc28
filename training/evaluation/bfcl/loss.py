"""Benchmark loss on the Berkeley Function Calling Leaderboard: its gold calls in Python, and which function to call.

Function choice is the companion that moves before decoding works: of the functions that an item offers, the one whose
``[name(`` is most probable, which is right when the gold calls it first. With the parenthesis no name is the beginning
of another, so these are probabilities of disjoint events and are compared as they are, not per token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from forge.config import Settings
from forge.schema import content_hash
from training.evaluation.benchmark_loss import CallLoss, Measures, Written, call_measures, losses_of_answers
from training.evaluation.bfcl.data import DEFECTIVE_GOLDS, PYTHON_AST_CATEGORIES, BfclItem, bfcl_items, sample
from training.evaluation.records import ItemRecord
from training.evaluation.scoring import shares_contexts
from training.evaluation.subject import Conversation, LocalSubject, Subject
from training.evaluation.task import Task, artifact_folder
from training.run import Run

VERSION = "1"
CHOICE_CATEGORIES = ("multiple", "live_multiple")
"""One call, several functions: of parallel calls none is the first."""


def loss_items(artifact: Path) -> list[BfclItem]:
    """The items with a gold call in Python that is right: 2,346. Raises FileNotFoundError."""
    return [item for item in bfcl_items(artifact, PYTHON_AST_CATEGORIES) if item.item_id not in DEFECTIVE_GOLDS]


def task(settings: Settings, _run: Run | None, max_items: int) -> Task:
    """Task ``bfcl_loss``."""
    artifact = artifact_folder(settings, "bfcl")
    items = loss_items(artifact)
    seed = settings.evaluation.seed
    by_id = {item.item_id: item for item in sample(items, max_items, seed, "bfcl_loss")}
    return Task(
        "bfcl_loss",
        content_hash(VERSION, settings.artifacts["bfcl"].sha256, *by_id),
        list(by_id),
        lambda subject, ids: measure(subject, [by_id[item_id] for item_id in ids]),
        needs_weights=True,
        notes={
            "items_in_all": len(items),
            "left_out": dict(DEFECTIVE_GOLDS),
            "function_choice": "most probable of the item's functions; by chance: 1 / functions",
        },
    )


def measure(subject: Subject, items: Sequence[BfclItem]) -> Iterator[ItemRecord]:
    """The loss of each gold call, that of the allowed one that fits best, and which function the model would call."""
    if not isinstance(subject, LocalSubject):
        raise TypeError("the probabilities of given texts need the model's weights")
    share_prompt = shares_contexts(subject.model)
    for item in items:
        yield _record(subject, item, share_prompt=share_prompt)


def _record(subject: LocalSubject, item: BfclItem, *, share_prompt: bool) -> ItemRecord:
    golds = item.gold_alternatives
    names = list(dict.fromkeys(str(function["name"]) for function in item.functions))
    choices = names if item.category in CHOICE_CATEGORIES and len(names) > 1 else []
    answers = [*map(Written, golds), *(Written(f"[{name}(", ends_turn=False) for name in choices)]
    conversation = Conversation(item.tools, item.messages)
    losses = losses_of_answers(subject.model, subject.tokenizer, conversation, answers, share_prompt=share_prompt)
    best = min((loss.scored for loss in losses[: len(golds)]), key=lambda text: text.total_nats / len(text.nats))
    measures: Measures = {
        **call_measures(losses[0]),
        "best_gold_nats_per_token": (best.total_nats, len(best.nats)),
    }
    detail = {"gold": golds[0], "allowed_golds": len(golds)}
    if choices:
        chosen = _most_probable(choices, losses[len(golds) :])
        right = item.gold_calls[0][0]
        measures["function_choice"] = (float(chosen == right), 1)
        measures["function_choice_by_chance"] = (1 / len(choices), 1)
        detail |= {"chosen_function": chosen}
    return ItemRecord(item.item_id, item.category, measures, detail=detail)


def _most_probable(names: Sequence[str], losses: Sequence[CallLoss]) -> str:
    return min(zip(names, losses, strict=True), key=lambda pair: (pair[1].scored.total_nats, pair[0]))[0]
