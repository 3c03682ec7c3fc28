"""Code and value hashes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from forge import fingerprint
from forge.config import MixSettings
from forge.fingerprint import code_hash, value_hash


def test_value_hash_takes_models_and_ignores_key_order() -> None:
    assert value_hash({"a": 1, "b": (1, 2)}) == value_hash({"b": [1, 2], "a": 1})
    assert value_hash(MixSettings()) != value_hash(MixSettings(max_epochs=2))


def test_code_hash_follows_imports_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: code_hash(name) for name in ("forge.ledger", "forge.mixture.recipe")}
    read = fingerprint._imports_of
    reached: list[str] = []
    monkeypatch.setattr(
        fingerprint, "_imports_of", lambda source, path: [*(reached.append(path) or []), *read(source, path)]
    )
    code_hash.cache_clear()
    assert code_hash("forge.ledger") == before["forge.ledger"]
    assert any(path.endswith("forge/schema.py") for path in reached)
    assert not any(path.endswith("recipe.py") for path in reached)
    code_hash.cache_clear()


def test_hashes_do_not_depend_on_the_hash_seed() -> None:
    script = "from forge.fingerprint import *; print(code_hash('spark_jobs.publish'), value_hash({'a': ['x']}))"
    results = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(results) == 1
