"""Doctest sessions that are run: one small package, every verdict."""

from __future__ import annotations

import doctest
from pathlib import Path

import orjson
import pytest

from forge.trajectories.doctests import runnable
from forge.trajectories.executed import Limits, Session, Verdict, verdicts

LIMITS = Limits(seconds=1, memory_bytes=1 << 30)
PACKAGE = """
import json as text_format
import os.path
from ._parts import add

STATE = []
"""
SESSIONS = {
    "verified": ">>> a = 1\n>>> a + 1\n2\n>>> print('x\\n\\ny')\nx\n<BLANKLINE>\ny\n",
    "verified by ellipsis": ">>> list(range(30))\n[0, 1, ...,   29]\n>>> 1\n1\n",
    "verified error": ">>> [].pop()\nTraceback (most recent call last):\nIndexError: pop from empty list\n>>> a = 1\n",
    "verified up to the fence": "```\n>>> 1\n1\n>>> 2\n2\n```\n",
    "verified with imports": ">>> add(1, 2)\n3\n>>> text_format.dumps(a := 1)\n'1'\n>>> demo_run.add(1, 1)\n2\n",
    "verified without imports": ">>> from demo_run import *\n>>> add(1, 2)\n3\n>>> [x for x in 'ab']\n['a', 'b']\n",
    "verified alone, left": ">>> import demo_run\n>>> demo_run.STATE.append(1); demo_run.STATE\n[1]\n>>> seen = 1\n",
    "verified alone, right": ">>> import demo_run\n>>> demo_run.STATE\n[]\n>>> 'seen' in globals()\nFalse\n",
    "verified in an empty folder": ">>> import os\n>>> os.listdir()\n[]\n>>> n = open('x.txt', 'w').write('x')\n",
    "verified without arguments or input": ">>> import sys\n>>> sys.stdin.read()\n''\n>>> __name__\n'__main__'\n",
    "output_differs": ">>> 1 + 1\n3\n>>> 1\n1\n",
    "output_differs where nothing is shown": ">>> 1 + 1\n>>> 1\n1\n",
    "output_differs by an error": ">>> 1 / 0\n1\n>>> 1\n1\n",
    "output_differs by leaving": ">>> import sys\n>>> sys.exit()\n>>> 1\n1\n",
    "output_differs by another error": ">>> 1 / 0\nTraceback (most recent call last):\nKeyError: 0\n>>> 1\n1\n",
    "varies": ">>> import random\n>>> random.random()  # may vary\n2.0\n",
    "module_missing": ">>> import no_such_module_of_anybody\n>>> 1\n1\n",
    "name_missing": ">>> nobody(1)\n1\n>>> 1\n1\n",
    "file_missing": ">>> open('absent.txt')\n>>> 1\n1\n",
    "needs_network": ">>> import urllib.request\n>>> urllib.request.urlopen('http://192.0.2.1/').status\n200\n",
    "needs_program": ">>> import subprocess\n>>> subprocess.run(['true']).returncode\n0\n",
    "needs_program by a fork": ">>> import os\n>>> os.fork() >= 0\nTrue\n",
    "writes_outside": ">>> open('/var/tmp/doctest-of-demo', 'w').write('x')\n1\n>>> 1\n1\n",
    "timed_out": ">>> while True: pass\n>>> 1\n1\n",
    "timed_out asleep": ">>> import time; time.sleep(60)\n>>> 1\n1\n",
    "out_of_memory": ">>> len(bytearray(1 << 32)) > 0\nTrue\n>>> 1\n1\n",
    "crashed": ">>> import ctypes; ctypes.string_at(0)\n>>> 1\n1\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "demo_run").mkdir()
    (folder / "demo_run" / "__init__.py").write_text(PACKAGE)
    (folder / "demo_run" / "_parts.py").write_text("def add(a, b):\n    return a + b\n")
    (folder / "demo_run" / "broken.py").write_text("raise SystemExit('never imported')\n")
    return folder


def _sessions() -> dict[str, Session]:
    found = {name: runnable("demo_run", docstring) for name, docstring in SESSIONS.items()}
    return {name: session for name, session in found.items() if session is not None}


@pytest.fixture(scope="module")
def found(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    sessions = _sessions()
    assert sessions.keys() == SESSIONS.keys()
    home = tmp_path_factory.mktemp("home")
    told = verdicts("demo-run", str(site), list(sessions.values()), LIMITS, home)
    return {name: told[session.key] for name, session in sessions.items()}


@pytest.mark.parametrize("name", SESSIONS)
def test_the_verdict(name: str, found: dict[str, Verdict]) -> None:
    assert found[name].name == name.partition(" ")[0], found[name]
    assert (found[name].detail == "") == (found[name].name == "verified")


def test_what_a_session_takes_for_granted_is_told(found: dict[str, Verdict]) -> None:
    assert found["verified with imports"].preamble == (
        "from demo_run import add",
        "import demo_run",
        "import json as text_format",
    )
    assert {name for name, verdict in found.items() if verdict.preamble} == {"verified with imports"}


def test_the_detail_says_what_came_instead(found: dict[str, Verdict]) -> None:
    assert found["output_differs"].detail == "example 1 prints '2\\n', shown is '3\\n'"
    assert found["output_differs by an error"].detail == (
        "example 1 raises 'ZeroDivisionError: division by zero', shown is '1\\n'"
    )
    assert found["timed_out"].detail == "ended by signal SIGXCPU"
    assert found["crashed"].detail == "ended by signal SIGSEGV"
    assert not Path("/var/tmp/doctest-of-demo").exists()


def test_customary_names(site: Path, tmp_path: Path) -> None:
    session = runnable("demo_run._parts", ">>> np.arange(3)\narray([0, 1, 2])\n>>> add(1, 1)\n2\n")
    assert session is not None
    (told,) = verdicts("demo-run", str(site), [session], Limits(30, 4 << 30), tmp_path).values()
    assert told == Verdict("verified", "", ("from demo_run import add", "import numpy as np"))


def test_skipped_examples_and_broken_prompts() -> None:
    assert runnable("m", ">>> 1\n1\n>>> 2  # doctest: +SKIP\n2\n") is None
    assert runnable("m", ">>>1\n1\n") == Session("m", ())
    session = runnable("m", ">>> f()  # doctest: -ELLIPSIS\na...\n")
    assert session is not None
    assert session.examples[0]["options"] == {str(doctest.ELLIPSIS): False}


def test_verdicts_are_kept_but_for_those_of_a_busy_machine(site: Path, tmp_path: Path) -> None:
    sessions = _sessions()
    chosen = [sessions[name] for name in ("verified with imports", "output_differs", "timed_out", "crashed")]
    first = verdicts("demo-run", str(site), chosen, LIMITS, tmp_path)
    (file,) = (tmp_path / "doctests").iterdir()
    rows = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert sorted(row["verdict"] for row in rows) == ["output_differs", "verified"]
    parts = site / "demo_run" / "_parts.py"
    before = parts.read_text()
    parts.write_text("def add(a, b):\n    return 0\n")  # of one version the code is the same: nobody looks again
    try:
        assert verdicts("demo-run", str(site), chosen[:2], LIMITS, tmp_path) == {
            session.key: first[session.key] for session in chosen[:2]
        }
        elsewhere = verdicts("demo-run", str(site), chosen[:1], LIMITS, tmp_path / "elsewhere")
        assert [verdict.name for verdict in elsewhere.values()] == ["output_differs"]
    finally:
        parts.write_text(before)
    other_limits = verdicts("demo-run", str(site), chosen[:1], Limits(2, 1 << 30), tmp_path)
    assert len(list((tmp_path / "doctests").iterdir())) == 2
    assert [verdict.name for verdict in other_limits.values()] == ["verified"]


def test_a_module_that_ends_its_process_costs_its_own_sessions(site: Path, tmp_path: Path) -> None:
    (site / "demo_run" / "killer.py").write_text("import ctypes\nctypes.string_at(0)\n")
    docstrings = {"demo_run.killer": ">>> 1\n1\n>>> 2\n2\n", "demo_run.broken": ">>> 1\n1\n", "demo_run": ">>> 3\n3\n"}
    sessions = [session for module, text in docstrings.items() if (session := runnable(module, text)) is not None]
    told = verdicts("demo-run", str(site), [*sessions[:1], *sessions], LIMITS, tmp_path)
    assert [told[session.key].name for session in sessions] == ["crashed", "verified", "verified"]


def test_verdicts_do_not_depend_on_the_run(site: Path, tmp_path: Path, found: dict[str, Verdict]) -> None:
    told = {name: verdict for name, verdict in found.items() if verdict.name in {"verified", "output_differs"}}
    sessions = {name: session for name, session in _sessions().items() if name in told}
    order = runnable("demo_run", ">>> import time; time.tzname\n('UTC', 'UTC')\n>>> ''.join(set('abcdef'))\n'x'\n")
    assert order is not None
    again = verdicts("demo-run", str(site), [order, *reversed(sessions.values())], LIMITS, tmp_path)
    assert {name: again[session.key] for name, session in sessions.items()} == told
    once_more = verdicts("demo-run", str(site), [order], LIMITS, tmp_path / "elsewhere")
    assert once_more[order.key] == again[order.key]  # the order of a set is told in its detail
    assert again[order.key].detail.startswith("example 2 prints")
