"""A section of a benchmark in a process of its own, so that CPU seconds and peak memory are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def measured_in_a_child(module: str, section: str, *arguments: str) -> dict[str, Any]:
    """What ``python -m MODULE --measure SECTION [ARGUMENT ...]`` prints as JSON. Raises SystemExit when it failed; it
    has said why."""
    command = [sys.executable, "-m", module, "--measure", section, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{module}: {section} failed with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
