"""Damage outside of the code: each ends in one clear error, and the last good checkpoint goes on to the same result."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.stopping import StopAt
from training.checkpoint import CheckpointNotWritten, newest_checkpoint
from training.packed_shards import BadPackedShard
from training.process import StopRequest
from training.run import Run, Stopped
from training.shard_cache import MissingShard, NoSpace, ShardError
from training.stage import train_stage


def train(run: Run, stop_at: int = 1_000) -> None:
    train_stage(run, "I", stop=StopAt(run.folder, stop_at), say=lambda _: None, cpu=True)


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Writing more fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def moved_release(tmp_path, small_release):
    """The small release in files of its own, to be damaged."""
    folder = tmp_path / "release"
    folder.mkdir()
    files = [replace(file, path=shutil.copy(file.path, folder)) for file in small_release.files]
    return replace(small_release, files=tuple(files))


def test_a_disk_that_is_full_leaves_the_checkpoint_before_and_the_run_goes_on_from_it(make_run):
    straight, run = make_run("straight"), make_run("full", checkpoint_every_steps=2)
    train(straight)
    with pytest.raises(Stopped):
        train(run, stop_at=2)
    size_bytes = max(path.stat().st_size for path in run.folder.glob("checkpoints/*/tensors/*"))
    with largest_file(size_bytes // 2), pytest.raises(CheckpointNotWritten, match=r"I-000004: .*as they were"):
        train(run)
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["I-000002"]
    assert newest_checkpoint(run.folder / "checkpoints", "I-").state["step"] == 2
    train(run)
    one, two = (load_file(found.model_folder("I") / "model.safetensors") for found in (straight, run))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_disk_that_is_full_while_data_is_packed(make_run):
    run = make_run()
    with largest_file(2_000), pytest.raises(NoSpace):
        train(run)
    assert not (run.packed_folder("I") / "plan.json").exists()
    train(run)


def test_a_shard_of_the_release_that_is_gone(make_run, moved_release):
    run = replace(make_run(), release=moved_release)
    Path(moved_release.files[1].path).unlink()
    with pytest.raises(MissingShard, match="part-1"):
        train(run)
    assert not (run.packed_folder("I") / "plan.json").exists()


@pytest.mark.parametrize("damage", ["changed", "cut", "another"])
def test_a_shard_of_the_release_that_is_not_what_was_published(make_run, moved_release, damage):
    path = Path(moved_release.files[0].path)
    content = bytearray(path.read_bytes())
    if damage == "changed":
        content[len(content) // 3] ^= 1
    elif damage == "cut":
        content = content[: len(content) // 2]
    else:
        content = bytearray(Path(moved_release.files[1].path).read_bytes())
    path.write_bytes(content)
    with pytest.raises(ShardError, match="part-0"):
        train(replace(make_run(), release=moved_release))


def test_a_packed_shard_that_changed_after_it_was_packed(make_run):
    run = make_run()
    with pytest.raises(Stopped):
        train(run, stop_at=2)
    shard = sorted(run.packed_folder("I").glob("*.arrow"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(BadPackedShard, match=shard.name):
        train(run)
    assert newest_checkpoint(run.folder / "checkpoints", "I-").state["step"] == 2


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(make_run):
    straight, run = make_run("straight"), make_run("damaged", checkpoint_every_steps=1)
    train(straight)
    with pytest.raises(Stopped):
        train(run, stop_at=4)
    tensors = next((run.folder / "checkpoints" / "I-000004" / "tensors").iterdir())
    tensors.write_bytes(tensors.read_bytes()[:-100])
    lines: list[str] = []
    train_stage(run, "I", stop=StopRequest(), say=lines.append, cpu=True)
    assert any("goes on after step 3" in line for line in lines)
    one, two = (load_file(found.model_folder("I") / "model.safetensors") for found in (straight, run))
    assert all(torch.equal(one[name], two[name]) for name in one)
