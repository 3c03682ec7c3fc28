"""Public functions, classes, methods and attributes of installed Python distributions, from their docstrings.

Sources are parsed; what the option ``inspect`` names is imported, too (:mod:`forge.apis.inspected`).
An item is one distribution; one with much code is divided into one item a sub-package, so that several workers share
it. Each object is described once, under the shortest public path that its distribution exports it by:
``torch.nn.Linear``, not ``torch.nn.modules.linear.Linear``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.metadata import Distribution
from importlib.util import decode_source
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, field_validator

from forge.apis.inspected import Inspection, inspected_objects
from forge.apis.python_entities import described_entity
from forge.apis.python_exports import Exports
from forge.apis.python_objects import PythonObject
from forge.apis.python_source import ModuleSource, parse_module
from forge.artifacts import artifact_path
from forge.config import ConfigurationError, Settings, SourceSettings, source_options
from forge.distributions import (
    DistributionChoice,
    Recorded,
    RecordedFile,
    chosen_distributions,
    module_name,
    normalised_name,
    recorded,
)
from forge.schema import ApiEntity, Decision, Item, content_hash
from forge.text.licenses import license_of_distribution

STEP = "parse_apis"
READER_VERSION = "2"
"""Part of every content hash: raise it when this module makes something else of the same files."""

_MAX_FILE_BYTES = 4_000_000
_MAX_TOKENS = 1_000_000
"""Outside of long strings: the tree of more may take 1 GiB. The largest client of an SDK has a third of it."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LONG_STRING = re.compile(r'""".*?"""|\'\'\'.*?\'\'\'', re.DOTALL)
_UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError, UnicodeError)
_PASSES_ON = re.compile(r"^from\s[^\n]*\bimport\s*\*", re.MULTILINE)
_DOCUMENTED = re.compile(r"(?:\"\"\"|'''|^[ \t]*[rRuU]?[\"'])", re.MULTILINE)
"""A triple quote, or a line that begins with a string: without one a file has no docstring but on the line of its
``def``."""


class PythonPackagesOptions(DistributionChoice):
    """Options of a source of type ``python_packages``."""

    folder: str | None = Field(None, description="another site-packages folder; below the artifact where one is named")
    split_bytes: int = Field(
        3_000_000, gt=0, description="a distribution with more Python code is divided into several items"
    )
    modules: tuple[str, ...] | None = Field(
        None,
        description="globs of the dotted names of modules that are read (`*_client`), tests or not; default: all but "
        "tests",
    )
    version_part: str | None = Field(
        None,
        description="regular expression of a module's part that is a version (`v\\d{8}`): left out of names, and the "
        "version of what lies below",
    )
    inspect: tuple[str, ...] = Field(
        (),
        description="distributions of the running environment whose public API is read by importing it, too, in a "
        "process of its own. Off by default: importing runs their code",
    )
    inspect_seconds: int = Field(180, gt=0, description="how long one distribution may be imported")
    inspect_memory_bytes: int = Field(8 * 1024**3, gt=0, description="address space of the importing process")

    @field_validator("version_part")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value

    def imports(self, distribution: str) -> bool:
        return normalised_name(distribution) in {normalised_name(name) for name in self.inspect}


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item a distribution ("requests") or sub-package of a large one ("torch/nn"; "torch" is then what lies
    directly in it; one that is imported is never divided). All items of a distribution share one hash: of its RECORD's
    Python files and its metadata."""
    options = source_options(PythonPackagesOptions, name, source)
    if options.inspect and (source.artifact is not None or options.folder is not None):
        raise ConfigurationError(f"sources.yaml: sources.{name}.options.inspect: only what is installed is imported")
    items: list[Item] = []
    for distribution in chosen_distributions(options, _search_path(source, options, settings)).values():
        files = recorded(distribution, with_tests=options.modules is not None)
        if files is None or not files.files:
            continue
        own_name = str(distribution.metadata["Name"])
        is_imported = options.imports(own_name)
        stated = source.license or license_of_distribution(distribution)
        counted = (*files.files, *files.extensions) if is_imported else files.files
        digest = content_hash(
            READER_VERSION,
            distribution.version,
            stated,
            str(options.split_bytes),
            "imported" if is_imported else "",
            *(f"{file.path},{file.digest},{file.size_bytes}" for file in counted),
        )
        for group in sorted({""} if is_imported else files.groups(options.split_bytes)):
            locator = {
                "metadata": files.metadata,
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
            raise ConfigurationError(f"artifact {source.artifact!r} is not unpacked")
        return [str(base / options.folder) if options.folder else str(base)]
    if options.folder is not None:
        return [options.folder]
    import sysconfig

    return sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[ApiEntity | Decision]:  # noqa: ARG001
    """Every public object with a docstring; one :class:`Decision` for a module that cannot be parsed."""
    options = source_options(PythonPackagesOptions, item.source, source)
    metadata = item.locator["metadata"]
    distribution = Distribution.at(metadata)
    known = _recorded_at(metadata, _record_stamp(metadata), options.modules is not None)
    if known is None:
        yield Decision(item.source, item.item_id, STEP, "missing_item", "the distribution has no RECORD")
        return
    name = str(distribution.metadata["Name"])
    is_imported = options.imports(name)
    files = list(known.files) if is_imported else known.groups(options.split_bytes).get(item.locator["group"], [])
    if not files:
        yield Decision(item.source, item.item_id, STEP, "missing_item", "the distribution's RECORD lists no such files")
        return
    bare = ApiEntity(
        provider="python",
        service=normalised_name(name),
        name="",
        version=distribution.version,
        entity_type="",
        summary="",
        description="",
        parameters={},
        returns={},
        license=item.locator["license"],
        source=item.source,
        item_id=item.item_id,
        source_uri=f"pkg:pypi/{normalised_name(name)}@{quote(distribution.version)}",
    )
    found = _public_objects(item, known, _chosen(files, options))
    if is_imported:
        limits = Inspection(options.inspect_seconds, options.inspect_memory_bytes)
        found = inspected_objects(item, known, found, limits)
    version_part = re.compile(options.version_part) if options.version_part else None
    seen: set[tuple[str, str]] = set()
    for entry in found:
        if isinstance(entry, Decision):
            yield entry
            continue
        path, file, described = entry
        here = replace(bare, name=path, source_uri=f"{bare.source_uri}#{file}")
        if version_part is not None:
            here = _without_version(here, version_part)
        if (here.name, here.version) not in seen:
            seen.add((here.name, here.version))
            yield described_entity(described, here)


def _chosen(files: list[RecordedFile], options: PythonPackagesOptions) -> list[RecordedFile]:
    if options.modules is None:
        return files
    return [file for file in files if any(fnmatchcase(module_name(file.path), pattern) for pattern in options.modules)]


def _without_version(entity: ApiEntity, version_part: re.Pattern[str]) -> ApiEntity:
    parts = entity.name.split(".")
    versions = [part for part in parts if version_part.fullmatch(part)]
    if not versions:
        return entity
    return replace(entity, name=".".join(part for part in parts if part not in versions), version=versions[0])


def _record_stamp(metadata: str) -> int:
    try:
        return (Path(metadata) / "RECORD").stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=2)  # a worker reads several items of one distribution; the time tells another version of it
def _recorded_at(metadata: str, stamp: int, with_tests: bool) -> Recorded | None:  # noqa: ARG001
    return recorded(Distribution.at(metadata), with_tests)


def _public_objects(
    item: Item, known: Recorded, files: list[RecordedFile]
) -> Iterator[tuple[str, str, PythonObject] | Decision]:
    """(public path, file, object) of what the files document. The object's ``name`` holds its module, too."""
    exports = _exports_of(known)
    for file in files:
        module = module_name(file.path)
        if not exports.may_show(module):
            continue
        try:
            source = _parsed(known.root, file.path)
        except _UNREADABLE as error:
            detail = f"{file.path}: {type(error).__name__}: {error}".replace(known.root, "")
            yield Decision(item.source, f"{item.item_id}#{module}", STEP, "malformed_source", detail)
            continue
        if source is None:
            continue
        for name in source.members:
            path = exports.public_path(module, name, source.listed)
            if path is None:
                continue
            for described in source.objects(name):
                yield (
                    path + described.name[len(name) :],
                    file.path,
                    replace(described, name=f"{module}.{described.name}"),
                )


def _parsed(root: str, path: str) -> ModuleSource | None:
    """None for a file without docstrings."""
    code = _read_source(Path(root) / path)
    if not _DOCUMENTED.search(code):
        return None
    return parse_module(module_name(path), code, path.endswith("__init__.py"))


def _read_source(path: Path) -> str:
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"the file has more than {_MAX_FILE_BYTES:,} bytes")
    code = decode_source(path.read_bytes())
    if len(code) > _MAX_TOKENS and sum(1 for _ in _TOKEN.finditer(_LONG_STRING.sub("", code))) > _MAX_TOKENS:
        raise ValueError(f"the file has more than {_MAX_TOKENS:,} tokens of code")
    return code


@lru_cache(maxsize=2)
def _exports_of(known: Recorded) -> Exports:
    """What the modules of a distribution export: its packages (``__init__.py``), and private modules that pass on what
    others define. Kept for the distribution's next item."""
    exports = Exports()
    for file in known.files:
        module = module_name(file.path)
        exports.add_module(module)
        is_package = file.path.endswith("__init__.py")
        if not is_package and "._" not in module:
            continue
        try:
            code = _read_source(Path(known.root) / file.path)
            if ("import" in code) if is_package else _PASSES_ON.search(code):
                exports.add_imports(parse_module(module, code, is_package), is_package)
        except _UNREADABLE:
            continue  # the module itself is read, and rejected, by its own item
    return exports
