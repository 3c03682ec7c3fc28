"""Public functions, classes and methods of installed Python distributions, from their docstrings.

Sources are read and parsed by griffe, never imported. An item is one distribution; one with much code is divided into
one item a sub-package, so that several workers share it. Each object is described once, under the shortest public path
that its distribution exports it by: ``torch.nn.Linear``, not ``torch.nn.modules.linear.Linear``.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution
from importlib.util import decode_source
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from pydantic import Field

from forge.apis.python_entities import described_entity
from forge.apis.python_exports import Exports, is_public, module_name
from forge.artifacts import artifact_path
from forge.config import Settings, SourceSettings, source_options
from forge.distributions import DistributionChoice, chosen_distributions, normalised_name
from forge.schema import ApiEntity, Decision, Item, content_hash
from forge.text.licenses import license_of_distribution

STEP = "parse_apis"
READER_VERSION = "1"
"""Part of every content hash: raise it when this module makes something else of the same files."""

_MAX_FILE_BYTES = 4_000_000
_TEST_PARTS = frozenset(
    {"tests", "test", "conftest", "_vendor", "_vendored", "vendor", "vendored", "third_party", "extern", "externals"}
)


class PythonPackagesOptions(DistributionChoice):
    """Options of a source of type ``python_packages``."""

    folder: str | None = Field(None, description="another site-packages folder; below the artifact where one is named")
    split_bytes: int = Field(
        3_000_000, gt=0, description="a distribution with more Python code is divided into several items"
    )


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a distribution ("requests") or sub-package of a large one ("torch/nn"; "torch" is then what lies
    directly in it). All items of a distribution share one hash: of its RECORD's Python files and its metadata."""
    options = source_options(PythonPackagesOptions, name, source)
    items: list[Item] = []
    for distribution in chosen_distributions(options, _search_path(source, options, settings)).values():
        recorded = _recorded(distribution)
        if recorded is None or not recorded.files:
            continue
        stated = source.license or license_of_distribution(distribution)
        digest = content_hash(
            READER_VERSION,
            distribution.version,
            stated,
            str(options.split_bytes),
            *(f"{file.path},{file.digest},{file.size_bytes}" for file in recorded.files),
        )
        own_name = str(distribution.metadata["Name"])
        for group in sorted(recorded.groups(options.split_bytes)):
            locator = {
                "metadata": recorded.metadata,
                "group": group,
                "split_bytes": str(options.split_bytes),
                "license": stated,
            }
            items.append(Item(name, f"{own_name}/{group}" if group else own_name, digest, locator))
    yield from sorted(items, key=lambda item: item.item_id)


def _search_path(source: SourceSettings, options: PythonPackagesOptions, settings: Settings) -> list[str]:
    if source.artifact is not None:
        base = artifact_path(settings, source.artifact)
        if base is None:
            raise FileNotFoundError(f"artifact {source.artifact!r} is not unpacked")
        return [str(base / options.folder) if options.folder else str(base)]
    if options.folder is not None:
        return [options.folder]
    import sysconfig

    return sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


@dataclass(frozen=True, slots=True)
class RecordedFile:
    path: str  # below site-packages, with "/"
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """The Python files of one distribution as its RECORD lists them, in path order. ``metadata`` is its .dist-info."""

    root: str
    metadata: str
    files: tuple[RecordedFile, ...]

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
        folders = [PurePosixPath(file.path).parent.parts for file in self.files]
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
                rest = PurePosixPath(file.path).parts[common + 1 :]
                part = f"{name}/{rest[0][0]}*" if len(rest) > 1 else name
                groups.setdefault(part, []).append(file)
        return groups


def _recorded(distribution: Distribution) -> Recorded | None:
    """None for a distribution without RECORD (one in development). Test, vendored and hidden files are left out."""
    text = distribution.read_text("RECORD")
    if text is None:
        return None
    files: list[RecordedFile] = []
    metadata = ""
    for row in csv.reader(text.splitlines()):
        path = row[0].replace("\\", "/") if row else ""
        if path.endswith(".dist-info/RECORD") and path.count("/") == 1:  # vendored distributions have one, too
            metadata = path.removesuffix("/RECORD")
        if not path.endswith(".py") or path.startswith(("../", "/")) or ".." in PurePosixPath(path).parts:
            continue
        if not _is_read(path):
            continue
        size = row[2] if len(row) > 2 else ""
        files.append(RecordedFile(path, row[1] if len(row) > 1 else "", int(size) if size.isdecimal() else 0))
    root = str(distribution.locate_file(""))
    return Recorded(root, str(Path(root) / metadata), tuple(sorted(files, key=lambda file: file.path)))


def _is_read(path: str) -> bool:
    parts = PurePosixPath(path).with_suffix("").parts
    return not any(
        part in _TEST_PARTS
        or part.startswith("test_")
        or part.endswith(("_test", "_tests", "-stubs"))
        or not part.isidentifier()
        for part in parts
    )


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:  # noqa: ARG001
    """Every public callable with a docstring; one :class:`Decision` for a module that cannot be parsed."""
    distribution = Distribution.at(item.locator["metadata"])
    recorded = _recorded(distribution)
    files = recorded.groups(int(item.locator["split_bytes"])).get(item.locator["group"], []) if recorded else []
    if recorded is None or not files:
        yield Decision(item.source, item.item_id, STEP, "missing_item", "the distribution's RECORD lists no such files")
        return
    exports = exports_of(recorded.root, tuple(file.path for file in recorded.files))
    name, version = str(distribution.metadata["Name"]), distribution.version
    package_url = f"pkg:pypi/{normalised_name(name)}@{quote(version)}"
    seen: set[str] = set()
    for file in files:
        module = module_name(file.path)
        if not exports.may_show(module):
            continue
        try:
            code = _read_source(Path(recorded.root) / file.path)
            tree = (
                visit(module, Path(recorded.root) / file.path, code)
                if '"""' in code or "'''" in code or 'r"' in code
                else None
            )
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError, UnicodeError) as error:
            detail = f"{type(error).__name__}: {error}".replace(recorded.root, "")
            yield Decision(item.source, f"{item.item_id}#{module}", STEP, "malformed_source", detail)
            continue
        if tree is None:
            continue
        for path, kind, described in _described_objects(tree, module, exports):
            if path in seen:
                continue
            seen.add(path)
            yield described_entity(
                described,
                ApiEntity(
                    provider="python",
                    service=normalised_name(name),
                    name=path,
                    version=version,
                    entity_type=kind,
                    summary="",
                    description="",
                    parameters={},
                    returns={},
                    license=item.locator["license"],
                    source=item.source,
                    item_id=item.item_id,
                    source_uri=f"{package_url}#{file.path}",
                ),
            )


def _read_source(path: Path) -> str:
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"the file has more than {_MAX_FILE_BYTES} bytes")
    return decode_source(path.read_bytes())


def visit(module: str, path: Path, code: str) -> Any:
    """griffe's tree of one module. Raises SyntaxError, ValueError, RecursionError for what Python cannot parse."""
    import griffe

    logging.getLogger("griffe").setLevel(logging.CRITICAL)  # it reports every annotation that it cannot resolve

    package, _, last = module.rpartition(".")
    parent = None
    for part in package.split(".") if package else ():
        parent = griffe.Module(part, filepath=path.parent / "__init__.py", parent=parent)
    return griffe.visit(last, path, code, parent=parent)


@lru_cache(maxsize=2)
def exports_of(root: str, paths: tuple[str, ...]) -> Exports:
    """What the packages of a distribution export (one pass over its ``__init__.py`` files; kept for its next item)."""
    exports = Exports()
    for path in paths:
        exports.add_module(module_name(path))
        if path.endswith("__init__.py"):
            try:
                code = _read_source(Path(root) / path)
                if "import" in code:
                    exports.add_package(visit(module_name(path), Path(root) / path, code))
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError, UnicodeError):
                continue  # the module itself is read, and rejected, by its own item
    return exports


def _described_objects(tree: Any, module: str, exports: Exports) -> Iterator[tuple[str, str, Any]]:
    """(public path, entity type, griffe object) of the module's documented functions, classes and methods."""
    listed = frozenset(str(entry) for entry in tree.exports or ())
    for name, member in tree.members.items():
        if member.is_alias or member.kind.value not in {"function", "class"}:
            continue
        path = exports.public_path(module, name, listed)
        if path is None:
            continue
        yield from _with_members(member, path, "function" if member.kind.value == "function" else "class")


def _with_members(member: Any, path: str, kind: str) -> Iterator[tuple[str, str, Any]]:
    if member.docstring is not None and member.docstring.value.strip():
        yield path, kind, member
    if member.kind.value != "class":
        return
    for name, inner in member.members.items():
        if inner.is_alias or not is_public(name):
            continue
        if inner.kind.value == "function":
            yield from _with_members(inner, f"{path}.{name}", "method")
        elif inner.kind.value == "class":
            yield from _with_members(inner, f"{path}.{name}", "class")
