from __future__ import annotations

import pytest

from training.checkpoint import (
    BadCheckpoint,
    CheckpointNotWritten,
    Writers,
    is_complete,
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    write_checkpoint,
)


def write(folder, step=1, content="weights"):
    return write_checkpoint(folder, {"step": step}, lambda aside: (aside / "model.bin").write_text(content))


def test_what_was_written_is_loaded(tmp_path):
    folder = tmp_path / "I-000001"
    write(folder)
    assert load_checkpoint(folder).state == {"step": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["I-000001"]


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "manifest", "marker"])
def test_damage_is_found(tmp_path, damage):
    folder = tmp_path / "I-000001"
    write(folder)
    if damage == "cut":
        (folder / "model.bin").write_text("weigh")
    elif damage == "changed":
        (folder / "model.bin").write_text("weightz")
    elif damage == "gone":
        (folder / "model.bin").unlink()
    elif damage == "manifest":
        (folder / "manifest.json").write_text('{"files":{},"state":{"step":9}}')
    else:
        (folder / "_COMPLETE").unlink()
    with pytest.raises(BadCheckpoint):
        load_checkpoint(folder)
    assert newest_checkpoint(tmp_path, "I-") is None


def test_a_writer_that_fails_leaves_the_older_checkpoint_alone(tmp_path):
    write(tmp_path / "I-000001")

    def fail(aside):
        (aside / "model.bin").write_text("half")
        raise OSError("disk full")

    with pytest.raises(CheckpointNotWritten, match="disk full"):
        write_checkpoint(tmp_path / "I-000002", {"step": 2}, fail)
    assert newest_checkpoint(tmp_path, "I-").state == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["I-000001"]


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    for step in (1, 2):
        write(tmp_path / f"I-00000{step}", step)
    (tmp_path / "I-000002" / "model.bin").write_text("damaged")
    assert newest_checkpoint(tmp_path, "I-").state == {"step": 1}


def test_left_overs_of_a_killed_writer_are_replaced_and_swept(tmp_path):
    folder = tmp_path / "I-000003"
    (tmp_path / ".I-000002.aside").mkdir()
    folder.mkdir()
    (folder / "model.bin").write_text("renamed, then killed before the marker")
    assert not is_complete(folder)
    write(folder, 3)
    assert load_checkpoint(folder).state == {"step": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["I-000003"]


def test_pruning_keeps_the_newest_complete_ones_of_its_prefix(tmp_path):
    for name in ("I-000001", "I-000002", "I-000003", "II-000001"):
        write(tmp_path / name)
    (tmp_path / "I-000004").mkdir()
    prune_checkpoints(tmp_path, "I-", keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["I-000002", "I-000003", "II-000001"]


def test_a_checkpoint_that_cannot_fit_is_not_begun(tmp_path):
    write(tmp_path / "I-000001")
    with pytest.raises(CheckpointNotWritten, match=r"are needed, .* are free"):
        write_checkpoint(tmp_path / "I-000002", {"step": 2}, lambda aside: None, expected_bytes=10**18)
    assert newest_checkpoint(tmp_path, "I-").state == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["I-000001"]


def test_what_one_rank_cannot_write_is_no_checkpoint_for_any(tmp_path):
    """Two ranks as threads: the second fails in its part, both are told."""
    import threading

    barrier, texts, ends = threading.Barrier(2), ["", ""], [None, None]

    def gather_of(rank):
        def gather(text):
            texts[rank] = text
            barrier.wait()
            found = list(texts)
            barrier.wait()
            return found

        return gather

    def rank(number):
        def part(aside):
            (aside / f"part-{number}").write_text("x")
            if number == 1:
                raise OSError("no space left")

        try:
            write_checkpoint(tmp_path / "I-000001", {}, part, writers=Writers(number == 0, gather_of(number)))
        except CheckpointNotWritten as error:
            ends[number] = str(error)

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert all("no space left" in end for end in ends)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_steps_are_compared_as_numbers(tmp_path):
    for step in (999_999, 1_000_000):
        write(tmp_path / f"I-{step:06d}", step)
    assert newest_checkpoint(tmp_path, "I-").state == {"step": 1_000_000}
    prune_checkpoints(tmp_path, "I-", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["I-1000000"]
