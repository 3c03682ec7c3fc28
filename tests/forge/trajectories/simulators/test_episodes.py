from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from forge.config import Settings
from forge.trajectories.simulators import episodes as module
from forge.trajectories.simulators.episodes import SimulatorError, episodes


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "script.py"


def run(settings: Settings, script: Path, *arguments: str, timeout_seconds: float = 20) -> list[dict[str, object]]:
    return list(episodes(settings, "demo", "r1", sys.executable, str(script), arguments, timeout_seconds))


def test_runs_once_and_keeps_the_lines(settings: Settings, script: Path) -> None:
    script.write_text(
        'import sys, os\nprint(\'{"a": "%s", "seed": "%s"}\' % (sys.argv[1], os.environ[\'PYTHONHASHSEED\']))'
    )
    assert run(settings, script, "x") == [{"a": "x", "seed": "0"}]
    script.write_text("raise SystemExit(3)")
    assert run(settings, script, "x") == [{"a": "x", "seed": "0"}]
    assert [file.name for file in (settings.home_path / "simulators").iterdir()] == ["demo-r1.jsonl"]


def test_the_environment_is_not_passed_on(settings: Settings, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    script.write_text("import os, json; print(json.dumps(dict(os.environ)))")
    (line,) = run(settings, script)
    assert "AWS_SECRET_ACCESS_KEY" not in line


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; print('half', flush=True); sys.exit('broken pump')", "exit status 1: broken pump"),
        ("import time; print('{}', flush=True); time.sleep(60)", "no end within 1 s"),
        ("while True: print('x' * 10_000)", "printed more than"),
    ],
)
def test_a_failing_run_leaves_nothing(
    settings: Settings, script: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    monkeypatch.setattr(module, "MAX_OUTPUT_BYTES", 1_000_000)
    script.write_text(program)
    before = psutil.Process().children(recursive=True)
    with pytest.raises(SimulatorError, match=message):
        run(settings, script, timeout_seconds=1)
    assert list((settings.home_path / "simulators").iterdir()) == []
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_an_absent_interpreter_is_an_error(settings: Settings, script: Path) -> None:
    with pytest.raises(SimulatorError, match="/nonexistent: No such file"):
        list(episodes(settings, "demo", "r1", "/nonexistent", str(script), (), 5))


def test_nothing_survives_a_killed_parent(settings: Settings, script: Path, tmp_path: Path) -> None:
    """The child, and a grandchild that reads the child's pipe as the Java simulator does."""
    script.write_text(
        "import subprocess, sys, time\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=subprocess.PIPE)\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{inner.pid}}\\n')\n"
        "time.sleep(120)\n"
    )
    program = (
        "from forge.config import load_settings\n"
        "from forge.trajectories.simulators.episodes import episodes\n"
        "import sys\n"
        "home, script = sys.argv[1:]\n"
        "settings = load_settings('demo', environment={}).model_copy(update={'home': home})\n"
        "list(episodes(settings, 'demo', 'r1', sys.executable, script, (), 100))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "home"), str(script)])
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text().endswith("\n"):
            assert time.monotonic() < deadline, "the script did not start"
            time.sleep(0.05)
        inside = psutil.Process(parent.pid).children(recursive=True)
        assert len(inside) == 2
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(inside, timeout=10)
    assert alive == []
