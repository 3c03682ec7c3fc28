"""Doctest sessions in the docstrings of installed distributions: Python typed at a prompt, and what it printed (an item
is one distribution).

Static by default: the source is parsed, never imported. One docstring is one session, because doctest runs it as one.
The task is the object's name and the first sentence of its docstring; prose between examples is what is said before the
next input.

With the option ``execute`` sessions are run (:mod:`forge.trajectories.executed`). One that prints what it shows is a
success, of reward 1; the imports that it takes for granted become its first steps. One that prints something else would
teach what is not so: it is rejected (``output_differs``). One of which nothing can be said, because it skips an example
or needs what is not here, stays as it is, its outcome unknown; a decision ``not_executed`` counts these by reason.
Options: :class:`DoctestOptions`.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import Distribution
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import Field

from forge.config import Settings, SourceSettings, source_options
from forge.distributions import DistributionChoice, chosen_distributions
from forge.schema import Decision, Item, Step, ToolCall, Trajectory, content_hash
from forge.trajectories.checks import check
from forge.trajectories.executed import DIFFERS, VERIFIED, Limits, Session, Verdict, run_hash, verdicts

MAX_FILE_BYTES = 2_000_000
MAX_EXAMPLES = 200
TOOL: Mapping[str, Any] = {
    "name": "python",
    "description": "Runs code in an interactive Python session, which keeps its state, and returns what it prints.",
    "parameters": {
        "type": "object",
        "properties": {"code": {"type": "string", "description": "One statement or expression."}},
        "required": ["code"],
    },
}
_STEP = "parse_trajectories"
_DIRECTIVE = re.compile(r"[ \t]*#[ \t]*doctest:[^\n]*")
_PRINTS = re.compile(rb"^[ \t]*(?:>>>|\.\.\.)[^\n]*\n[ \t]*(?!>>>|\.\.\.[ \n]|```|\"{3}|'{3})\S", re.MULTILINE)
"""A prompt with something printed below it: two in five of the files with prompts have none and need no parsing."""
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_SECTION_LINE = re.compile(
    r"^\s*(?:[=\-~^*\"]{3,}|\.\.\s.*|:{1,2}|>|(?:examples?|usage|doctests?):{0,2})\s*$", re.IGNORECASE
)
_TEST_FOLDERS = frozenset({"tests", "test", "testing", "_vendor", "vendor", "vendored"})


class DoctestOptions(DistributionChoice):
    """Options of a source of type ``doctests``."""

    max_sessions: int = Field(
        400, gt=0, strict=True, description="sessions of one distribution: those of the smallest hash"
    )
    execute: bool = Field(
        False, description="run the sessions, in processes of their own, and keep none that prints something else. Off "
        "by default: it runs the distributions' code"
    )  # fmt: skip
    execute_seconds: int = Field(10, gt=0, le=300, description="how long one session may run")
    execute_memory_bytes: int = Field(4 * 1024**3, gt=0, description="address space of one session")


def list_items(name: str, source: SourceSettings, settings: Settings) -> Iterator[Item]:  # noqa: ARG001
    """One item per installed distribution that has Python files, by normalised name. Raises
    :class:`ConfigurationError` for options of the wrong kind."""
    options = source_options(DoctestOptions, name, source)
    for key, distribution in chosen_distributions(options).items():
        record = distribution.read_text("RECORD")
        if not record or ".py," not in record:  # compiled or editable: nothing that names the files
            continue
        hash_of_files = content_hash(distribution.version, _record_of_sources(record), str(options.max_sessions))
        if options.execute:
            hash_of_files = content_hash(hash_of_files, run_hash())
        yield Item(name, key, hash_of_files, {"distribution": distribution.metadata["Name"]})


def read_item(item: Item, source: SourceSettings, settings: Settings) -> Iterator[Trajectory | Decision]:
    """The distribution's sessions of at least two examples of which one prints something, sorted by their hash."""
    from forge.text.licenses import license_of_distribution

    options = source_options(DoctestOptions, item.source, source)
    distribution = Distribution.from_name(item.locator["distribution"])
    spdx = source.license or license_of_distribution(distribution)
    sessions: dict[str, tuple[Trajectory, Session | None]] = {}
    for file in sorted(distribution.files or (), key=str):
        if file.suffix != ".py" or _TEST_FOLDERS & set(file.parts) or file.parts[0] == "..":
            continue
        path = Path(str(distribution.locate_file(file)))
        found = _docstrings(path)
        if isinstance(found, str):
            yield Decision(item.source, f"{item.item_id}#{file}", _STEP, found)
            continue
        module = ".".join(part for part in file.with_suffix("").parts if part != "__init__")
        for name, docstring in found:
            session = session_of(f"{module}.{name}" if name else module, docstring, item, spdx)
            if session is not None and session.trajectory_id not in sessions:
                sessions[session.trajectory_id] = session, runnable(module, docstring) if options.execute else None
    usable: list[tuple[Trajectory, Session | None]] = []
    for _, (session, runs) in sorted(sessions.items())[: options.max_sessions]:
        problem = check(session)
        if problem is None:
            usable.append((session, runs))
        else:
            yield _rejected(session, problem.reason, problem.detail)
    if options.execute:
        limits = Limits(options.execute_seconds, options.execute_memory_bytes)
        runnable_ones = [runs for _, runs in usable if runs is not None]
        root = str(distribution.locate_file(""))
        yield from _judged(usable, verdicts(item.item_id, root, runnable_ones, limits, settings.home_path))
    else:
        yield from (session for session, _ in usable)


def _rejected(session: Trajectory, reason: str, detail: str) -> Decision:
    part = f"{session.item_id}#{session.environment.removeprefix('python/')}#{session.trajectory_id[:8]}"
    return Decision(session.source, part, _STEP, reason, detail)


# --- execution ----------------------------------------------------------------------------------------------------


def runnable(module: str, docstring: str) -> Session | None:
    """What doctest would run of a docstring; None when it would skip an example."""
    examples = [part for part in _parts(docstring) or () if isinstance(part, doctest.Example)]
    if any(example.options.get(doctest.SKIP) for example in examples):
        return None
    return Session(
        module,
        tuple(
            {
                "source": example.source,
                "want": _unfenced(example.want),
                "error": example.exc_msg,
                "options": {str(flag): value for flag, value in example.options.items()},
            }
            for example in examples
        ),
    )


def _judged(
    sessions: Sequence[tuple[Trajectory, Session | None]], found: Mapping[str, Verdict]
) -> Iterator[Trajectory | Decision]:
    reasons: Counter[str] = Counter()
    for session, runs in sessions:
        verdict = Verdict("skips_examples") if runs is None else found[runs.key]
        if verdict.name == VERIFIED:
            steps = (session.steps[0], *_imports(verdict.preamble), *session.steps[1:])
            yield replace(session, steps=steps, outcome="success", reward=1.0)
        elif verdict.name == DIFFERS:
            yield _rejected(session, DIFFERS, f"{session.task.partition(':')[0]}: {verdict.detail}")
        else:
            reasons[verdict.name] += 1
            yield session
    if reasons:
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        first = sessions[0][0]
        detail = f"{reasons.total()} of {len(sessions)} sessions are kept with an unknown outcome: {told}"
        yield Decision(first.source, f"{first.item_id}#execution", _STEP, "not_executed", detail)


def _imports(preamble: Sequence[str]) -> Iterator[Step]:
    for line in preamble:
        yield Step("assistant", calls=(ToolCall("python", {"code": line}),))
        yield Step("tool", "")


# --- one docstring ------------------------------------------------------------------------------------------------


def session_of(qualified_name: str, docstring: str, item: Item, spdx: str) -> Trajectory | None:
    """The session of one docstring; None when it holds fewer than two examples or none that prints."""
    if ">>>" not in docstring:
        return None
    text = inspect.cleandoc(docstring)
    parts = _parts(docstring)
    if parts is None:
        return None
    examples = [part for part in parts if isinstance(part, doctest.Example)]
    if not 2 <= len(examples) <= MAX_EXAMPLES or not any(_observation(example.want) for example in examples):
        return None
    steps = [Step("user", _task(qualified_name, text))]
    said = ""
    for index, part in enumerate(parts):
        if isinstance(part, str):
            # what stands before the first example is the docstring's description; the task names it already
            said = _prose(part) if any(isinstance(earlier, doctest.Example) for earlier in parts[:index]) else ""
            continue
        code = _DIRECTIVE.sub("", part.source).rstrip()
        if not code:
            continue
        steps.extend(
            (
                Step("assistant", said or None, calls=(ToolCall("python", {"code": code}),)),
                Step("tool", _observation(part.want), error=(part.exc_msg or "").strip() or None),
            )
        )
        said = ""
    return Trajectory(
        task=_task(qualified_name, text),
        tools=(TOOL,),
        steps=tuple(steps),
        outcome="unknown",
        reward=None,
        environment=f"python/{item.item_id}",
        license=spdx,
        generator="human",
        source=item.source,
        item_id=item.item_id,
        episode=qualified_name,
    )


def _parts(docstring: str) -> list[str | doctest.Example] | None:
    """Prose and examples in turn; None for inconsistent indentation or a prompt without a space: prose that only looks
    like a session."""
    try:
        return doctest.DocTestParser().parse(inspect.cleandoc(docstring))
    except ValueError:
        return None


def _task(qualified_name: str, docstring: str) -> str:
    """``numpy.linalg.norm: Matrix or vector norm.``"""
    first = docstring.split(">>>", 1)[0].split("\n\n", 1)[0]
    sentence = " ".join(first.split())
    return f"{qualified_name}: {sentence}" if sentence and len(sentence) <= 500 else qualified_name


def _observation(want: str) -> str:
    """What the example prints; ``<BLANKLINE>`` is the empty line it means."""
    lines = ("" if line.strip() == "<BLANKLINE>" else line.rstrip() for line in _unfenced(want).splitlines())
    return "\n".join(lines).strip("\n")


def _unfenced(want: str) -> str:
    """What the example prints, up to a code fence that closes there."""
    return "".join(takewhile(lambda line: not _FENCE.match(line), want.splitlines(keepends=True)))


def _prose(text: str) -> str:
    """The prose before an example, without markup lines and without the code fences that open and close around it."""
    lines = [line.strip() for line in text.splitlines() if not _FENCE.match(line) and not _SECTION_LINE.match(line)]
    paragraphs = [" ".join(part.split()) for part in "\n".join(lines).split("\n\n")]
    return "\n".join(part for part in paragraphs if part)[:2000]


def _docstrings(path: Path) -> list[tuple[str, str]] | str:
    """(qualified name inside the module, docstring) of every object of a file whose docstring has a prompt; or why the
    file cannot be read."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return "oversized"
        data = path.read_bytes()
    except OSError:
        return "unreadable_file"
    if not _PRINTS.search(data):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "not_python"
    found: list[tuple[str, str]] = []
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        name, node = stack.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node, clean=False)
            if docstring and ">>>" in docstring:
                found.append((name, docstring))
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                stack.append((f"{name}.{child.name}" if name else child.name, child))
            elif isinstance(child, (ast.If, ast.Try, ast.With)):
                stack.append((name, child))
    return found


def _record_of_sources(record: str) -> str:
    """The lines of RECORD that name Python sources with their hashes: paths of the machine stay out of it."""
    return "\n".join(sorted(line for line in record.splitlines() if ".py,sha256=" in line))
