"""Two ranks under the real agent of torchrun: whose exit code the launcher ends with, and how the ranks are asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RANK = """
import os, signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: (asked.append(1), signal.signal(signal.SIGTERM, signal.SIG_DFL)))
os.write(1, " ".join(["rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], *sys.argv[1:], "\\n"]).encode())
what, *codes = sys.argv[1:]
if what == "kill" and os.environ["RANK"] == "1":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "end":
    raise SystemExit(int(codes[int(os.environ["RANK"])]))
while not asked:
    time.sleep(0.05)
time.sleep(0.5)  # a second SIGTERM would end it here
os.write(1, f"saved {os.environ['RANK']}\\n".encode())
raise SystemExit(75)
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "a_rank.py").write_text(RANK)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins"), str(folder)]),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "forge_airflow.ranks", "--processes", "2", "a_rank", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["end", "0", "0"], 0),
        (["end", "75", "75"], 75),
        (["end", "3", "3"], 3),
        (["end", "0", "78"], 78),
        (["kill"], 128 + signal.SIGKILL),
    ],
)
def test_the_exit_code_is_that_of_the_rank_that_failed_first(tmp_path: Path, arguments: list[str], code: int) -> None:
    process = start(tmp_path, *arguments)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    said = {f"rank {rank} of 2 {' '.join(arguments)} " for rank in (0, 1)}
    assert set(output.splitlines()) & said, "the other may be ended before it can say anything"
    assert (f"ended first, with {-9 if code == 137 else code}" in errors) == (code != 0)


def test_sigterm_asks_each_rank_once_and_its_code_counts(tmp_path: Path) -> None:
    process = start(tmp_path, "wait")
    assert process.stdout is not None
    said = [process.stdout.readline(), process.stdout.readline()]
    assert all("of 2 wait" in line for line in said)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert sorted(output.split()) == ["0", "1", "saved", "saved"]


def test_a_command_is_needed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "forge_airflow.ranks", "--processes", "2"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "a module are needed" in done.stderr
