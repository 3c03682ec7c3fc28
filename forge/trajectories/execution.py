"""Runs doctest sessions and says whether they print what they show: a process of its own, started by
:mod:`forge.trajectories.executed`, because running them runs third-party code.

Standard library and :mod:`forge.sandbox` only: what this process imports besides is the distribution's. Standard input
holds one JSON object: ``sessions`` (each ``module`` and ``examples``: ``source``, ``want``, ``error``, ``options``),
``root`` (site-packages), ``seconds`` of one session and ``memory_bytes``. Lines on standard output: ``{"started": 0}``
before each session, then ``{"session": 0, "verdict": ..., "detail": ..., "preamble": [...]}``.

Sessions are judged by doctest's own runner and checker, ELLIPSIS and NORMALIZE_WHITESPACE on, as projects that test
their docstrings have them. Modules are imported here once; each session runs in a fork of its own, in an empty folder
and an empty namespace, so that none sees what another did. A session may use names that its docstring takes for
granted: those of its module, and ``np`` and its like. The imports that it needs (``preamble``) are run, and told, as
part of it.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import doctest
import importlib
import json
import os
import re
import resource
import signal
import sys
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from forge.sandbox import (
    FORK_EVENT,
    NETWORK_EVENTS,
    PROGRAM_EVENTS,
    die_with_parent,
    limit,
    refusing,
    refusing_to_write,
)

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST
_CUSTOMARY: Mapping[str, str] = {
    "np": "numpy",
    "nx": "networkx",
    "pa": "pyarrow",
    "pd": "pandas",
    "pl": "polars",
    "plt": "matplotlib.pyplot",
    "sp": "scipy",
}
"""Names that documentation takes for granted."""
_NEVER_IMPORTED = frozenset({"__main__", "antigravity", "conftest", "setup", "this"})
_VARIES = re.compile(r"#\s*(?:may vary|random)\b", re.IGNORECASE)
"""How numpy's documentation marks output that is different each time."""
_IMPORTING_SECONDS = 300
PATIENCE = 3
"""Seconds on the clock for each second of processor time: a busy machine decides nothing."""
_SHOWN_CHARACTERS = 150
_READ_BYTES = 65_536

Verdict = dict[str, Any]


def main() -> None:
    request = json.load(sys.stdin)
    sessions = request["sessions"]
    limit(_IMPORTING_SECONDS, request["memory_bytes"])
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what imported code prints is no answer
        os.dup2(nothing, descriptor)
    if request["root"] not in sys.path:
        sys.path.append(request["root"])
    refusals = _Refusals()
    sys.addaudithook(refusing(NETWORK_EVENTS | PROGRAM_EVENTS, refusals.add))
    sys.addaudithook(refusing_to_write(".", refusals.add))
    warnings.simplefilter("ignore")
    for number, session in enumerate(sessions):
        print(json.dumps({"started": number}), file=output, flush=True)
        for module in [session["module"], *_imported(session)]:
            _import(module)
        verdict = _forked(session, Path(str(number)), request["seconds"], refusals)
        print(json.dumps({"session": number, **verdict}), file=output, flush=True)
    output.close()
    os._exit(0)  # threads and exit handlers of what was imported have no business here


def _import(module: str) -> types.ModuleType | None:
    if _NEVER_IMPORTED & set(module.split(".")):
        return None
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit):  # noqa: BLE001 - third-party code; the session meets it again
        return None


# --- one session --------------------------------------------------------------------------------------------------


class _Refusals:
    """What the audit hooks refused in the session that runs here. Who wants the network gets no second chance: many
    would try again and again, and wait in between."""

    def __init__(self) -> None:
        self.reason = ""
        self.answer: int | None = None

    def add(self, event: str) -> None:
        self.reason = self.reason or _REFUSALS.get(event, "needs_program")
        if event in NETWORK_EVENTS and self.answer is not None:
            _answer(self.answer, _verdict(self.reason, event))


_REFUSALS: Mapping[str, str] = {**dict.fromkeys(NETWORK_EVENTS, "needs_network"), "write": "writes_outside"}


def _forked(session: Mapping[str, Any], folder: Path, seconds: int, refusals: _Refusals) -> Verdict:
    """The verdict of a session that a fork of this process runs."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        refusals.reason, refusals.answer = "", writing
        with contextlib.suppress(BaseException):
            _answer(writing, _confined(session, folder, seconds, refusals))
        os._exit(1)
    os.close(writing)
    told = b""
    while chunk := os.read(reading, _READ_BYTES):
        told += chunk
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        ending = signal.Signals(os.WTERMSIG(status))
        is_late = ending in {signal.SIGALRM, signal.SIGXCPU}
        return _verdict("timed_out" if is_late else "crashed", f"ended by signal {ending.name}")
    try:
        verdict: Verdict = json.loads(told)
    except ValueError:
        return _verdict("crashed", "ended without a verdict")
    return verdict


def _answer(writing: int, verdict: Verdict) -> NoReturn:
    os.write(writing, json.dumps(verdict).encode())
    os._exit(0)


def _verdict(name: str, detail: str = "", preamble: Sequence[str] = ()) -> Verdict:
    return {"verdict": name, "detail": detail, "preamble": list(preamble)}


def _confined(session: Mapping[str, Any], folder: Path, seconds: int, refusals: _Refusals) -> Verdict:
    die_with_parent()
    folder.mkdir()
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    signal.setitimer(signal.ITIMER_REAL, seconds * PATIENCE)
    sys.addaudithook(refusing(frozenset({FORK_EVENT}), refusals.add))
    preamble = _preamble(session)
    first = [doctest.Example(f"{line}\n", "") for line in preamble]
    shown = [
        doctest.Example(
            example["source"],
            example["want"],
            exc_msg=example["error"],
            options={int(flag): value for flag, value in example["options"].items()},
        )
        for example in session["examples"]
    ]
    runner = _Runner(len(first), refusals)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    runner.run(doctest.DocTest([*first, *shown], namespace, "session", None, 0, None), out=lambda _: None)
    return _verdict("verified", preamble=preamble) if runner.failure is None else _verdict(*runner.failure)


class _Runner(doctest.DocTestRunner):
    """Keeps why the first example that fails does."""

    def __init__(self, preceding: int, refusals: _Refusals) -> None:
        super().__init__(optionflags=FLAGS, verbose=False)
        self.failure: tuple[str, str] | None = None
        self._refusals = refusals
        self._number = -preceding

    def report_start(self, *_arguments: object) -> None:
        self._number += 1

    def report_success(self, *_arguments: object) -> None:
        pass

    def report_failure(self, _out: object, _test: object, example: doctest.Example, got: str) -> None:
        printed = got.rstrip().rpartition("\n")[2] if got.startswith("Traceback (most recent call last):\n") else got
        self._fail(example, "output_differs", f"prints {_shortened(printed)}")

    def report_unexpected_exception(self, _out: object, _test: object, example: doctest.Example, exc_info: Any) -> None:
        error = exc_info[1]
        self._fail(example, _reason(error), f"raises {_shortened(f'{type(error).__name__}: {error}')}")

    def _fail(self, example: doctest.Example, reason: str, what: str) -> None:
        if self._refusals.reason:
            reason = self._refusals.reason
        elif self._number <= 0:
            reason = "module_missing"
        elif _VARIES.search(example.source) or _VARIES.search(example.want):
            reason = "varies"
        where = f"example {self._number}" if self._number > 0 else "its imports"
        self.failure = (reason, f"{where} {what}, shown is {_shortened(example.exc_msg or example.want)}")


def _reason(error: BaseException) -> str:
    for kind, reason in (
        (ImportError, "module_missing"),
        (NameError, "name_missing"),
        (FileNotFoundError, "file_missing"),
        (MemoryError, "out_of_memory"),
    ):
        if isinstance(error, kind):
            return reason
    return "output_differs"


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")


# --- names that a session takes for granted -----------------------------------------------------------------------


def _preamble(session: Mapping[str, Any]) -> list[str]:
    """Imports of the names that a session uses and never binds, from its module or by custom; sorted by name."""
    names = _free_names(session)
    module = _import(session["module"]) if names else None
    return [line for name in sorted(names) if (line := _import_of(name, module))]


def _import_of(name: str, module: types.ModuleType | None) -> str:
    """ "" for a name that neither the module nor custom knows."""
    missing = object()
    value = getattr(module, name, missing) if module is not None else missing
    is_private = isinstance(value, types.ModuleType) and "._" in value.__name__
    if name in _CUSTOMARY and (value is missing or is_private):  # pl: polars._reexport
        return f"import {_CUSTOMARY[name]} as {name}"
    if isinstance(value, types.ModuleType) and sys.modules.get(value.__name__) is value:
        return f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")
    if module is not None and value is not missing:
        top = sys.modules[module.__name__.partition(".")[0]]
        owner = top if getattr(top, name, missing) is value else module
        return f"from {owner.__name__} import {name}"
    is_own = module is not None and name == module.__name__.partition(".")[0]
    return f"import {name}" if is_own else ""


def _free_names(session: Mapping[str, Any]) -> set[str]:
    """Names that are read and nowhere bound, builtins left out."""
    read: set[str] = set()
    bound = set(dir(builtins))
    for node in _nodes(session):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read.add(node.id)
        else:
            bound.update(_bound_by(node))
    return read - bound


def _imported(session: Mapping[str, Any]) -> Iterator[str]:
    """The modules that a session imports: here once, and not in each fork again."""
    for node in _nodes(session):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _nodes(session: Mapping[str, Any]) -> Iterator[ast.AST]:
    for example in session["examples"]:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError):  # an example of an error
            yield from ast.walk(ast.parse(example["source"]))


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        yield from (node.name,) if node.name else ()
    elif isinstance(node, ast.Import):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            if alias.name == "*":
                yield from dir(_import(node.module or ""))
            else:
                yield alias.asname or alias.name


if __name__ == "__main__":
    main()
