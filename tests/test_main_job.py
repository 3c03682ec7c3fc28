"""The main job through a real Airflow, on a miniature of the demo's configuration: killed once, then run to its end.

`pytest -m slow tests/test_main_job.py` kills it again and again, at moments of its own choosing.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from forge.config import Settings, load_settings
from forge.lake import Lake
from forge.release import NoRelease, Release, release_of, releases
from forge.report import funnel_error
from forge_airflow.instance import instance_processes, stop_watchdogs, sweep

pytestmark = pytest.mark.airflow
ROOT = Path(__file__).resolve().parents[1]
NIGHT = "2026-11-21"
DEMO = [sys.executable, "-m", "forge_airflow.local", "demo"]


@dataclass(frozen=True)
class Miniature:
    """A small configuration and home of its own."""

    conf: Path
    home: Path
    environment: dict[str, str]

    @property
    def settings(self) -> Settings:
        return load_settings("demo", conf=self.conf, environment={})

    @property
    def lake(self) -> Lake:
        return Lake.of(self.settings)

    def start(self) -> subprocess.Popen[bytes]:
        log = (self.home / "demo.log").open("ab")
        return subprocess.Popen(
            DEMO, env=self.environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def log(self) -> str:
        return (self.home / "demo.log").read_text(errors="replace")

    def progress(self) -> list[dict[str, Any]]:
        path = self.home / "progress" / f"{NIGHT}.jsonl"
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def release(self) -> Release | None:
        try:
            return release_of(self.lake)
        except NoRelease:
            return None


def miniature(folder: Path) -> Miniature:
    artifacts = load_settings("demo", environment={}).home_path / "artifacts"
    if not (artifacts / "smollm2").is_dir():
        pytest.skip("the artifacts are not unpacked: run python -m forge.artifacts")
    conf, home = folder / "conf", folder / "home"
    shutil.copytree(ROOT / "conf", conf)
    home.mkdir()
    (home / "artifacts").symlink_to(artifacts)
    few = {"packages": ["click", "more-itertools"]}
    sources = yaml.safe_load((conf / "sources.yaml").read_text())
    options = {
        "aws_service_models": {"services": ["sqs", "sts"]},
        "python_docstrings": few,
        "python_doctests": few,
        "python_sources": few,
        "sqlalchemy_docs": sources["sqlalchemy_docs"]["options"],
        "wikipedia_slice": sources["wikipedia_slice"]["options"],
    }
    chosen = {name: {**sources[name], "options": found} for name, found in options.items()}
    chosen["sqlalchemy_docs"]["max_rejected_share"] = 1.0  # pages beyond the small page limit count as rejected
    (conf / "sources.yaml").write_text(yaml.safe_dump(chosen))
    stage = {"tokens": 1024, "sequence_tokens": 512, "batch_tokens": 1024, "learning_rate": 1e-4}
    stages = {name: stage | {"replay_share": 0.0} for name in ("I", "II", "III")}
    profile = {
        "home": str(home),
        "lake": {"root": str(home / "lake")},
        "corpus": {
            "crawl": {"private_hosts": ["127.0.0.1"], "delay_seconds": 0.0, "max_pages_per_host": 12, "rounds": 2},
            "retrieve": {"max_seed_documents": 20},
        },
        "training": {"approval": False, "precision": "fp32", "stages": stages},
        "evaluation": {
            "tasks": ["bfcl_loss", "held_out_loss", "arc_easy", "bfcl"], "probe_items": 2,
            "items": {"bfcl_loss": 2, "arc_easy": 2, "bfcl": 1}, "held_out_documents_per_kind": 1,
            "held_out_max_tokens": 128, "generation_max_new_tokens": 8, "promotion": {"require_resolved": False},
        },
    }  # fmt: skip
    (conf / "profiles" / "demo.yaml").write_text(yaml.safe_dump(profile))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FORGE", "AIRFLOW"))}
    environment = {**kept, "FORGE_CONF": str(conf), "FORGE_PARTITION": NIGHT, "HF_HUB_OFFLINE": "1"}
    return Miniature(conf, home, environment)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Miniature]:
    made = miniature(tmp_path)
    yield made
    stop_watchdogs(made.home)
    sweep(made.home)


def kill_everything(small: Miniature, demo: subprocess.Popen[bytes]) -> None:
    """`kill -9` of every process, as somebody at a terminal would do it: twice, for those that started meanwhile."""
    for _ in range(2):
        for identity in instance_processes(small.home):
            try:
                os.kill(identity.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    demo.kill()
    demo.wait(30)


def wait_until_gone(small: Miniature, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while instance_processes(small.home) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not instance_processes(small.home)


def run_to_its_end(small: Miniature, timeout_seconds: float) -> None:
    demo = small.start()
    code = demo.wait(timeout_seconds)
    assert code == 0, small.log()[-6000:]
    wait_until_gone(small)


def check(small: Miniature) -> Release:
    """What must hold of a finished main job, however often it was killed."""
    published = releases(small.lake)
    assert len(published) == 1
    release = published[0]
    assert [funnel_error(step) for step in release.report["funnel"]] == [0] * len(release.report["funnel"])
    assert all(release.report["documents"][kind] > 0 for kind in ("api_doc", "trajectory", "code", "text"))
    assert all(gate["passed"] is not False for gate in release.gates)
    ids = small.lake.read("corpus", ["doc_id"])["doc_id"].to_pylist()
    assert len(ids) == len(set(ids)) == sum(file.rows for file in release.files)
    checkpoints = {row["checkpoint"] for row in small.lake.read("evaluations", ["checkpoint"]).to_pylist()}
    assert checkpoints == {"base", "I", "II", "III"}
    return release


@pytest.mark.model
@pytest.mark.spark
@pytest.mark.timeout(900)
def test_the_main_job_is_killed_and_finishes(small: Miniature) -> None:
    demo = small.start()
    deadline = time.monotonic() + 300
    while not any(entry["job"] == "render" for entry in small.progress()):
        assert demo.poll() is None, small.log()[-6000:]
        assert time.monotonic() < deadline, small.log()[-6000:]
        time.sleep(0.5)
    demo.kill()  # the group leader alone: the rest must go by itself
    demo.wait(30)
    wait_until_gone(small)
    assert small.release() is None
    run_to_its_end(small, 700)
    check(small)
    log = small.log()
    assert release_of(small.lake).release_id in log


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.spark
@pytest.mark.timeout(7200)
def test_kills_at_any_moment_end_in_the_same_release(tmp_path: Path) -> None:
    draw = random.Random(int(os.environ.get("FORGE_KILL_SEED", "1")))
    undisturbed, killed = miniature(tmp_path / "one"), miniature(tmp_path / "two")
    run_to_its_end(undisturbed, 1200)
    wanted = check(undisturbed)
    for trial in range(int(os.environ.get("FORGE_KILLS", "6"))):
        demo = killed.start()
        time.sleep(draw.uniform(5, 60))
        if trial % 2:
            demo.kill()
            demo.wait(30)
        else:
            kill_everything(killed, demo)
        wait_until_gone(killed)
    run_to_its_end(killed, 1200)
    found = check(killed)
    assert found.release_id == wanted.release_id
    assert [file.sha256 for file in found.files] == [file.sha256 for file in wanted.files]
