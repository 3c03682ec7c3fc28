"""What is said about machine and code is what they are, and names nobody."""

from __future__ import annotations

import getpass
import platform
import socket
import subprocess
from pathlib import Path

import orjson
import torch

from forge.config import checkout
from training.environment import code_version, hardware


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_and_whether_the_code_differs_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "notes").write_text("not of the repository")
    found = code_version(tmp_path)
    assert (found["commit"], found["modified"]) == (git(tmp_path, "rev-parse", "HEAD"), False)
    (tmp_path / "code.py").write_text("2\n")
    assert code_version(tmp_path)["modified"]


def test_without_a_repository_of_its_own_no_commit_is_claimed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-qm", "somebody else's", "--allow-empty")
    inside = tmp_path / "installed"
    inside.mkdir()
    found = code_version(inside)
    assert (found["commit"], found["modified"]) == (None, None)
    assert found["package"]


def test_hardware_names_devices_and_libraries_but_no_one() -> None:
    found = hardware()
    assert found["python"] == platform.python_version()
    assert found["libraries"]["torch"] == torch.__version__
    assert found["device_kind"] == ("cuda" if torch.cuda.is_available() else found["device_kind"])
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    text = orjson.dumps(found).decode()
    for private in (socket.gethostname(), str(checkout()), getpass.getuser() + "@"):
        assert private not in text
