"""Which installed Python distributions a source takes: those that a lock file names, less a denylist.

Taking the lock's, not whatever is installed, makes a corpus independent of what else somebody put into the environment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from forge.config import ConfigurationError, checkout

_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==")


class DistributionChoice(BaseModel):
    """The options that all sources over installed distributions share. Case and ``-_.`` do not matter in names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    denied: tuple[str, ...] = Field((), description="distributions that are left out")
    packages: tuple[str, ...] | None = Field(None, description="only these; default: all")
    lock: str | None = Field(None, description="only those that this requirements file names, relative to the checkout")


def normalised_name(name: str) -> str:
    """The name of a distribution by PEP 503: "Foo.Bar_baz" is "foo-bar-baz"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def chosen_distributions(choice: DistributionChoice, path: Sequence[str] | None = None) -> dict[str, Distribution]:
    """Distributions by normalised name, sorted; of one that is found twice the first on the path. ``path`` holds
    site-packages folders (default: ``sys.path``). Raises :class:`ConfigurationError` for a lock that is missing."""
    denied = {normalised_name(name) for name in choice.denied}
    wanted = None if choice.packages is None else {normalised_name(name) for name in choice.packages}
    locked = None if choice.lock is None else _names_in(checkout() / choice.lock)
    found: dict[str, Distribution] = {}
    for distribution in distributions() if path is None else distributions(path=list(path)):
        key = normalised_name(str((distribution.metadata.get_all("Name") or [""])[0]))
        if not key or key in denied or (wanted is not None and key not in wanted):
            continue
        if locked is None or key in locked:
            found.setdefault(key, distribution)
    return dict(sorted(found.items()))


def _names_in(lock: Path) -> set[str]:
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigurationError(f"{lock}: this requirements file is missing") from None
    return {normalised_name(match.group(1)) for line in lines if (match := _REQUIREMENT.match(line))}
