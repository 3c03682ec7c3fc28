"""What a distribution documents when it is imported, put together with what its source says.

Importing completes what no source shows: members of compiled modules, docstrings that decorators write, names that a
package assembles. It happens in a process of its own (:mod:`forge.apis.inspection`) with bounded time, processor time,
memory and output; of a process that fails nothing is used, and one decision tells.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from forge.apis.docstring_signatures import split_signature
from forge.apis.python_exports import path_rank
from forge.apis.python_objects import Parameter, PythonObject, is_public
from forge.distributions import Recorded, module_name
from forge.sandbox import ending_of, running
from forge.schema import Decision, Item

STEP = "parse_apis"
Placed = tuple[str, str, PythonObject]
"""Public path, file below site-packages, and the object, whose ``name`` says where it is defined."""

_NEVER_IMPORTED = frozenset({"setup", "conftest", "antigravity", "this"})


@dataclass(frozen=True, slots=True)
class Inspection:
    """The bounds of one importing process."""

    seconds: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """What the process said. ``problem`` is "" when it came to its end, else why not and where."""

    objects: tuple[Placed, ...]
    failed: tuple[tuple[str, str], ...]
    problem: str


def inspected_objects(
    item: Item, known: Recorded, static: Iterable[Placed | Decision], limits: Inspection
) -> Iterator[Placed | Decision]:
    """What the source says, completed by what importing shows: an object that both know keeps its source's signature;
    its docstring is the one that it has at run time, its path the one that :func:`path_rank` prefers."""
    report = inspect_distribution(known, limits)
    if report.problem:
        yield Decision(item.source, f"{item.item_id}#inspection", STEP, "inspection_failed", report.problem)
    for module, error in report.failed:
        detail = error.replace(known.root, "")
        yield Decision(item.source, f"{item.item_id}#{module}", STEP, "module_not_importable", detail)
    by_path = {path: placed for placed in report.objects for path in [placed[0]]}
    by_definition = {placed[2].name: placed for placed in report.objects}
    used: set[str] = set()
    for entry in static:
        if isinstance(entry, Decision):
            yield entry
            continue
        path, file, described = entry
        same = by_path.get(path) or by_definition.get(described.name)
        if same is None:
            yield entry
        elif same[0] not in used:
            used.add(same[0])
            yield _better_path(path, same[0], described), file, _completed(described, same[2])
    yield from (placed for placed in report.objects if placed[0] not in used)


def _better_path(path: str, imported: str, described: PythonObject) -> str:
    own_name = described.name.rpartition(".")[2]
    return min(path, imported, key=lambda found: path_rank(found, own_name))


def _completed(described: PythonObject, imported: PythonObject) -> PythonObject:
    if described.docstring == imported.docstring or not imported.docstring:
        return described
    return replace(described, docstring=imported.docstring)


# --- the process --------------------------------------------------------------------------------------------------


def inspect_distribution(known: Recorded, limits: Inspection) -> Report:
    """Imports the public modules of an installed distribution in a fresh interpreter and reads what it documents."""
    modules = public_modules(known)
    request = {
        "modules": modules,
        "tops": sorted({name.split(".", 1)[0] for name in map(module_name, _paths(known))}),
        "root": known.root,
        "seconds": limits.seconds,
        "memory_bytes": limits.memory_bytes,
    }
    command = [sys.executable, "-s", "-P", "-m", "forge.apis.inspection"]
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as answers:
        with running(command, home, stdout=answers) as process:
            try:
                process.communicate(json.dumps(request).encode(), timeout=limits.seconds)
                ending = "" if process.returncode == 0 else ending_of(process.returncode)
            except subprocess.TimeoutExpired:
                ending = f"not done after {limits.seconds} s"
        answers.seek(0)
        return _report(answers, ending, known)


def public_modules(known: Recorded) -> list[str]:
    """Names of the distribution's public modules, packages before what lies in them."""
    names = {module_name(path) for path in _paths(known)}
    public = [name for name in names if all(map(is_public, name.split("."))) and _may_be_imported(name)]
    return sorted(public, key=lambda name: (name.count("."), name))


def _may_be_imported(name: str) -> bool:
    return name.rpartition(".")[2] not in _NEVER_IMPORTED


def _paths(known: Recorded) -> list[str]:
    return [file.path for file in (*known.files, *known.extensions)]


def _report(answers: Any, ending: str, known: Recorded) -> Report:
    objects: list[Placed] = []
    failed: list[tuple[str, str]] = []
    importing = ""
    is_done = False
    files = {module_name(path): path for path in _paths(known)}
    for raw in answers:
        try:
            line = json.loads(raw)
        except ValueError:
            break  # the process was ended while it wrote
        if "object" in line:
            objects.append(_placed(line["object"], files))
        elif "failed" in line:
            failed.append((line["failed"], line["error"]))
        elif "importing" in line:
            importing = line["importing"]
        is_done = is_done or "done" in line
    if is_done and not ending:
        return Report(tuple(objects), tuple(failed), "")
    where = f" while importing {importing}" if importing and not objects else ""
    return Report((), tuple(failed), (ending or "ended early") + where)


def _placed(told: dict[str, Any], files: Mapping[str, str]) -> Placed:
    path, kind = told["path"], told["kind"]
    parameters = told["parameters"]
    signature = split_signature(told["docstring"], path.rpartition(".")[2]) if kind != "attribute" else None
    described = PythonObject(
        name=path,
        kind=kind,
        docstring=told["docstring"],
        parameters=() if kind == "attribute" else None if parameters is None else _parameters(parameters),
        returns=told["returns"],
        constructor_docstring=told["constructor_docstring"],
    )
    if signature is not None:
        described = replace(described, docstring=signature.rest)
        if parameters is None:
            described = replace(
                described,
                parameters=signature.parameters,
                returns=signature.returns,
                declaration="" if signature.parameters is not None else signature.text,
            )
    file = told["file"]
    if file:
        described = replace(described, name=f"{module_name(file)}.{told['definition']}")
    return path, file or _file_of(path, files), described


def _parameters(told: list[list[str | None]]) -> list[Parameter]:
    return [Parameter(name or "", annotation or "", default) for name, annotation, default in told]


def _file_of(path: str, files: Mapping[str, str]) -> str:
    """The file of the innermost module that the public path goes through."""
    while path and path not in files:
        path = path.rpartition(".")[0]
    return files.get(path, "")
