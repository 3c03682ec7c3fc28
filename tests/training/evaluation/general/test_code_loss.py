"""The loss of gold programs is that of their tokens after the examples, which are read once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from training.base_model import load_model, load_tokenizer
from training.evaluation.general.code_loss import measure
from training.evaluation.general.olmo_files import GoldProgram
from training.evaluation.scoring import token_nats
from training.evaluation.subject import LocalSubject

EXAMPLES = "def get_user():\n    return user\n\n" * 8
PROGRAMS = [
    GoldProgram(f"mbpp/{number}", "mbpp", f"{EXAMPLES}def {name}_bucket():\n", f"    return {name}(bucket)\n", EXAMPLES)
    for number, name in enumerate(("create", "delete", "list"))
] + [GoldProgram("mbpp/9", "mbpp", "def another():\n" * 20, "    return value\n", "def another():\n" * 19)]


def test_the_loss_is_that_of_the_solution_after_its_context(tiny_model: Path) -> None:
    subject = LocalSubject(load_model(tiny_model).eval(), load_tokenizer(tiny_model))
    ids = [program.item_id for program in PROGRAMS]
    records = {record.item_id: record for record in measure(subject, PROGRAMS, ids)}
    assert sorted(records) == sorted(ids)
    for program in PROGRAMS:
        stripped = program.context.rstrip()
        context = subject.tokenizer.encode(stripped)
        whole = subject.tokenizer.encode(program.context + program.solution)
        nats = token_nats(subject.model, context, whole[len(context) :])
        measures = records[program.item_id].measures
        assert measures["nats_per_token"] == (pytest.approx(sum(nats), abs=1e-4), len(nats))
        assert measures["bits_per_byte"] == (
            pytest.approx(sum(nats) / math.log(2), abs=1e-4), len(program.solution.encode()),
        )  # fmt: skip
        assert measures["item_mean_nats_per_token"] == (pytest.approx(sum(nats) / len(nats), abs=1e-5), 1.0)
        assert list(measure(subject, PROGRAMS, [program.item_id])) == [records[program.item_id]]
