"""Shards from a real S3 server through a proxy that cuts, between processes, on full disks."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.cutting_proxy import CuttingProxy, cutting
from training import shard as shard_module
from training.shard_cache import CorruptShard, MissingShard, NoSpace, Shard, ShardCache, ShardError, UnreadableShard

BLOCK = 64 * 1024


@pytest.fixture(autouse=True)
def _small_blocks_and_short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_module, "_BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(shard_module, "_FIRST_PAUSE_SECONDS", 0.01)


class Store:
    """Files of a folder as the remote store; counts what is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, size: int = 1000) -> Shard:
        content = hashlib.shake_128(name.encode()).digest(size)
        (self.folder / name).write_bytes(content)
        return Shard(name, hashlib.sha256(content).hexdigest(), size)

    def open(self, path: str) -> Any:
        self.opened[path] += 1
        return (self.folder / path).open("rb")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def make(tmp_path: Path, store: Store) -> Iterator[Callable[..., ShardCache]]:
    caches: list[ShardCache] = []

    def make_cache(**changes: Any) -> ShardCache:
        given = {"open_file": store.open, "max_bytes": 10_000, "prefetch": 0, **changes}
        caches.append(ShardCache(tmp_path / "cache", **given))
        return caches[-1]

    yield make_cache
    for cache in caches:
        cache.close()


def cached(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache").glob("*") if not path.name.endswith(".lock")}


def is_empty(tmp_path: Path) -> bool:
    return {path.name for path in (tmp_path / "cache").iterdir()} == {".folder.lock"}


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


# --- one shard ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, BLOCK, 5 * BLOCK + 17])
def test_a_shard_is_copied_once_and_named_by_its_hash(make, store, tmp_path, size) -> None:
    shard = store.put("a", size)
    cache = make(max_bytes=10 * BLOCK)
    path = cache.get(shard)
    assert path == tmp_path / "cache" / shard.sha256
    assert path.read_bytes() == (store.folder / "a").read_bytes()
    assert cache.get(shard) == path
    assert make(max_bytes=10 * BLOCK).get(shard) == path
    assert store.opened == {"a": 1}
    assert cached(tmp_path) == {shard.sha256}


def test_a_damaged_copy_is_found_and_copied_again(make, store) -> None:
    shard = store.put("a")
    path = make().get(shard)
    for damaged in (b"x" + path.read_bytes()[1:], path.read_bytes()[:-1], b""):
        path.write_bytes(damaged)
        cache = make(max_bytes=1500)  # the damaged copy takes no room from the good one
        assert cache.get(shard).read_bytes() == (store.folder / "a").read_bytes()
    assert store.opened == {"a": 4}


def test_a_missing_file_is_an_error_at_once(make, store, tmp_path) -> None:
    shard = store.put("folder-less")
    (store.folder / "folder-less").unlink()
    with pytest.raises(MissingShard, match=r"shard folder-less: .* not in the store"):
        make().get(shard)
    assert store.opened == {"folder-less": 1}
    assert is_empty(tmp_path)


def test_another_file_than_the_release_pins_is_an_error_after_a_second_look(make, store, tmp_path) -> None:
    shard = store.put("a")
    other = bytes(1000)
    (store.folder / "a").write_bytes(other)
    with pytest.raises(CorruptShard) as caught:
        make().get(shard)
    for fact in ("shard a:", shard.sha256, hashlib.sha256(other).hexdigest()):
        assert fact in str(caught.value)
    assert store.opened == {"a": 2}
    (store.folder / "a").write_bytes(bytes(999))
    with pytest.raises(CorruptShard, match=r"pins 1,000 bytes.*found 999 bytes"):
        make().get(shard)
    assert is_empty(tmp_path)


def test_what_was_corrupt_only_once_is_no_error(make, store) -> None:
    shard = store.put("a")
    (store.folder / "bad").write_bytes(bytes(1000))

    def open_file(path: str) -> Any:
        return store.open("a" if store.opened["bad"] else "bad")

    assert make(open_file=open_file).get(shard).read_bytes() == (store.folder / "a").read_bytes()
    assert store.opened == {"bad": 1, "a": 1}


def test_failures_between_which_something_arrived_go_on_where_they_stopped(make, store) -> None:
    shard = store.put("a", 20 * BLOCK)
    read: list[int] = []

    class Cut(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() in read:  # a block that an earlier connection has given already
                raise AssertionError("read again")
            if len(read) % 3 == 2:
                read.append(-1)
                raise ConnectionResetError
            read.append(self.tell())
            return super().read(size)

    cache = make(open_file=lambda path: Cut(store.folder / path), max_bytes=30 * BLOCK)
    assert sha256_of(cache.get(shard)) == shard.sha256
    assert read.count(-1) == 9 > shard_module._TRIES


@pytest.mark.parametrize("sha256", ["", "../" + "a" * 61, "A" * 64])
def test_a_shard_without_a_hash_is_refused(sha256) -> None:
    with pytest.raises(ValueError, match="shard a: not a sha256"):
        Shard("a", sha256, 1)


def test_local_shards_are_verified_and_never_copied(make, store, tmp_path) -> None:
    shard = store.put("a")
    cache = make(local_root=store.folder, prefetch=2)
    cache.prefetch([shard])
    assert cache.get(shard) == store.folder / "a"
    cache.done(shard)
    assert not (tmp_path / "cache").exists()
    assert not store.opened
    (store.folder / "a").write_bytes(bytes(1000))
    with pytest.raises(CorruptShard, match=hashlib.sha256(bytes(1000)).hexdigest()):
        make(local_root=store.folder).get(shard)
    (store.folder / "a").unlink()
    with pytest.raises(MissingShard, match="shard a:"):
        cache.get(shard)


# --- room -----------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_is_evicted_first(make, store, tmp_path) -> None:
    a, b, c, d = (store.put(name, 3000) for name in "abcd")
    cache = make()
    for shard in (a, b, c, a):
        cache.get(shard)
        cache.done(shard)
        time.sleep(0.01)
    cache.get(d)
    assert cached(tmp_path) == {a.sha256, c.sha256, d.sha256}
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 10_000
    locks = {path.name.strip(".").partition(".")[0] for path in (tmp_path / "cache").glob(".*.lock")}
    assert locks == {a.sha256, c.sha256, d.sha256, "folder"}


def test_what_is_in_use_is_never_evicted(make, store, tmp_path) -> None:
    a, b, c, d = (store.put(name, 3000) for name in "abcd")
    cache = make()
    paths = [cache.get(shard) for shard in (a, a, b, c)]
    cache.done(a)  # one of two
    with pytest.raises(NoSpace, match=r"shard d: 3,000 bytes do not fit training.shard_cache_bytes = 10,000"):
        cache.get(d)
    assert all(path.exists() for path in paths)
    cache.done(a)
    cache.get(d)
    assert cached(tmp_path) == {b.sha256, c.sha256, d.sha256}
    with pytest.raises(ValueError, match="shard a: done without get"):
        cache.done(a)


def test_a_shard_larger_than_the_cache_names_the_setting(make, store, tmp_path) -> None:
    small, large = store.put("small"), store.put("large", 10_001)
    cache = make()
    cache.get(small)
    cache.done(small)
    with pytest.raises(NoSpace, match=r"training\.shard_cache_bytes = 10,000"):
        cache.get(large)
    assert cached(tmp_path) == {small.sha256}
    assert store.opened == {"small": 1}


def test_files_of_others_stay(make, store, tmp_path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "notes").write_bytes(bytes(20_000))
    cache = make()
    for name in "abcdef":
        shard = store.put(name, 3000)
        cache.get(shard)
        cache.done(shard)
    assert (tmp_path / "cache" / "notes").exists()


_ON_A_SMALL_DISK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from training.shard_cache import NoSpace, Shard, ShardCache
folder, store = Path(sys.argv[1]), Path(sys.argv[2])
cache = ShardCache(folder, lambda path: (store / path).open("rb"), max_bytes=10**9, prefetch=0)
for line in sys.stdin.read().split():
    name, sha256, size = line.split(",")
    shard = Shard(name, sha256, int(size))
    try:
        cache.get(shard)
        cache.done(shard)
        print(name, "ok", sorted(path.name[:4] for path in folder.iterdir() if path.name[0] != "."))
    except NoSpace as error:
        print(name, "NoSpace", error)
"""


def run_on_a_small_disk(prelude: str, folder: Path, store: Store, shards: list[Shard]) -> list[str]:
    repository = Path(__file__).parents[2]
    command = f'{prelude} && exec "$0" -c "$1" "$2" "$3" "$4"'
    arguments = [sys.executable, _ON_A_SMALL_DISK, str(folder), str(store.folder), str(repository)]
    wrapper = ["unshare", "-Urm"] if "mount" in prelude else []
    done = subprocess.run(
        [*wrapper, "sh", "-c", command, *arguments],
        input=" ".join(f"{shard.path},{shard.sha256},{shard.size_bytes}" for shard in shards),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_makes_room_once_and_then_says_so(store, tmp_path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {folder}"
    if subprocess.run(["unshare", "-Urm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    a, b, c = store.put("a", 700_000), store.put("b", 600_000), store.put("c", 1_200_000)
    lines = run_on_a_small_disk(mount, folder, store, [a, b, c])
    assert lines[0] == f"a ok {[a.sha256[:4]]}"
    assert lines[1] == f"b ok {[b.sha256[:4]]}"  # made room by removing a
    assert lines[2].startswith(f"c NoSpace shard c: {folder} needs 1,200,000 bytes, 1,0")
    assert "are free: No space left on device" in lines[2]


def test_a_limit_on_file_sizes_is_no_reason_to_empty_the_cache(store, tmp_path) -> None:
    small, large = store.put("small", 1000), store.put("large", 900_000)
    lines = run_on_a_small_disk("ulimit -f 512", tmp_path / "cache", store, [small, large, small])
    assert lines[0] == lines[2] == f"small ok {[small.sha256[:4]]}"
    assert lines[1].startswith(f"large NoSpace shard large: {tmp_path / 'cache'} needs 900,000 bytes")
    assert store.folder.joinpath("small").exists()
    assert cached(tmp_path) == {small.sha256}


# --- ahead ----------------------------------------------------------------------------------------------------------


def test_shards_are_copied_ahead_in_order_and_no_further(make, store, tmp_path) -> None:
    shards = [store.put(name) for name in "abcde"]
    cache = make(prefetch=2)
    cache.prefetch([shards[2], *shards])
    wait_until(lambda: {shards[2].sha256, shards[0].sha256} <= cached(tmp_path))
    time.sleep(0.1)
    assert store.opened == {"c": 1, "a": 1}
    cache.get(shards[2])
    wait_until(lambda: shards[1].sha256 in cached(tmp_path))
    assert store.opened == {"c": 1, "a": 1, "b": 1}  # taking c let b come, and c itself was here
    cache.prefetch([shards[4]])  # of the earlier list nothing is wanted any more
    wait_until(lambda: shards[4].sha256 in cached(tmp_path))
    assert "d" not in store.opened


def test_copying_ahead_goes_on_while_the_reader_works(make, store) -> None:
    shards = [store.put(name, 4000) for name in "abcdefgh"]

    def slow_open(path: str) -> Any:
        time.sleep(0.05)
        return store.open(path)

    cache = make(open_file=slow_open, prefetch=2, max_bytes=16_000)
    cache.prefetch(shards)
    cache.get(shards[0])
    cache.done(shards[0])
    waited = 0.0
    for shard in shards[1:]:
        time.sleep(0.1)  # the reader's own work, longer than a copy
        start = time.perf_counter()
        cache.get(shard)
        waited += time.perf_counter() - start
        cache.done(shard)
    assert waited < 0.1  # without prefetch 7 * 0.05
    assert store.opened == dict.fromkeys("abcdefgh", 1)


def test_copying_ahead_waits_for_room_and_pushes_nothing_out_that_is_awaited(make, store, tmp_path) -> None:
    a, b, c, d = (store.put(name, 4000) for name in "abcd")
    cache = make(prefetch=3)
    cache.get(a)
    cache.prefetch([b, c, d])
    wait_until(lambda: b.sha256 in cached(tmp_path))
    time.sleep(0.1)
    assert cached(tmp_path) == {a.sha256, b.sha256}
    cache.done(a)
    wait_until(lambda: c.sha256 in cached(tmp_path))
    assert cached(tmp_path) == {b.sha256, c.sha256}
    cache.get(d)  # what is needed now goes before what is needed later
    assert d.sha256 in cached(tmp_path)


def test_an_error_ahead_is_raised_where_the_shard_is_asked_for(make, store, tmp_path) -> None:
    a, b = store.put("a"), store.put("b")
    (store.folder / "a").unlink()
    cache = make(prefetch=1)
    cache.prefetch([a, b])
    wait_until(lambda: cached(tmp_path) == {b.sha256})
    with pytest.raises(MissingShard, match="shard a"):
        cache.get(a)


def test_closing_ends_what_waits(make, store) -> None:
    shard = store.put("a")

    def broken(path: str) -> Any:
        store.opened[path] += 1
        raise ConnectionResetError

    cache = make(open_file=broken)
    caught: list[Exception] = []

    def get() -> None:
        try:
            cache.get(shard)
        except ShardError as error:
            caught.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_module, "_FIRST_PAUSE_SECONDS", 60.0)
        thread = threading.Thread(target=get)
        thread.start()
        wait_until(lambda: store.opened["a"] == 1)
        cache.close()
        thread.join(5)
    assert "stopped" in str(caught[0])
    with pytest.raises(ShardError, match="closed"):
        cache.get(shard)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=6),
    moves=st.lists(st.tuples(st.sampled_from(["get", "done", "prefetch", "restart"]), st.integers(0, 5)), max_size=30),
)
def test_held_shards_are_whole_and_the_bound_holds_whatever_is_asked(sizes, moves) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        shards = [store.put(f"{number}", size) for number, size in enumerate(sizes)]

        def opened() -> ShardCache:
            return ShardCache(Path(folder) / "cache", store.open, max_bytes=1000, prefetch=2)

        cache, held = opened(), []
        for move, number in moves:
            shard = shards[number % len(shards)]
            if move == "get":
                try:
                    cache.get(shard)
                    held.append(shard)
                except NoSpace:
                    assert sum({other.sha256: other.size_bytes for other in held}.values()) + shard.size_bytes > 1000
            elif move == "done" and shard in held:
                held.remove(shard)
                cache.done(shard)
            elif move == "prefetch":
                cache.prefetch(shards[number % len(shards) :])
            elif move == "restart":
                cache.close()
                cache, held = opened(), []
            names = {path.name for path in Path(folder, "cache").glob("*")}
            assert {shard.sha256 for shard in held} <= names
            for shard in held:
                content = (Path(folder) / "cache" / shard.sha256).read_bytes()
                assert hashlib.sha256(content).hexdigest() == shard.sha256
        cache.close()
        total = sum(path.stat().st_size for path in Path(folder, "cache").glob("*"))
        assert total <= 1000


# --- several processes ----------------------------------------------------------------------------------------------

_PROCESS = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from training.shard_cache import Shard, ShardCache
folder, store, log, pause, hold, name, sha256, size = sys.argv[2:]
def open_file(path):
    with open(log, "a") as sink:
        sink.write(path + "\\n")
    time.sleep(float(pause))
    return (Path(store) / path).open("rb")
cache = ShardCache(Path(folder), open_file, max_bytes=10_000, prefetch=0)
path = cache.get(Shard(name, sha256, int(size)))
print(path.stat().st_size, flush=True)
time.sleep(float(hold))
"""


def start(tmp_path: Path, store: Store, shard: Shard, *, pause: float = 0.0, hold: float = 0.0) -> Any:
    facts = [tmp_path / "cache", store.folder, tmp_path / "log", pause, hold, shard.path, shard.sha256]
    arguments = [str(part) for part in [Path(__file__).parents[2], *facts, shard.size_bytes]]
    return subprocess.Popen([sys.executable, "-c", _PROCESS, *arguments], stdout=subprocess.PIPE, text=True)


def test_one_process_copies_and_the_others_wait(store, tmp_path) -> None:
    shard = store.put("a", 5000)
    processes = [start(tmp_path, store, shard, pause=0.5) for _ in range(4)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["5000\n"] * 4
    assert (tmp_path / "log").read_text() == "a\n"


def test_what_another_process_uses_stays_until_it_ends(make, store, tmp_path) -> None:
    a, b, c = (store.put(name, 4000) for name in "abc")
    other = start(tmp_path, store, a, hold=600)
    assert other.stdout.readline() == "4000\n"
    cache = make()
    cache.get(b)
    cache.done(b)
    cache.get(c)
    assert cached(tmp_path) == {a.sha256, c.sha256}  # a was older than b
    cache.done(c)
    other.send_signal(signal.SIGKILL)
    other.wait(10)
    cache.get(b)
    assert cached(tmp_path) == {b.sha256, c.sha256}
    other.stdout.close()


def test_room_that_another_process_uses_is_waited_for(make, store, tmp_path) -> None:
    a, b = store.put("a", 6000), store.put("b", 6000)
    other = start(tmp_path, store, a, hold=0.5)
    assert other.stdout.readline() == "6000\n"
    assert make().get(b).exists()
    assert cached(tmp_path) == {b.sha256}
    assert other.wait(10) == 0
    other.stdout.close()


def test_what_a_killed_process_left_is_removed(make, store, tmp_path) -> None:
    a, b = store.put("a", 4000), store.put("b")
    killed = start(tmp_path, store, a, pause=600)
    wait_until((tmp_path / "log").exists)
    aside = tmp_path / "cache" / f".{a.sha256}.aside"
    assert aside.stat().st_size == 4000
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    killed.stdout.close()
    assert make().get(b).exists()
    assert cached(tmp_path) == {b.sha256}
    aside.write_bytes(b"left over")
    assert make().get(a).read_bytes() == (store.folder / "a").read_bytes()
    assert not aside.exists()


# --- a real store ---------------------------------------------------------------------------------------------------


def s3_shard(endpoint: str, name: str, size: int = 40 * BLOCK) -> Shard:
    import boto3

    content = hashlib.shake_128(name.encode()).digest(size)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.put_object(Bucket="forge", Key=f"shards/{name}", Body=content)
    return Shard(name, hashlib.sha256(content).hexdigest(), size)


def s3_open(endpoint: str) -> Callable[[str], Any]:
    host = endpoint.removeprefix("http://")
    store = pafs.SubTreeFileSystem(
        "forge/shards", pafs.S3FileSystem(endpoint_override=host, scheme="http", region="us-east-1")
    )
    return store.open_input_file


@pytest.fixture
def proxy(s3: str) -> Iterator[CuttingProxy]:
    with cutting(s3) as found:
        yield found


@pytest.fixture
def s3_make(make: Callable[..., ShardCache], proxy: CuttingProxy) -> Callable[..., ShardCache]:
    return lambda **changes: make(open_file=s3_open(proxy.endpoint), max_bytes=100 * BLOCK, **changes)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.s3
def test_a_connection_that_is_cut_again_and_again_is_retried(s3, proxy, s3_make) -> None:
    shard = s3_shard(s3, "cut")
    proxy.cut_after_bytes, proxy.cuts = BLOCK // 2, 12
    assert sha256_of(s3_make().get(shard)) == shard.sha256
    assert proxy.was_cut == 12


@pytest.mark.s3
def test_a_store_that_comes_back_is_waited_for(s3, proxy, s3_make, monkeypatch) -> None:
    monkeypatch.setattr(shard_module, "_FIRST_PAUSE_SECONDS", 0.3)
    shard = s3_shard(s3, "back")
    proxy.is_down = True
    threading.Timer(1.0, setattr, [proxy, "is_down", False]).start()
    start = time.monotonic()
    assert sha256_of(s3_make().get(shard)) == shard.sha256
    assert time.monotonic() - start > 0.9


@pytest.mark.s3
def test_a_store_that_stays_away_ends_in_an_error(s3, proxy, s3_make, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shard_module, "_TRIES", 2)
    shard = s3_shard(s3, "away")
    proxy.is_down = True
    with pytest.raises(UnreadableShard, match="shard away: 2 failures in a row at byte 0 of 2,621,440"):
        s3_make().get(shard)
    assert is_empty(tmp_path)


@pytest.mark.s3
def test_bytes_that_change_on_the_way_are_never_used(s3, proxy, s3_make) -> None:
    shard = s3_shard(s3, "changed")
    content = hashlib.shake_128(b"changed").digest(40 * BLOCK)
    piece = content[9 * BLOCK + 100 : 9 * BLOCK + 120]
    seen = []

    def damage(chunk: bytes) -> bytes:
        if piece in chunk:
            seen.append(1)
            return chunk.replace(piece, bytes(20))
        return chunk

    proxy.rewrite = damage
    with pytest.raises(CorruptShard, match=f"shard changed: .*{shard.sha256}; found sha256 (?!{shard.sha256})"):
        s3_make().get(shard)
    assert len(seen) == 2
    proxy.rewrite = None
    assert sha256_of(s3_make().get(shard)) == shard.sha256


@pytest.mark.s3
def test_what_the_store_does_not_have_or_refuses_is_an_error_at_once(s3, proxy, s3_make, make, monkeypatch) -> None:
    shard = s3_shard(s3, "there")
    before = proxy.connections
    with pytest.raises(MissingShard, match=r"shard absent\.parquet: .* not in the store"):
        s3_make().get(Shard("absent.parquet", shard.sha256, shard.size_bytes))
    assert proxy.connections - before <= 1
    other = pafs.SubTreeFileSystem(
        "no-bucket", pafs.S3FileSystem(endpoint_override=s3.removeprefix("http://"), scheme="http", region="us-east-1")
    )
    with pytest.raises(MissingShard, match="shard there"):
        make(open_file=other.open_input_file, max_bytes=100 * BLOCK).get(shard)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UnreadableShard, match=r"the store refuses, check the AWS_\* credentials"):
        s3_make().get(shard)
