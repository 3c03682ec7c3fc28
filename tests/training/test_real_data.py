"""Real documents of every kind, from what is installed: the loss falls on each in each stage, and the card is whole."""

from __future__ import annotations

import ast
import doctest
import html
import importlib.metadata
import inspect
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from forge.config import StageSettings, TrainingSettings, load_settings
from forge.schema import CHAT_FORM, KINDS, canonical_json
from tests.training.conftest import ReleaseMaker, corpus_row, open_file, save_tiny_model
from training.process import StopRequest
from training.run import open_run
from training.run_card import write_run_card
from training.stage import train_stage

DOCUMENTS_PER_KIND = 140
MAX_CHARACTERS = 2000
WINDOW_STEPS = 8
STEPS = {"I": 60, "II": 40, "III": 40}


def functions_of_the_standard_library() -> Iterator[str]:
    import argparse
    import difflib
    import inspect as module_inspect
    import statistics
    import tarfile
    import typing

    for module in (argparse, difflib, module_inspect, statistics, tarfile, typing):
        source = inspect.getsource(module)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                yield str(ast.get_source_segment(source, node))


def operations_of_cloud_services() -> Iterator[str]:
    """Each with its parameters and what its service says of it."""
    session = botocore.session.get_session()
    for service in ("iam", "sqs", "s3"):
        model = session.get_service_model(service)
        for name in model.operation_names:
            operation = model.operation_model(name)
            members = operation.input_shape.members if operation.input_shape else {}
            parameters = ", ".join(f"{member}: {shape.type_name}" for member, shape in members.items())
            says = html.unescape(re.sub(r"<[^>]+>|\s+", " ", operation.documentation))
            yield f"{service}.{name}({parameters})\n{says}"


def packages_described() -> Iterator[str]:
    """What a package's page in the index shows."""
    for package in sorted(importlib.metadata.distributions(), key=lambda package: str(package.name)):
        yield str(package.metadata.json.get("description", ""))


def licences() -> Iterator[str]:
    for package in sorted(importlib.metadata.distributions(), key=lambda package: str(package.name)):
        for path in package.files or ():
            if path.name.upper().startswith(("LICEN", "COPYING", "NOTICE")) and path.suffix in {"", ".txt", ".md"}:
                found = Path(str(path.locate()))
                text = found.read_text(errors="replace") if found.is_file() else ""
                yield from (text[start : start + MAX_CHARACTERS] for start in range(0, len(text), MAX_CHARACTERS))


def sessions() -> Iterator[doctest.DocTest]:
    """Interactive sessions in the documentation of numpy."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in sorted(name for name in dir(np) if inspect.isroutine(getattr(np, name)) or name == "char"):
        yield from (found for found in finder.find(getattr(np, name), name) if found.examples)


def plain_session(session: doctest.DocTest) -> str:
    return "".join(f">>> {example.source}{example.want}" for example in session.examples)


def chat_of(session: doctest.DocTest) -> str:
    """The session as calls of an interpreter."""
    tools = [{"name": "python", "parameters": {"type": "object", "properties": {"code": {"type": "string"}}}}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"Show how {session.name} works."}]
    for example in session.examples[:6]:
        call = {"name": "python", "arguments": {"code": example.source.strip()}}
        messages.append({"role": "assistant", "content": None, "calls": [call]})
        messages.append({"role": "tool", "content": example.want.strip()})
    return canonical_json({"tools": tools, "messages": messages})


@pytest.fixture(scope="module")
def real_release(tmp_path_factory):
    all_sessions = list(sessions())
    texts: dict[str, Iterator[str]] = {
        "code": functions_of_the_standard_library(),
        "api_doc": operations_of_cloud_services(),
        "web": packages_described(),
        "text": licences(),
        "trajectory": map(plain_session, all_sessions),
    }
    rows = {}
    for kind in KINDS:
        long_enough = (text[:MAX_CHARACTERS] for text in texts[kind] if len(text) > 200)
        for number, text in enumerate(dict.fromkeys(itertools.islice(long_enough, DOCUMENTS_PER_KIND))):
            stages = ["I", "II"] if kind in ("api_doc", "trajectory") else ["I"]
            row = corpus_row(kind, text, split="held_out" if number % 20 == 0 else "train", stages=stages)
            rows[row["doc_id"]] = row
    for session in all_sessions:
        row = corpus_row("trajectory", chat_of(session), form=CHAT_FORM, stages=["III"])
        rows[row["doc_id"]] = row
    recipe = {"domain_shares": {"agent": 0.6, "code": 0.2, "text": 0.2}, "max_epochs": 1.0}
    return ReleaseMaker(tmp_path_factory.mktemp("real"))(list(rows.values()), release_id="r-real", recipe=recipe)


@pytest.fixture(scope="module")
def trained(real_release, tmp_path_factory):
    """The run after its three stages, each document seen at most once a stage."""
    model = tmp_path_factory.mktemp("model")
    texts = [text for file in real_release.files for text in pq.read_table(file.path)["text"].to_pylist()]
    save_tiny_model(model, texts[::4], vocabulary=1000)
    stages = {
        stage: StageSettings(tokens=steps * 1024, sequence_tokens=256, batch_tokens=1024, learning_rate=1e-2)
        for stage, steps in STEPS.items()
    }
    training = TrainingSettings(
        base_model=str(model), precision="fp32", stages=stages, peak_tflops=0.1, cost_per_hour=1.0,
        checkpoint_every_steps=1000, benchmark_loss_every_tokens=10**9,
    )  # fmt: skip
    settings = load_settings("demo")
    evaluation = settings.evaluation.model_copy(update={"held_out_documents_per_kind": 2})
    settings = settings.model_copy(
        update={
            "home": str(tmp_path_factory.mktemp("home")), "training": training, "artifacts": {},
            "evaluation": evaluation,
        }
    )  # fmt: skip
    run = open_run(settings, real_release, open_file)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them wait longer for each other than such small matrices take
    for stage in STEPS:
        train_stage(run, stage, stop=StopRequest(), say=lambda _: None, cpu=True)
    torch.set_num_threads(threads)
    return run


@pytest.mark.parametrize(
    ("stage", "kinds"), [("I", set(KINDS)), ("II", {"api_doc", "trajectory"}), ("III", {"trajectory"})]
)
def test_the_loss_falls_on_each_kind_in_each_stage(trained, stage, kinds):
    lines = map(json.loads, (trained.folder / "metrics.jsonl").read_text().splitlines())
    entries = [line for line in lines if line["stage"] == stage and "event" not in line]
    assert len(entries) == STEPS[stage]
    assert {kind for entry in entries for kind in entry["loss_by_kind"]} == kinds
    for kind in kinds:
        losses = [entry["loss_by_kind"][kind] for entry in entries if kind in entry["loss_by_kind"]]
        first, last = np.mean(losses[:WINDOW_STEPS]), np.mean(losses[-WINDOW_STEPS:])
        assert last < first - 0.1, (kind, first, last)


OF_EVERY_STAGE = {
    "release_id", "stage", "step", "steps", "tokens", "order_hash", "template_hash", "world_size", "attention",
    "precision", "first_loss", "last_loss", "first_loss_by_kind", "last_loss_by_kind", "skipped_steps", "seconds",
    "tokens_per_second", "mfu", "peak_tflops", "data_wait_share", "memory_gb", "hardware", "code", "data",
    "device_hours", "cost_per_hour", "cost", "settings",
}  # fmt: skip


def nulls_in(value: object, place: str = "") -> Iterator[str]:
    if value is None:
        yield place
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from nulls_in(part, f"{place}/{name}")


def test_the_run_card_is_complete(trained):
    write_run_card(trained)
    card = json.loads((trained.folder / "card.json").read_text())
    assert card["release"]["release_id"] == "r-real"
    assert card["base_model"]["sha"] == trained.base.sha
    assert card["configuration_hash"]
    assert card["stages"].keys() == STEPS.keys()
    for stage, found in card["stages"].items():
        assert found.keys() >= OF_EVERY_STAGE, stage
        assert found["step"] == found["steps"] == STEPS[stage]
        assert found["last_loss_by_kind"].keys() == found["first_loss_by_kind"].keys()
        assert found["cost"] > 0
        for name, stratum in found["data"]["strata"].items():
            assert stratum["draws"] > 0, name
            assert stratum["epochs"] <= 1.0, name
    assert {measured["stage"] for measured in card["benchmark_loss"]} == STEPS.keys()
    of_a_gpu = {"cuda", "device_memory_gib"} if not torch.cuda.is_available() else set()
    missing = [place for place in nulls_in(card) if "settings" not in place.split("/")]  # a null setting is a choice
    assert [place for place in missing if place.rpartition("/")[2] not in of_a_gpu] == []
    page = (trained.folder / "README.md").read_text()
    for fact in ("r-real", trained.run_id, *(found["order_hash"][:8] for found in card["stages"].values())):
        assert fact in page
    assert (trained.folder / "curve.svg").stat().st_size > 1000
