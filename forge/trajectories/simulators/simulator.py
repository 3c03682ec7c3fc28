"""A simulator as its reader sees it: what must be installed, the script that plays its episodes, and how items of a
source and lines of the script come about.

Simulators whose dependencies could disturb ours live in an environment of their own (requirements-simulators.lock):
``FORGE_SIMULATORS_PYTHON`` or ``<checkout>/.venv-simulators/bin/python``.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from forge.config import Settings, checkout
from forge.schema import Decision, Item, content_hash
from forge.trajectories.simulators.episodes import SCRIPTS, SimulatorError, episodes

STEP = "parse_trajectories"


@dataclass(frozen=True, slots=True)
class Simulator:
    """``distribution`` must be installed where ``script`` runs: in the simulators' environment, or beside us."""

    name: str
    distribution: str
    script: str
    has_own_environment: bool = True

    @property
    def python(self) -> Path:
        """The interpreter that runs the script, whether or not it exists."""
        return simulators_python() if self.has_own_environment else Path(sys.executable)

    @property
    def version(self) -> str | None:
        """Of the installed distribution; None where there is none."""
        return installed_version(self.python, self.distribution)

    def item(self, source: str, item_id: str, arguments: Sequence[str], timeout_seconds: float) -> Item:
        """The item whose episodes one run of the script with these arguments gives. Its content hash is that of the
        version, the script and the arguments."""
        run = content_hash(self.version or "not installed", (SCRIPTS / self.script).read_bytes(), *arguments)
        locator = {"arguments": shlex.join(arguments), "timeout_seconds": str(timeout_seconds), "run": run}
        return Item(source, item_id, run, locator)

    def lines(self, item: Item, settings: Settings) -> list[dict[str, Any]] | Decision:
        """What the script prints for the item, from the cache or by running it, or why there is nothing:
        simulator_not_installed, simulator_failed."""
        if self.version is None:
            where = "requirements-simulators.lock" if self.has_own_environment else "requirements.lock"
            detail = f"{self.distribution} is not installed; see {where}"
            return Decision(item.source, item.item_id, STEP, "simulator_not_installed", detail)
        arguments, timeout_seconds = shlex.split(item.locator["arguments"]), float(item.locator["timeout_seconds"])
        try:
            return list(
                episodes(
                    settings, self.name, item.locator["run"], str(self.python), self.script, arguments, timeout_seconds
                )
            )
        except SimulatorError as error:
            return Decision(item.source, item.item_id, STEP, "simulator_failed", str(error))


def simulators_python() -> Path:
    """The interpreter of the simulators' environment, whether or not it exists."""
    return Path(os.environ.get("FORGE_SIMULATORS_PYTHON") or checkout() / ".venv-simulators" / "bin" / "python")


@lru_cache(maxsize=16)
def installed_version(python: Path, distribution: str) -> str | None:
    """The version of a distribution in the environment of an interpreter; None where either is missing."""
    program = f"from importlib.metadata import version; print(version({distribution!r}))"
    try:
        result = subprocess.run(
            [str(python), "-I", "-c", program], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
