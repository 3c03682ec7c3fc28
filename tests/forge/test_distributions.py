"""Which distributions a source takes, and which files belong to one."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path

import pytest

from forge.config import ConfigurationError
from forge.distributions import DistributionChoice, Recorded, RecordedFile, chosen_distributions, module_name, recorded


def _install(site: Path, name: str, record: str) -> Distribution:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(record)
    return Distribution.at(info)


def test_chosen_by_lock_names_and_denylist(tmp_path: Path) -> None:
    for name in ("One.Thing", "two", "three"):
        _install(tmp_path / "site", name, "")
    lock = tmp_path / "lock"
    lock.write_text("one-thing==1.0\ntwo==1.0 ; python_version > '3'\n# three==1.0\n")

    def chosen(**options: object) -> list[str]:
        return list(chosen_distributions(DistributionChoice.model_validate(options), [str(tmp_path / "site")]))

    assert chosen() == ["one-thing", "three", "two"]
    assert chosen(lock=str(lock)) == ["one-thing", "two"]
    assert chosen(packages=["ONE_THING", "three"], denied=["Three"]) == ["one-thing"]
    with pytest.raises(ConfigurationError, match="missing"):
        chosen(lock=str(tmp_path / "nothing"))


def test_files_of_a_record(tmp_path: Path) -> None:
    paths = [
        "pack/b.py", "pack/a.py", "pack/_core.abi3.so", "pack/lib/libopenblas.so", "pack/tests/test_a.py",
        "pack/test_b.py", "pack/_vendor/x.py", "pack/data.json", "../bin/evil.py", "/etc/evil.py", "pack/../evil.py",
        "pack/not-a-module.py", "pack-1.0.dist-info/RECORD",
    ]  # fmt: skip
    distribution = _install(tmp_path, "pack", "".join(f"{path},sha256=x,7\n" for path in paths))
    files = recorded(distribution)
    assert files is not None
    assert [file.path for file in files.files] == ["pack/a.py", "pack/b.py"]
    assert [(file.path, file.digest, file.size_bytes) for file in files.extensions] == [
        ("pack/_core.abi3.so", "sha256=x", 7)
    ]
    assert files.metadata == str(tmp_path / "pack-1.0.dist-info")
    with_tests = recorded(distribution, with_tests=True)
    assert with_tests is not None
    assert [file.path for file in with_tests.files] == [
        "pack/_vendor/x.py", "pack/a.py", "pack/b.py", "pack/test_b.py", "pack/tests/test_a.py",
    ]  # fmt: skip


def test_groups_hold_every_file_once() -> None:
    paths = ["big/__init__.py", "big/nn/a.py", "big/nn/b.py", "big/models/ant/m.py", "big/models/bee/m.py", "side/x.py"]
    files = tuple(RecordedFile(path, "", 100 if "models" in path else 10) for path in paths)
    groups = Recorded("/", "/x", files, ()).groups(40)
    assert {name: [file.path for file in found] for name, found in groups.items()} == {
        "": ["big/__init__.py"],
        "nn": ["big/nn/a.py", "big/nn/b.py"],
        "models/a*": ["big/models/ant/m.py"],
        "models/b*": ["big/models/bee/m.py"],
        "side": ["side/x.py"],
    }
    assert list(Recorded("/", "/x", files, ()).groups(1000)) == [""]


def test_module_name() -> None:
    paths = ("a/b/__init__.py", "a/c.py", "six.py", "__init__.py", "a/d.cpython-311-x86_64-linux-gnu.so")
    assert [module_name(path) for path in paths] == ["a.b", "a.c", "six", "__init__", "a.d"]
