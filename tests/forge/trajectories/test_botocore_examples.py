"""Worked examples of botocore's service models."""

from __future__ import annotations

import gzip
import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from forge.config import ConfigurationError, Settings, SourceSettings
from forge.schema import Decision, Trajectory
from forge.trajectories.botocore_examples import list_items, read_item

MODEL: dict[str, Any] = {
    "version": "2.0",
    "metadata": {"apiVersion": "2020-02-02", "protocol": "json", "serviceId": "Library"},
    "operations": {
        "LendBook": {"name": "LendBook", "input": {"shape": "Lend"}, "output": {"shape": "Lent"},
                     "documentation": "<p>Creates a book.</p>"},
        "ReturnBook": {"name": "ReturnBook", "input": {"shape": "Lend"}, "documentation": "<p>Takes a book back.</p>"},
        "ListBooks": {"name": "ListBooks", "output": {"shape": "Lent"}, "documentation": "<p>Lists the books.</p>"},
    },
    "shapes": {
        "Lend": {"type": "structure", "required": ["Title"],
                 "members": {"Title": {"shape": "Text"}, "Days": {"shape": "Number"}}},
        "Lent": {"type": "structure", "members": {"Due": {"shape": "Text"}}},
        "Text": {"type": "string"},
        "Number": {"type": "integer"},
    },
}  # fmt: skip
EXAMPLES: dict[str, Any] = {
    "version": "1.0",
    "examples": {
        "LendBook": [
            {"title": "To lend", "description": "This example creates a novel.", "input": {"Title": "Emma", "Days": 14},
             "output": {"Due": "2020-02-16"}},
            {"title": "To create a long one", "description": "", "input": {"Title": "Emma"}, "output": {"Due": "1"}},
            {"title": "x", "description": "This example creates a novel.", "input": {"Title": "Emma"}},
            {"title": "x", "description": "This example creates a book.", "input": {"Days": 3}, "output": {"Due": "1"}},
        ],
        "ReturnBook": [{"title": "x", "description": "The following example returns a book.",
                        "input": {"Title": "Emma"}, "output": {}}],
        "ListBooks": [{"title": "x", "description": "This lists all books.", "output": {"Due": "2020"}}],
    },
}  # fmt: skip


def _install(root: Path, examples: Any = EXAMPLES) -> SourceSettings:
    for name, content in (("library", examples), ("empty", {"version": "1.0", "examples": {}}), ("without", None)):
        folder = root / name / "2020-02-02"
        folder.mkdir(parents=True)
        (folder / "service-2.json.gz").write_bytes(gzip.compress(orjson.dumps(MODEL)))
        if content is not None:
            (folder / "examples-1.json").write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return SourceSettings(type="botocore_examples", license="Apache-2.0", options={"folder": str(root)})


def _read(source: SourceSettings, settings: Settings) -> list[Trajectory | Decision]:
    return [row for item in list_items("aws", source, settings) for row in read_item(item, source, settings)]


def test_every_example_is_one_call_of_its_operation(tmp_path: Path, settings: Settings) -> None:
    rows = _read(_install(tmp_path), settings)
    found = {row.episode: row for row in rows if isinstance(row, Trajectory)}
    assert sorted(found) == ["LendBook", "LendBook#2", "ListBooks", "ReturnBook"]
    lent = found["LendBook"]
    (call,) = lent.steps[1].calls
    assert (lent.environment, call.name, call.arguments) == ("aws/library", "LendBook", {"Title": "Emma", "Days": 14})
    assert lent.steps[2].content == '{"Due":"2020-02-16"}'
    assert "reate a novel" in lent.task
    assert lent.task.endswith("- Title: Emma\n- Days: 14")
    assert "reate a long one" in found["LendBook#2"].task
    assert found["ReturnBook"].steps[2].content == ""  # it returns nothing, by its model
    assert found["ListBooks"].steps[1].calls[0].arguments == {}
    assert {row.license for row in found.values()} == {"Apache-2.0"}
    refused = {row.item_id: row.reason for row in rows if isinstance(row, Decision)}
    assert refused == {"library#LendBook#3": "no_output", "library#LendBook#4": "call_schema_mismatch"}


def test_items_are_the_services_that_have_examples(tmp_path: Path, settings: Settings) -> None:
    source = _install(tmp_path)
    assert [item.item_id for item in list_items("aws", source, settings)] == ["library"]
    with pytest.raises(ConfigurationError, match=r"options\.examples"):
        list(list_items("aws", source.model_copy(update={"options": {"examples": 1}}), settings))


@pytest.mark.parametrize("content", [b"{" + b" " * 200, orjson.dumps({"examples": {"LendBook": ["x" * 200]}})])
def test_a_file_that_is_not_understood_is_a_decision(content: bytes, tmp_path: Path, settings: Settings) -> None:
    rows = _read(_install(tmp_path, content), settings)
    assert [type(row) for row in rows] == [Decision]


def test_the_installed_models_against_their_own_files(settings: Settings) -> None:
    specification = importlib.util.find_spec("botocore")
    assert specification is not None
    assert specification.origin is not None
    wanted: Counter[str] = Counter()
    services = ("dynamodb", "kms", "sqs", "s3")
    for service in services:
        newest = sorted((Path(specification.origin).parent / "data" / service).iterdir())[-1]
        for file in newest.glob("examples-1.json*"):
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            wanted[service] += sum(map(len, orjson.loads(content)["examples"].values()))
    source = SourceSettings(type="botocore_examples", options={"services": list(services)})
    found: Counter[str] = Counter()
    episodes = 0
    for item in list_items("aws", source, settings):
        rows = list(read_item(item, source, settings))
        found[item.item_id] = len(rows)
        episodes += sum(isinstance(row, Trajectory) for row in rows)
    assert +found == +wanted
    assert episodes > 0.7 * wanted.total() > 100
