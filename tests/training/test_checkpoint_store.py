"""Checkpoints to a real S3 server and back: cut, refused, killed, damaged, pruned."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from forge.config import ConfigurationError
from tests.training.cutting_proxy import CuttingProxy, cutting
from training import checkpoint_store as module
from training.checkpoint import BadCheckpoint, is_complete, load_checkpoint, prune_checkpoints, write_checkpoint
from training.checkpoint_store import CheckpointStore, StoreError

pytestmark = pytest.mark.s3
MEGABYTE = 1_000_000


@pytest.fixture(autouse=True)
def _short_pauses_and_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(module, "_REQUEST_TRIES", 1)
    monkeypatch.setattr(module, "_PART_BYTES", 5 * 1024 * 1024)  # the least that S3 takes


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"checkpoints/{request.node.name}"


@pytest.fixture
def client(s3: str) -> Any:
    return boto3.client("s3", endpoint_url=s3, region_name="us-east-1")


@pytest.fixture
def make(s3: str, prefix: str) -> Iterator[Callable[..., CheckpointStore]]:
    made: list[CheckpointStore] = []

    def make_store(endpoint: str = s3) -> CheckpointStore:
        made.append(CheckpointStore(f"s3://forge/{prefix}", endpoint=endpoint, region="us-east-1"))
        return made[-1]

    yield make_store
    for store in made:
        store.close()


@pytest.fixture
def proxy(s3: str) -> Iterator[CuttingProxy]:
    with cutting(s3) as found:
        yield found


def checkpoint(tmp_path: Path, step: int, size: int = 1000, stage: str = "I") -> Path:
    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(hashlib.shake_128(f"{step}".encode()).digest(size))
        (folder / "state").mkdir()
        (folder / "state" / "rank-0.json").write_text("{}")

    folder = tmp_path / "checkpoints" / f"{stage}-{step:06d}"
    return write_checkpoint(folder, {"step": step}, write).folder


def keys(client: Any, prefix: str) -> set[str]:
    entries = client.list_objects_v2(Bucket="forge", Prefix=f"{prefix}/").get("Contents", ())
    return {entry["Key"].removeprefix(f"{prefix}/") for entry in entries}


def files_of(name: str) -> set[str]:
    return {f"{name}/{path}" for path in ("_COMPLETE", "manifest.json", "model.safetensors", "state/rank-0.json")}


def left_overs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "checkpoints").glob(".*"))


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_a_checkpoint_goes_there_and_comes_back(make, client, prefix, tmp_path) -> None:
    store = make()
    folder = checkpoint(tmp_path, 100, 12 * MEGABYTE)
    store.upload(folder, "checkpoints/I-000100")
    store.drain(30)
    assert store.problems() == []
    assert keys(client, prefix) == files_of("checkpoints/I-000100")
    assert left_overs(tmp_path) == []
    other = make()
    assert other.names("checkpoints/I-") == ["checkpoints/I-000100"]
    assert other.names("checkpoints/II-") == []
    other.download("checkpoints/I-000100", tmp_path / "back" / "I-000100")
    assert load_checkpoint(tmp_path / "back" / "I-000100").state == {"step": 100}
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["I-000100"]


def test_names_are_ordered_by_number_and_never_of_folders_inside(make, client, prefix, tmp_path) -> None:
    store = make()
    for step in (999_999, 1_000_000, 5):
        store.upload(checkpoint(tmp_path, step), f"checkpoints/I-{step:06d}")
    store.drain(30)
    client.put_object(Bucket="forge", Key=f"{prefix}/checkpoints/I-000007/model/_COMPLETE", Body=b"x")
    client.put_object(Bucket="forge", Key=f"{prefix}/checkpoints/I-000008/manifest.json", Body=b"x")
    names = ["checkpoints/I-000005", "checkpoints/I-999999", "checkpoints/I-1000000"]
    assert store.names("checkpoints/I-") == names
    assert store.names("") == []


def test_the_run_goes_on_while_an_upload_takes_long_and_may_prune_meanwhile(make, proxy, tmp_path) -> None:
    folder = checkpoint(tmp_path, 1, MEGABYTE)
    proxy.bytes_per_second = 1.5 * MEGABYTE
    store = make(proxy.endpoint)
    start = time.monotonic()
    store.upload(folder, "checkpoints/I-000001")
    assert time.monotonic() - start < 0.2
    checkpoint(tmp_path, 2)
    prune_checkpoints(tmp_path / "checkpoints", "I-", 1)
    assert not folder.exists()
    store.drain(30)
    assert time.monotonic() - start > 0.5
    assert store.problems() == []
    assert left_overs(tmp_path) == []
    store.download("checkpoints/I-000001", tmp_path / "back")
    assert load_checkpoint(tmp_path / "back").state == {"step": 1}


def test_an_upload_that_is_cut_is_tried_again(make, proxy, client, prefix, tmp_path) -> None:
    store = make(proxy.endpoint)
    folder = checkpoint(tmp_path, 1, 12 * MEGABYTE)
    proxy.cut, proxy.cut_after_bytes, proxy.cuts = "requests", 2 * MEGABYTE, 6
    store.upload(folder, "checkpoints/I-000001")
    store.drain(60)
    assert proxy.was_cut == 6
    assert store.problems() == []
    assert keys(client, prefix) == files_of("checkpoints/I-000001")
    assert client.list_multipart_uploads(Bucket="forge", Prefix=prefix).get("Uploads", []) == []
    store.download("checkpoints/I-000001", tmp_path / "back")


def test_a_store_that_goes_away_half_way_ends_in_a_problem_and_no_marker(
    make, proxy, client, prefix, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_TRIES", 2)
    monkeypatch.setattr(module, "_ASKED_TRIES", 1)
    store, direct = make(proxy.endpoint), make()
    store.upload(checkpoint(tmp_path, 1), "checkpoints/I-000001")
    store.drain(30)
    before = proxy.forwarded["requests"]
    proxy.bytes_per_second = 6 * MEGABYTE
    store.upload(checkpoint(tmp_path, 2, 6 * MEGABYTE), "checkpoints/I-000002")
    wait_until(lambda: proxy.forwarded["requests"] - before > 3 * MEGABYTE)
    proxy.is_down = True
    store.drain(60)
    (problem,) = store.problems()
    assert problem.startswith(
        f"s3://forge/{prefix}/checkpoints/I-000002: not uploaded: StoreError: failed 2 times, at last:"
    )
    assert left_overs(tmp_path) == []
    assert direct.names("checkpoints/I-") == ["checkpoints/I-000001"]
    with pytest.raises(StoreError, match=f"s3://forge/{prefix}/checkpoints/I-: failed 1 times"):
        store.names("checkpoints/I-")
    proxy.is_down, proxy.bytes_per_second = False, None  # the next upload of the name makes it whole
    store.upload(tmp_path / "checkpoints" / "I-000002", "checkpoints/I-000002")
    store.drain(30)
    assert store.problems() == []
    assert direct.names("checkpoints/I-") == ["checkpoints/I-000001", "checkpoints/I-000002"]


_UPLOADS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from training.checkpoint_store import CheckpointStore
store = CheckpointStore(sys.argv[2], endpoint=sys.argv[3], region="us-east-1")
store.upload(Path(sys.argv[4]), "checkpoints/" + Path(sys.argv[4]).name)
store.drain(600)
"""


def test_a_process_killed_while_it_uploads_leaves_the_older_checkpoint(make, proxy, client, prefix, tmp_path) -> None:
    store = make()
    store.upload(checkpoint(tmp_path, 1), "checkpoints/I-000001")
    store.drain(30)
    folder = checkpoint(tmp_path, 2, 22 * MEGABYTE)
    proxy.bytes_per_second = 6 * MEGABYTE
    arguments = [str(Path(__file__).parents[2]), f"s3://forge/{prefix}", proxy.endpoint, str(folder)]
    killed = subprocess.Popen([sys.executable, "-c", _UPLOADS, *arguments])
    wait_until(lambda: proxy.forwarded["requests"] > 8 * MEGABYTE, 30)
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    assert left_overs(tmp_path) != []
    wait_until(lambda: f"{prefix}/checkpoints/I-000002" in str(client.list_multipart_uploads(Bucket="forge")))
    again = make()
    assert again.names("checkpoints/I-") == ["checkpoints/I-000001"]
    with pytest.raises(BadCheckpoint, match="I-000002: absent or incomplete in the store"):
        again.download("checkpoints/I-000002", tmp_path / "back")
    again.download("checkpoints/I-000001", tmp_path / "back")
    again.upload(folder, "checkpoints/I-000002")
    again.drain(30)
    assert again.names("checkpoints/I-") == ["checkpoints/I-000001", "checkpoints/I-000002"]
    assert left_overs(tmp_path) == []
    assert client.list_multipart_uploads(Bucket="forge", Prefix=prefix).get("Uploads", []) == []


def test_an_upload_goes_on_where_another_stopped_and_replaces_what_differs(
    make, proxy, client, prefix, tmp_path
) -> None:
    store = make(proxy.endpoint)
    folder = checkpoint(tmp_path, 1, 3 * MEGABYTE)
    store.upload(folder, "checkpoints/I-000001")
    store.drain(30)
    client.delete_object(Bucket="forge", Key=f"{prefix}/checkpoints/I-000001/_COMPLETE")
    client.put_object(Bucket="forge", Key=f"{prefix}/checkpoints/I-000001/stale", Body=b"x")
    before = proxy.forwarded["requests"]
    store.upload(folder, "checkpoints/I-000001")
    store.drain(30)
    assert proxy.forwarded["requests"] - before < MEGABYTE
    assert keys(client, prefix) == files_of("checkpoints/I-000001")
    shutil.rmtree(folder)
    write_checkpoint(folder, {"step": 77}, lambda aside: (aside / "other").write_bytes(bytes(3 * MEGABYTE)) and None)
    store.upload(folder, "checkpoints/I-000001")
    store.drain(30)
    assert keys(client, prefix) == {f"checkpoints/I-000001/{path}" for path in ("_COMPLETE", "manifest.json", "other")}
    store.download("checkpoints/I-000001", tmp_path / "back")
    assert load_checkpoint(tmp_path / "back").state == {"step": 77}
    assert store.problems() == []


def test_files_that_change_are_never_marked(make, proxy, client, prefix, tmp_path) -> None:
    store = make(proxy.endpoint)
    folder = checkpoint(tmp_path, 1, 3 * MEGABYTE)
    proxy.bytes_per_second = 4 * MEGABYTE
    store.upload(folder, "checkpoints/I-000001")
    wait_until(lambda: proxy.forwarded["requests"] > MEGABYTE)
    with (folder / "model.safetensors").open("r+b") as sink:
        sink.write(b"another")
    store.drain(30)
    (problem,) = store.problems()
    assert "I-000001: not uploaded: BadCheckpoint: its files changed while they were uploaded" in problem
    assert store.names("checkpoints/") == []
    store.upload(folder, "checkpoints/I-000001")  # now it differs from its manifest from the start
    store.drain(30)
    (problem,) = store.problems()
    assert "model.safetensors is missing or differs from the manifest" in problem
    assert store.names("checkpoints/") == []


def test_what_is_no_complete_checkpoint_is_a_problem_and_ends_no_run(make, client, prefix, tmp_path) -> None:
    store = make()
    folder = checkpoint(tmp_path, 1)
    (folder / "_COMPLETE").unlink()
    store.upload(folder, "checkpoints/I-000001")
    store.upload(tmp_path / "checkpoints" / "I-000002", "checkpoints/I-000002")
    store.drain(30)
    assert len(store.problems()) == 2
    assert all("no _COMPLETE" in problem for problem in store.problems())
    assert keys(client, prefix) == set()
    for name in ("", "../I-1", "/I-1", "a//b", "a/..", "a b"):
        with pytest.raises(ValueError, match="a name has parts"):
            store.upload(folder, name)


def test_pruning_removes_the_marker_first_and_never_the_newest(make, client, prefix, tmp_path) -> None:
    store = make()
    for step in range(1, 6):
        store.upload(checkpoint(tmp_path, step), f"checkpoints/I-{step:06d}")
        store.drain(60)  # more than a few that wait are given up
    store.upload(checkpoint(tmp_path, 9, stage="II"), "checkpoints/II-000009")
    for step in (0, 7):  # cut uploads, before and after the newest complete one
        client.put_object(Bucket="forge", Key=f"{prefix}/checkpoints/I-{step:06d}/model.safetensors", Body=b"x")
    store.prune("checkpoints/I-", 2)
    store.drain(60)
    assert store.problems() == []
    kept = files_of("checkpoints/I-000004") | files_of("checkpoints/I-000005") | files_of("checkpoints/II-000009")
    assert keys(client, prefix) == kept | {"checkpoints/I-000007/model.safetensors"}
    store.prune("checkpoints/I-", 0)
    store.drain(60)
    assert store.names("checkpoints/") == ["checkpoints/I-000005", "checkpoints/II-000009"]


def test_pruning_that_is_cut_leaves_nothing_that_looks_whole(
    make, proxy, client, prefix, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_TRIES", 1)
    direct, store = make(), make(proxy.endpoint)
    for step in (1, 2):
        direct.upload(checkpoint(tmp_path, step), f"checkpoints/I-{step:06d}")
    direct.drain(30)
    replies: list[bytes] = []

    def cut_after_first_removal(chunk: bytes) -> bytes:
        if b"DeleteResult" in chunk:
            replies.append(chunk)
            proxy.is_down = True
        return chunk

    proxy.rewrite = cut_after_first_removal
    store.prune("checkpoints/I-", 1)
    store.drain(60)
    (problem,) = store.problems()
    assert f"s3://forge/{prefix}/checkpoints/I-: not pruned: StoreError" in problem
    assert len(replies) == 1
    assert direct.names("checkpoints/I-") == ["checkpoints/I-000002"]
    assert keys(client, prefix) == files_of("checkpoints/I-000002") | (
        files_of("checkpoints/I-000001") - {"checkpoints/I-000001/_COMPLETE"}
    )


def test_a_damaged_object_is_refused_and_nothing_is_left_of_it(make, client, prefix, tmp_path) -> None:
    store = make()
    store.upload(checkpoint(tmp_path, 1), "checkpoints/I-000001")
    store.drain(30)
    target = checkpoint(tmp_path / "here", 9)
    for key, body in (("model.safetensors", bytes(1000)), ("state/rank-0.json", b""), ("manifest.json", b"{}")):
        full = f"{prefix}/checkpoints/I-000001/{key}"
        good = client.get_object(Bucket="forge", Key=full)["Body"].read()
        client.put_object(Bucket="forge", Key=full, Body=body)
        with pytest.raises(BadCheckpoint, match=rf"^s3://forge/{prefix}/checkpoints/I-000001: .*{key}"):
            store.download("checkpoints/I-000001", target)
        assert [path.name for path in target.parent.iterdir()] == ["I-000009"]
        assert load_checkpoint(target).state == {"step": 9}  # what was here stays
        client.put_object(Bucket="forge", Key=full, Body=good)
    store.download("checkpoints/I-000001", target)
    assert load_checkpoint(target).state == {"step": 1}
    assert is_complete(target)


def test_a_key_that_leads_outside_is_refused(make, proxy, tmp_path) -> None:
    store = make(proxy.endpoint)
    store.upload(checkpoint(tmp_path, 1), "checkpoints/I-000001")
    store.drain(30)
    proxy.rewrite = lambda chunk: chunk.replace(b"state/rank-0.json", b"../../x/rank.json")
    with pytest.raises(BadCheckpoint, match="names a file outside of it"):
        store.download("checkpoints/I-000001", tmp_path / "back" / "I-000001")
    assert list((tmp_path / "back").iterdir()) == []
    assert not (tmp_path / "x").exists()


def test_a_download_that_is_cut_is_tried_again(make, proxy, tmp_path) -> None:
    direct, store = make(), make(proxy.endpoint)
    direct.upload(checkpoint(tmp_path, 1, 12 * MEGABYTE), "checkpoints/I-000001")
    direct.drain(30)
    proxy.cut_after_bytes, proxy.cuts = MEGABYTE, 8
    store.download("checkpoints/I-000001", tmp_path / "back")
    assert proxy.was_cut == 8
    assert load_checkpoint(tmp_path / "back").state == {"step": 1}


def test_what_is_not_done_in_time_is_said_and_closing_gives_it_up(make, proxy, tmp_path) -> None:
    proxy.bytes_per_second = MEGABYTE
    store = make(proxy.endpoint)
    store.upload(checkpoint(tmp_path, 1, 22 * MEGABYTE), "checkpoints/I-000001")
    for step in range(2, 9):
        store.upload(checkpoint(tmp_path, step), f"checkpoints/I-{step:06d}")
    assert [problem.partition(": ")[2] for problem in store.problems()] == [
        "not uploaded: 4 newer ones were waiting"
    ] * 3
    store.drain(0.2)
    assert sum("not done after 0.2 s" in problem for problem in store.problems()) == 5
    start = time.monotonic()
    store.close()
    assert time.monotonic() - start < 10
    assert sum("the run ended before" in problem for problem in store.problems()) == 5
    assert left_overs(tmp_path) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "checkpoint store"]
    store.upload(tmp_path / "checkpoints" / "I-000002", "checkpoints/I-000002")
    assert "I-000002: not uploaded: the store is closed" in str(store.problems())
    assert left_overs(tmp_path) == []
    assert make().names("checkpoints/") == []


def test_refusals_and_bad_addresses_are_said_at_once(make, s3, tmp_path, monkeypatch) -> None:
    for uri in ("forge/x", "s3://", "s3://Forge/x", "file:///x", "s3://forge/a b"):
        with pytest.raises(ConfigurationError, match=r"training\.checkpoint_store: .* is not of the form s3://"):
            CheckpointStore(uri, endpoint=s3, region="us-east-1")
    absent = CheckpointStore("s3://no-such-bucket/x", endpoint=s3, region="us-east-1")
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/x/: the store refuses: .*NoSuchBucket"):
        absent.names("")
    absent.close()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # which remembers the credentials
    store = make()
    start = time.monotonic()
    store.upload(checkpoint(tmp_path, 1), "checkpoints/I-000001")
    store.drain(30)
    assert time.monotonic() - start < 3
    assert "the store refuses" in store.problems()[0]
    assert "wrong" not in store.problems()[0]
