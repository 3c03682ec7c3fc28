from __future__ import annotations

from pathlib import Path

import pytest

from forge.artifacts import artifact_path
from forge.config import ConfigurationError, load_settings
from training.evaluation.bfcl.checker import Checker
from training.evaluation.bfcl.data import BfclItem, bfcl_items


@pytest.fixture(scope="session")
def bfcl_artifact() -> Path:
    """The unpacked ``bfcl-eval`` wheel."""
    try:
        artifact = artifact_path(load_settings("demo"), "bfcl")
    except ConfigurationError:
        artifact = None
    if artifact is None:
        pytest.skip("artifact bfcl is not unpacked")
    return artifact


@pytest.fixture(scope="session")
def items(bfcl_artifact) -> list[BfclItem]:
    return bfcl_items(bfcl_artifact)


@pytest.fixture(scope="session")
def checker(bfcl_artifact) -> Checker:
    return Checker.of(bfcl_artifact)
