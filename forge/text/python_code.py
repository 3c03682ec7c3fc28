"""Python source files of installed distributions under a permissive licence. An item is one distribution.

Options: :class:`PythonCodeOptions`. Tests, vendored copies and generated files are left out, and so are distributions
whose licence is unknown or not among ``corpus.mix.allowed_licenses``: the cap would else go to files that `mix` drops.

Over all distributions at most ``corpus.code_max_bytes`` are taken: files in the order of a hash of (distribution,
path), so that what is chosen does not depend on names, and another distribution changes little of it.
"""

from __future__ import annotations

import csv
import json
import re
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from importlib.util import decode_source
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from pydantic import Field

from forge.config import Settings, SourceSettings, source_options
from forge.distributions import DistributionChoice, chosen_distributions
from forge.schema import Decision, Item, Text, content_hash
from forge.text.licenses import is_allowed, license_of_distribution

STEP = "read_texts"
MAX_LINE_BYTES = 2000
# fmt: off
_LEFT_OUT_PARTS = frozenset({
    "tests", "test", "testing", "conftest", "_vendor", "_vendored", "vendor", "vendored", "third_party", "thirdparty",
    "extern", "externals", "node_modules", "bundled", "generated", "_generated", "migrations",
})
# fmt: on
_GENERATED_NAME = re.compile(r"(?:_pb2(?:_grpc)?|_generated|_gen|parsetab|lextab|_version)\.py$")
_GENERATED_HEAD = re.compile(
    rb"(?:@generated|do not (?:edit|modify)|auto-?generated|(?:code|file) (?:was |is )?(?:automatically )?generated)",
    re.IGNORECASE,
)
_HEAD_BYTES = 1000


class PythonCodeOptions(DistributionChoice):
    """Options of a source of type ``python_code``."""

    max_file_bytes: int = Field(200_000, gt=0, description="larger files are data, or generated")
    min_file_bytes: int = Field(300, ge=0, description="smaller files teach nothing")


@dataclass(frozen=True, slots=True)
class _SourceFile:
    distribution: str
    path: str  # below site-packages, with "/"
    digest: str
    size_bytes: int

    @property
    def rank(self) -> str:
        return content_hash("python_code", self.distribution, self.path)


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item for each distribution of which at least one file is taken. Reads RECORD files, and of the sources only
    those that the cap lets in."""
    options = source_options(PythonCodeOptions, name, source)
    known: dict[str, tuple[Distribution, str]] = {}
    candidates: list[_SourceFile] = []
    for key, distribution in chosen_distributions(options, _search_path()).items():
        stated = source.license or license_of_distribution(distribution)
        if not is_allowed(stated, settings.corpus.mix.allowed_licenses):
            continue
        known[key] = (distribution, stated)
        candidates.extend(_files_of(key, distribution, options))
    chosen: dict[str, list[_SourceFile]] = defaultdict(list)
    taken_bytes = 0
    for file in sorted(candidates, key=lambda file: file.rank):
        if taken_bytes + file.size_bytes > settings.corpus.code_max_bytes:
            break
        if _is_generated(Path(str(known[file.distribution][0].locate_file(file.path)))):
            continue
        taken_bytes += file.size_bytes
        chosen[file.distribution].append(file)
    for key, files in sorted(chosen.items()):
        distribution, stated = known[key]
        files.sort(key=lambda file: file.path)
        yield Item(
            source=name,
            item_id=key,
            content_hash=content_hash(distribution.version, stated, *(f"{file.path},{file.digest}" for file in files)),
            locator={
                "root": str(distribution.locate_file("")),
                "version": distribution.version,
                "license": stated,
                "paths": json.dumps([file.path for file in files]),
            },
        )


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Text | Decision]:  # noqa: ARG001
    """The chosen files of a distribution, in path order. Reasons: missing_file, too_large,
    unknown_encoding."""
    options = source_options(PythonCodeOptions, item.source, source)
    root = Path(item.locator["root"])
    package_url = f"pkg:pypi/{item.item_id}@{quote(item.locator['version'])}"
    for path in json.loads(item.locator["paths"]):
        code = _read(root / path, options.max_file_bytes)
        if isinstance(code, tuple):
            yield Decision(item.source, f"{item.item_id}#{path}", STEP, *code)
            continue
        yield Text(
            kind="code",
            uri=f"{package_url}#{quote(path)}",
            title=path,
            text=code,
            license=item.locator["license"],
            language="python",
            source=item.source,
            item_id=item.item_id,
        )


def _search_path() -> list[str]:
    return sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def _files_of(key: str, distribution: Distribution, options: PythonCodeOptions) -> Iterator[_SourceFile]:
    record = distribution.read_text("RECORD")
    if record is None:  # one in development: its files are not what was published
        return
    for row in csv.reader(record.splitlines()):
        if len(row) < 3 or not row[2].isdecimal():
            continue
        path, size = row[0].replace("\\", "/"), int(row[2])
        if options.min_file_bytes <= size <= options.max_file_bytes and _is_taken(path):
            yield _SourceFile(key, path, row[1], size)


def _is_taken(path: str) -> bool:
    if not path.endswith(".py") or path.startswith("/") or _GENERATED_NAME.search(path):
        return False
    parts = PurePosixPath(path).parts
    return ".." not in parts and not any(
        part in _LEFT_OUT_PARTS or part.startswith("test_") or part.endswith(("_test", "_test.py", "_tests"))
        for part in (*parts, PurePosixPath(path).stem)
    )


def _read(path: Path, max_bytes: int) -> str | tuple[str, str]:
    """The decoded source, or (reason, detail)."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        return "missing_file", type(error).__name__
    if len(content) > max_bytes:
        return "too_large", f"more than {max_bytes} bytes"
    try:
        code = decode_source(content)  # by its coding line, as Python itself reads it
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        return "unknown_encoding", f"{type(error).__name__}"
    if "\0" in code:
        return "unknown_encoding", "NUL characters"
    return code


def _is_generated(path: Path) -> bool:
    """By what the file's head says, or by a line that nobody would write. A file that cannot be read is left to
    :func:`read_item`, which says so."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    if _GENERATED_HEAD.search(content, 0, _HEAD_BYTES):
        return True
    return max(map(len, content.splitlines()), default=0) > MAX_LINE_BYTES
