"""Which installed Python distributions a source takes, and which Python files belong to one.

Taking those that a lock file names, less a denylist, and not whatever is installed, makes a corpus independent of what
else somebody put into the environment.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, distributions
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from forge.config import ConfigurationError, checkout

_TEST_PARTS = frozenset(
    {"tests", "test", "conftest", "_vendor", "_vendored", "vendor", "vendored", "third_party", "extern", "externals"}
)
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


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A Python module (or compiled extension module) of a distribution, as its RECORD states it."""

    path: str  # below site-packages, with "/"
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """The Python files of one distribution as its RECORD lists them, in path order; ``extensions`` are its compiled
    modules. ``metadata`` is its .dist-info. Tests, vendored copies and what is no module are left out of both."""

    root: str
    metadata: str
    files: tuple[RecordedFile, ...]
    extensions: tuple[RecordedFile, ...]

    def groups(self, split_bytes: int) -> dict[str, list[RecordedFile]]:
        """Files by sub-package of the largest top-level package ("nn"; "" for what lies directly in it) and by further
        top-level packages; all in "" when the distribution is small. A sub-package of many times the size is divided
        again, by the first letter of the next part ("models/b*")."""
        if sum(file.size_bytes for file in self.files) <= split_bytes:
            return {"": list(self.files)}
        sizes: dict[str, int] = {}
        for file in self.files:
            top = file.path.split("/", 1)[0]
            sizes[top] = sizes.get(top, 0) + file.size_bytes
        main = max(sorted(sizes), key=lambda top: sizes[top])
        folders = [tuple(file.path.split("/")[:-1]) for file in self.files]
        inside = [folder for folder in folders if folder and folder[0] == main]
        common = 0
        while inside and all(len(folder) > common and folder[common] == inside[0][common] for folder in inside):
            common += 1
        groups: dict[str, list[RecordedFile]] = {}
        for file, folder in zip(self.files, folders, strict=True):
            level = common if folder and folder[0] == main else 0
            groups.setdefault(folder[level] if len(folder) > level else "", []).append(file)
        for name in [
            name for name, files in groups.items() if name and sum(f.size_bytes for f in files) > 4 * split_bytes
        ]:
            for file in groups.pop(name):
                rest = file.path.split("/")[common + 1 :]
                part = f"{name}/{rest[0][0]}*" if len(rest) > 1 else name
                groups.setdefault(part, []).append(file)
        return groups


def recorded(distribution: Distribution, with_tests: bool = False) -> Recorded | None:
    """None for a distribution without RECORD (one in development)."""
    text = distribution.read_text("RECORD")
    if text is None:
        return None
    files: list[RecordedFile] = []
    extensions: list[RecordedFile] = []
    metadata = ""
    for row in csv.reader(text.splitlines()):
        path = row[0].replace("\\", "/") if row else ""
        if path.endswith(".dist-info/RECORD") and path.count("/") == 1:  # vendored distributions have one, too
            metadata = path.removesuffix("/RECORD")
        suffix = next((end for end in (".py", *EXTENSION_SUFFIXES) if path.endswith(end)), None)
        if suffix is None or path.startswith(("../", "/")) or not _is_module(path.removesuffix(suffix)):
            continue
        if suffix == ".so" and path.rpartition("/")[2].startswith("lib"):
            continue  # a library that extension modules load
        if not with_tests and _is_of_others(path.removesuffix(suffix)):
            continue
        size = row[2] if len(row) > 2 else ""
        file = RecordedFile(path, row[1] if len(row) > 1 else "", int(size) if size.isdecimal() else 0)
        (files if suffix == ".py" else extensions).append(file)
    root = str(distribution.locate_file(""))
    return Recorded(
        root,
        str(Path(root) / metadata),
        tuple(sorted(files, key=lambda file: file.path)),
        tuple(sorted(extensions, key=lambda file: file.path)),
    )


def _is_module(path: str) -> bool:
    return all(map(str.isidentifier, path.split("/")))


def _is_of_others(path: str) -> bool:
    """Whether a module is a test or a vendored copy."""
    return any(
        part in _TEST_PARTS or part.startswith("test_") or part.endswith(("_test", "_tests"))
        for part in path.split("/")
    )


def module_name(path: str) -> str:
    """``a/b/__init__.py`` -> ``a.b``; ``a/c.py`` and ``a/c.abi3.so`` -> ``a.c``."""
    *folders, file = path.split("/")
    name = file.split(".", 1)[0]
    return ".".join(folders if name == "__init__" and folders else [*folders, name])
