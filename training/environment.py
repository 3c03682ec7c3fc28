"""Where and by what a stage was trained: devices, machine, libraries, the version of this code.

Nothing is said that was not found out: what is unknown is None. No host names, no paths, no user names.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from forge.config import checkout

_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy", "pyarrow")
_GIB = 1024**3
_GIT_TIMEOUT_SECONDS = 20.0


def hardware() -> dict[str, Any]:
    """What this process (one rank) computes with: ``device_kind`` (cuda, mps, xpu, cpu), ``device`` (its name),
    ``device_memory_gib``, ``cpu``, ``cores`` (that it may use), ``memory_gib`` (of the machine, or of its control
    group), ``system``, ``python``, ``cuda``, ``libraries``. Imports torch."""
    import torch

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    kind = accelerator.type if accelerator is not None else "cpu"
    found: dict[str, Any] = {
        "device_kind": kind,
        "device": cpu_name(),
        "device_memory_gib": None,
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }
    if kind == "cuda":
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found |= {"device": properties.name, "device_memory_gib": round(properties.total_memory / _GIB, 1)}
    elif kind != "cpu":
        found["device"] = kind
    return found


def code_version(folder: Path | None = None) -> dict[str, Any]:
    """``package`` (its version), ``commit`` and ``modified`` (tracked files differ from it) of the git repository whose
    root is ``folder`` (default: the checkout); both None without one."""
    folder = folder or checkout()
    found: dict[str, Any] = {"package": _version("hephaestus-forge"), "commit": None, "modified": None}
    if not (folder / ".git").exists():  # a repository further up is somebody else's
        return found
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit:
        found |= {"commit": commit.strip(), "modified": None if status is None else bool(status.strip())}
    return found


def cpu_name() -> str | None:
    """The model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None


def _memory_gib() -> float | None:
    """Physical memory, or less where the control group of this process allows less."""
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (OSError, ValueError):
        return None
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text().strip()))
        except (OSError, ValueError):
            continue
    return round(min(limits) / _GIB, 1)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None when it cannot run. Nothing of the caller's git environment plays a part."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "--no-optional-locks", *arguments],
            capture_output=True, text=True, timeout=_GIT_TIMEOUT_SECONDS, env=environment, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
