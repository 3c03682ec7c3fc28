"""The commands as processes: SIGTERM gives a checkpoint and exit 75, the next start goes on; death with the parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from forge.config import checkout
from training.process import EXIT_STOPPED


@pytest.fixture
def published(tmp_path, published_release, command_variables):
    """A release, the environment of the commands, one of them, and where it leaves its run."""
    environment = {**os.environ, "PYTHONPATH": str(checkout()), **command_variables(120)}
    command = [sys.executable, "-m", "training.pretrain", "--release", "current", "--stage", "I", "--profile", "demo"]
    return published_release, environment, command, tmp_path / "home"


def metrics_of(home: Path) -> list[dict]:
    found = list(home.glob("runs/*/metrics.jsonl"))
    return [json.loads(line) for path in found for line in path.read_text().splitlines() if line.endswith("}")]


def wait_until(condition, timeout_seconds=240.0):
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_sigterm_saves_a_checkpoint_and_the_same_command_goes_on_to_the_end(published):
    release, environment, command, home = published
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(metrics_of(home)) > 3 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == EXIT_STOPPED, errors
    assert f"release {release.release_id}" in output
    stopped_at = metrics_of(home)[-1]["step"]
    assert [path.name for path in home.glob("runs/*/checkpoints/*")] == [f"I-{stopped_at:06d}"]
    again = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
    assert f"goes on after step {stopped_at}" in again.stdout
    steps = [entry["step"] for entry in metrics_of(home)]
    assert steps == list(range(1, len(steps) + 1))
    third = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=240)
    assert third.returncode == 0
    assert "is finished" in third.stdout


def test_a_missing_release_or_stage_is_one_clear_line(published):
    _, environment, command, _ = published
    for changed, message in (
        ([*command[:4], "ffff", *command[5:]], "release 'ffff'"),
        ([sys.executable, "-m", "training.finetune", "--profile", "demo"], "starts from stage II"),
        ([sys.executable, "-m", "training.evaluate", "--checkpoint", "I"], "stage I is not trained yet"),
    ):
        done = subprocess.run(changed, check=False, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 78
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_process_ends_with_its_parent():
    child = (
        "import time; from training.process import die_with_parent; die_with_parent(); "
        "print('up', flush=True); time.sleep(60)"
    )
    parent = textwrap.dedent(
        f"""
        import os, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, start_new_session=True)
        child.stdout.readline()
        print(child.pid, flush=True)
        os.kill(os.getpid(), 9)
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(checkout())}
    done = subprocess.run(
        [sys.executable, "-c", parent], check=False, env=environment, capture_output=True, text=True, timeout=60
    )
    pid = int(done.stdout)

    def is_gone():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    wait_until(is_gone, 10)
