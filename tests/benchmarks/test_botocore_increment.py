"""The benchmark of an increment, on two small releases."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.botocore_increment import main

MODEL: dict[str, Any] = {
    "metadata": {"apiVersion": "2020-02-02"},
    "operations": {
        "Get": {"documentation": "<p>Gets a thing.</p>", "input": {"shape": "GetRequest"}},
        "Put": {"documentation": "<p>Puts a thing.</p>", "input": {"shape": "PutRequest"}},
    },
    "shapes": {
        "GetRequest": {"type": "structure", "members": {"Name": {"shape": "Name"}}},
        "PutRequest": {"type": "structure", "members": {"Name": {"shape": "Name"}, "Kind": {"shape": "Kind"}}},
        "Name": {"type": "string"},
        "Kind": {"type": "string", "enum": ["A"]},
    },
}


def _write(folder: Path, services: dict[str, Any], level: int) -> str:
    for name, model in services.items():
        place = folder / name / "2020-02-02"
        place.mkdir(parents=True)
        packed = gzip.compress(json.dumps(model).encode(), compresslevel=level, mtime=level)
        (place / "service-2.json.gz").write_bytes(packed)
    return str(folder)


def test_only_what_changed_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shape that only ``Put`` takes gets a further value; ``Delete`` comes; a service goes, another comes."""
    changed = copy.deepcopy(MODEL)
    changed["shapes"]["Kind"]["enum"].append("B")
    changed["operations"]["Delete"] = {"documentation": "<p>Deletes a thing.</p>"}
    before = _write(tmp_path / "before", {"same": MODEL, "thing": MODEL, "old": MODEL}, level=9)
    after = _write(tmp_path / "after", {"same": MODEL, "thing": changed, "new": MODEL}, level=1)
    assert main(["--before", before, "--after", after, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    ours = {name: value for name, value in result["ours"].items() if "seconds" not in name}
    documents = ours.pop("documents_new")
    assert ours == {
        "items": 3,
        "items_changed": 2,
        "items_removed": 1,
        "operations": 7,
        "operations_read_again": 5,
        "operations_added": 3,
        "operations_removed": 2,
        "operations_changed": 1,
    }
    assert 4 <= documents <= 8  # one or two an operation
    assert result["agreements"]["raw_json"] == {"operations_added": 3, "operations_removed": 2, "differing": 0}
    assert [bar["passed"] for bar in result["bars"]] == [True] * 4


def test_two_equal_releases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _write(tmp_path, {"same": MODEL}, level=9)
    assert main(["--before", folder, "--after", folder]) == 0
    assert "operations read again            0" in capsys.readouterr().out
