from __future__ import annotations

import json
import subprocess
import sys

from forge.config import checkout
from training.heartbeat import Heartbeat


def test_a_beat_says_where_the_stage_is(tmp_path):
    heartbeat = Heartbeat(tmp_path / "heartbeat.json", 60.0)
    heartbeat.beat("I", 3, 1)
    heartbeat.stop()
    written = json.loads((tmp_path / "heartbeat.json").read_text())
    assert (written["stage"], written["step"], written["micro_batch"]) == ("I", 3, 1)


def test_a_process_that_stalls_says_where_and_ends(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from training.heartbeat import Heartbeat\n"
        "heartbeat = Heartbeat(Path(sys.argv[1]), 0.5)\n"
        "heartbeat.beat('I', 1, 0)\n"
        "def waits_for_ever(): time.sleep(60)\n"
        "waits_for_ever()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "heartbeat.json")],
        check=False, capture_output=True, text=True, timeout=30, cwd=checkout(),
    )  # fmt: skip
    assert done.returncode == 1
    assert "waits_for_ever" in done.stderr
