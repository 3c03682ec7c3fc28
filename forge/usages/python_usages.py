"""Calls of public Python APIs in the code of installed distributions: their modules, tests, examples and doctests.

Static: sources are parsed, never imported (:mod:`forge.usages.resolve`). An item is one distribution; of each API that
its code calls the clearest few snippets are kept (:mod:`forge.usages.snippets` says which are clear). Code under a
licence that is not among ``corpus.mix.allowed_licenses`` is not read. Options: :class:`PythonUsagesOptions`.
"""

from __future__ import annotations

import ast
import csv
import doctest
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution
from itertools import accumulate
from math import inf
from pathlib import Path
from urllib.parse import quote

from pydantic import Field

from forge.config import Settings, SourceSettings, source_options
from forge.distributions import DistributionChoice, chosen_distributions, module_name, normalised_name, recorded
from forge.schema import Decision, Item, Usage, content_hash
from forge.text.licenses import is_allowed, license_of_distribution
from forge.usages.libraries import Api, Libraries, Library, read_source
from forge.usages.resolve import UNREADABLE, Code, FoundCall, read_code
from forge.usages.snippets import Cutter, Snippet, cost_of_call, least_cost

STEP = "mine_usages"
_LEFT_OUT = frozenset({"_vendor", "_vendored", "vendor", "vendored", "third_party", "extern", "externals"})
_GENERATED = re.compile(r"(?:_pb2(?:_grpc)?|_generated|parsetab|lextab|_version)\.py$")
_READ_ERRORS = (*UNREADABLE, OSError, UnicodeError)
_SHOWS_USE = re.compile(r"(?:^|/)(?:test|example|tutorial|doc|demo|benchmark|sample|conftest)", re.IGNORECASE)
_MAX_OUTPUT_LINES = 3


class PythonUsagesOptions(DistributionChoice):
    """Options of a source of type ``python_usages``."""

    max_usages: int = Field(3, gt=0, le=20, description="snippets of one API in one item: the clearest")
    max_bytes: int = Field(
        2_000_000, gt=0, description="of one distribution: tests, examples and documentation first, then by a hash"
    )
    max_file_bytes: int = Field(400_000, gt=0, description="larger files are data, or generated")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:
    """One item for each distribution. Its hash covers the files that are read and the versions of all chosen
    distributions, because what a call means depends on them."""
    options = source_options(PythonUsagesOptions, name, source)
    chosen = chosen_distributions(options)
    everything = content_hash(*(f"{key}=={distribution.version}" for key, distribution in chosen.items()))
    for key, distribution in chosen.items():
        stated = source.license or license_of_distribution(distribution)
        files = _python_files(distribution, options)
        if not files or not is_allowed(stated, settings.corpus.mix.allowed_licenses):
            continue
        digest = content_hash(
            everything, stated, str(options.max_usages), *(f"{file.path},{file.digest}" for file in files)
        )
        yield Item(name, key, digest, {"distribution": str(distribution.metadata["Name"]), "license": stated})


@dataclass(frozen=True, slots=True)
class _SourceFile:
    path: str  # below site-packages, with "/"
    digest: str
    size_bytes: int


def _python_files(distribution: Distribution, options: PythonUsagesOptions) -> list[_SourceFile]:
    """The files that are read, in path order."""
    files: list[_SourceFile] = []
    for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        path = row[0].replace("\\", "/") if row else ""
        parts = path.split("/")
        size = int(row[2]) if len(row) > 2 and row[2].isdecimal() else 0
        if not path.endswith(".py") or path.startswith("/") or ".." in parts or _LEFT_OUT & set(parts):
            continue
        if 0 < size <= options.max_file_bytes and not _GENERATED.search(path):
            files.append(_SourceFile(path, row[1], size))
    files.sort(key=lambda file: (_SHOWS_USE.search(file.path) is None, content_hash(file.path)))
    taken = accumulate(file.size_bytes for file in files)
    chosen = [file for file, total in zip(files, taken, strict=True) if total <= options.max_bytes]
    return sorted(chosen, key=lambda file: file.path)


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Usage | Decision]:  # noqa: ARG001
    """The clearest snippets of each API that the distribution calls, in a fixed order; one :class:`Decision`
    for a file that cannot be read or parsed."""
    options = source_options(PythonUsagesOptions, item.source, source)
    distribution = Distribution.from_name(item.locator["distribution"])
    libraries = libraries_of(options)
    root = Path(str(distribution.locate_file("")))
    package_url = f"pkg:pypi/{normalised_name(item.locator['distribution'])}@{quote(distribution.version)}"
    kept = Clearest(options.max_usages)
    for file in _python_files(distribution, options):
        try:
            text = read_source(root / file.path)
            code = read_code(text, module_name(file.path), file.path.endswith("__init__.py"))
        except _READ_ERRORS as error:
            detail = f"{file.path}: {type(error).__name__}: {error}".replace(str(root), "")
            yield Decision(item.source, f"{item.item_id}#{file.path}", STEP, "malformed_source", detail)
            continue
        for usage in usages_in(code, libraries, kept.bound):
            kept.offer(usage, f"{package_url}#{file.path}")
    for usage, uri in kept.chosen():
        yield Usage(
            path=usage.api.names[0],
            names=usage.api.names,
            snippet=usage.text,
            calls=usage.calls,
            score=usage.score,
            license=item.locator["license"],
            source=item.source,
            item_id=item.item_id,
            source_uri=uri,
        )


@lru_cache(maxsize=2)
def libraries_of(options: PythonUsagesOptions) -> Libraries:
    """All chosen distributions. Kept for the next item: a worker parses each module that calls lead to once."""
    found = []
    for distribution in chosen_distributions(options).values():
        known = recorded(distribution)
        if known is not None and known.files:
            found.append(Library(known.root, {module_name(file.path): file.path for file in known.files}))
    return Libraries(found)


@dataclass(frozen=True, slots=True)
class FoundUsage:
    """One snippet for one API. ``calls`` are all APIs that the snippet calls, sorted."""

    api: Api
    text: str
    score: float
    calls: tuple[str, ...]


class Clearest:
    """The few snippets of each API with the lowest score; of equal ones those with the smaller hash of their text."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[str, dict[str, tuple[float, str, FoundUsage, str]]] = {}

    def bound(self, api: Api) -> float:
        """The score that a further snippet of an API must not exceed to be kept."""
        known = self._kept.get(api.identity, {})
        return inf if len(known) < self._count else max(entry[0] for entry in known.values())

    def offer(self, usage: FoundUsage, uri: str) -> None:
        known = self._kept.setdefault(usage.api.identity, {})
        if usage.text in known:
            return
        known[usage.text] = (usage.score, content_hash(usage.text), usage, uri)
        if len(known) > self._count:
            del known[max(known.values(), key=lambda entry: entry[:2])[2].text]

    def chosen(self) -> Iterator[tuple[FoundUsage, str]]:
        for _, known in sorted(self._kept.items()):
            for _, _, usage, uri in sorted(known.values(), key=lambda entry: entry[:2]):
                yield usage, uri


Bound = Callable[[Api], float]


def _no_bound(_: Api) -> float:
    return inf


def usages_in(code: Code, libraries: Libraries, bound: Bound = _no_bound) -> Iterator[FoundUsage]:
    """The usages of a file: of its statements, and of the interactive sessions in its docstrings. ``bound`` says above
    which score a snippet of an API is not wanted."""
    yield from _usages(code, libraries, bound)
    for name, docstring in code.docstrings:
        session = session_of(docstring)
        if session is None:
            continue
        text, outputs = session
        try:
            inner = read_code(text, code.module, outer=code.scope)
        except UNREADABLE:
            continue
        yield from _usages(inner, libraries, bound, f"{code.module}.{name}", outputs)


def session_of(docstring: str) -> tuple[str, dict[int, str]] | None:
    """What is typed in a docstring and does not fail, as one text, and by the line that an example ends on what it
    prints."""
    try:
        examples = doctest.DocTestParser().get_examples(inspect.cleandoc(docstring))
    except ValueError:  # inconsistent indentation or a prompt without a space
        return None
    lines: list[str] = []
    outputs: dict[int, str] = {}
    for example in examples:
        if example.exc_msg is not None:
            continue
        lines += example.source.rstrip("\n").split("\n")
        want = example.want.strip("\n")
        if want and want.count("\n") < _MAX_OUTPUT_LINES and "<BLANKLINE>" not in want:
            outputs[len(lines)] = want
    return ("\n".join(lines), outputs) if lines else None


def _usages(
    code: Code, libraries: Libraries, bound: Bound, shown_by: str = "", outputs: Mapping[int, str] | None = None
) -> Iterator[FoundUsage]:
    """``shown_by``: the object in whose docstring the code stands: its examples are known already."""
    own = libraries.api(shown_by) if shown_by else None
    calls: dict[int, list[str]] = {}
    found: list[tuple[Api, FoundCall]] = []
    for call in code.calls(libraries.result_type):
        api = libraries.api(call.path)
        if api is not None:
            calls.setdefault(id(call.statement.node), []).append(api.names[0])
            if own is None or api.identity != own.identity:
                found.append((api, call))
    cutter = Cutter(code, libraries.importable)
    made: dict[int, Snippet | None] = {}
    for api, call in found:
        if least_cost(call) > bound(api):
            continue
        key = id(call.statement.node)
        if key not in made:
            made[key] = cutter.cut(call)
        snippet = made[key]
        if snippet is not None and _root_name(call.node) not in snippet.free_names:
            named = sorted({name for shown in snippet.shown for name in calls.get(shown, ())})
            text = snippet.text + _printed((outputs or {}).get(call.statement.node.end_lineno or 0, ""))
            yield FoundUsage(api, text, round(snippet.score + cost_of_call(call.node), 2), tuple(named))


def _root_name(call: ast.Call) -> str:
    """The name that the called expression begins with: what the snippet must not leave open."""
    node: ast.expr = call.func
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def _printed(output: str) -> str:
    return "".join(f"\n# {line}".rstrip() for line in output.split("\n")) if output else ""
